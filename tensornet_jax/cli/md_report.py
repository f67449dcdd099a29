"""What `tensornet-jax md` tells at the end: temperature, energy drift and a plot."""

import csv
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tensornet_jax.md.ensembles.ensemble import Ensemble


class Log(NamedTuple):
    """The log of a run, all of it, also what earlier parts of the run have written.

    times: ps.
    potential: potential energies, eV.
    total: total energies, eV.
    temperatures: K.
    """

    times: Float[np.ndarray, " samples"]
    potential: Float[np.ndarray, "samples structures"]
    total: Float[np.ndarray, "samples structures"]
    temperatures: Float[np.ndarray, "samples structures"]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file that the recorder has written."""
        names = ("replica", "time_ps", "potential_energy_eV", "total_energy_eV", "temperature_K")
        with path.open(newline="", encoding="utf-8") as file:
            rows = [[float(row[name]) for name in names] for row in csv.DictReader(file)]
        columns = np.array(rows).reshape(len(rows), len(names))
        replicas = int(columns[:, 0].max(initial=0)) + 1
        times, *others = columns[:, 1:].T.reshape(len(names) - 1, -1, replicas)
        return cls(times[:, 0], *others)


def energy_drift(
    times: Float[np.ndarray, " samples"], energies: Float[np.ndarray, " samples"], num_atoms: int
) -> float:
    """Return the slope of the straight line through total energies, meV/atom/ps.

    Args:
        times: ps.
        energies: total energies, eV.
        num_atoms: number of atoms.
    """
    if len(times) < 2:
        return 0.0
    slope = np.polyfit(times - times.mean(), energies - energies.mean(), 1)[0]
    return float(slope) * 1e3 / num_atoms


def summary(log: Log, num_atoms: int, ensemble: Ensemble) -> list[str]:
    """Return lines on temperature and, at constant energy, on drift and fluctuation."""
    temperatures = log.temperatures
    mean, spread = temperatures.mean(), temperatures.std()
    lines = [f"{log.times[-1]:g} ps, temperature {mean:.1f} ± {spread:.1f} K"]
    if ensemble.conserves_energy:
        drifts = [energy_drift(log.times, energies, num_atoms) for energies in log.total.T]
        largest = max(drifts, key=abs)
        spread = log.total.std(axis=0).max() * 1e3 / num_atoms
        of = " (the largest of the replicas)" if len(drifts) > 1 else ""
        lines.append(
            f"energy drift {largest:+.3g} meV/atom/ps, fluctuation {spread:.3g} meV/atom{of}"
        )
    return lines


def plot(log: Log, num_atoms: int, ensemble: Ensemble, stem: Path) -> Path:
    """Plot energy, total where it is constant, and temperature; return the picture's path."""
    times, constant = log.times, ensemble.conserves_energy
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    energies = log.total if constant else log.potential
    changes = (energies - energies[0]) * 1e3 / num_atoms
    upper.plot(times, changes, lw=0.8)
    upper.set_ylabel(f"ΔE {'total' if constant else 'potential'} (meV/atom)")
    if constant and changes.shape[1] == 1:
        drift = energy_drift(times, energies[:, 0], num_atoms)
        line = changes.mean() + drift * (times - times.mean())
        upper.plot(times, line, "--", label=f"drift {drift:+.3g} meV/atom/ps")
        upper.legend(loc="best")
    lower.plot(times, log.temperatures, lw=0.8)
    lower.set(xlabel="time (ps)", ylabel="temperature (K)")
    path = stem.with_name(stem.name + ".png")
    figure.savefig(path, dpi=150)
    return path
