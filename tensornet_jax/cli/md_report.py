"""What `tensornet-jax md` tells at the end: temperature, energy drift and a plot."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tensornet_jax.md.sample import Sample


class Rows:
    """An observer that keeps the numbers of the log: times and, of each structure, energies."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, np.ndarray, np.ndarray, np.ndarray]] = []

    def __call__(self, sample: Sample) -> None:
        """Note a sample."""
        total = sample.potential_energy + sample.kinetic_energy
        row = (sample.time * 1e-3, sample.potential_energy, total, sample.temperature)
        self._rows.append(row)

    def __len__(self) -> int:
        return len(self._rows)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return times (T,) ps; potential and total energies (T, B) eV; temperatures (T, B) K."""
        times, potential, total, temperature = zip(*self._rows, strict=True)
        return np.array(times), np.array(potential), np.array(total), np.array(temperature)


def energy_drift(times: np.ndarray, energies: np.ndarray, num_atoms: int) -> float:
    """Return the slope of the straight line through total energies, meV/atom/ps.

    Args:
        times: (T,) ps.
        energies: (T,) total energies, eV.
        num_atoms: number of atoms.
    """
    if len(times) < 2:
        return 0.0
    slope = np.polyfit(times - times.mean(), energies - energies.mean(), 1)[0]
    return float(slope) * 1e3 / num_atoms


def summary(rows: Rows, num_atoms: int, ensemble: str) -> list[str]:
    """Return lines on temperature and, at constant energy, on drift and fluctuation."""
    times, _, total, temperatures = rows.arrays()
    lines = [
        f"{times[-1]:g} ps, temperature {temperatures.mean():.1f} ± {temperatures.std():.1f} K"
    ]
    if ensemble == "nve":
        drifts = [energy_drift(times, energies, num_atoms) for energies in total.T]
        largest = max(drifts, key=abs)
        spread = total.std(axis=0).max() * 1e3 / num_atoms
        of = " (the largest of the replicas)" if len(drifts) > 1 else ""
        lines.append(
            f"energy drift {largest:+.3g} meV/atom/ps, fluctuation {spread:.3g} meV/atom{of}"
        )
    return lines


def plot(rows: Rows, num_atoms: int, ensemble: str, stem: Path) -> Path:
    """Plot energy, total where it is constant, and temperature; return the picture's path."""
    times, potential, total, temperatures = rows.arrays()
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    energies = total if ensemble == "nve" else potential
    changes = (energies - energies[0]) * 1e3 / num_atoms
    upper.plot(times, changes, lw=0.8)
    if ensemble == "nve":
        if changes.shape[1] == 1:
            drift = energy_drift(times, energies[:, 0], num_atoms)
            line = changes.mean() + drift * (times - times.mean())
            upper.plot(times, line, "--", label=f"drift {drift:+.3g} meV/atom/ps")
            upper.legend(loc="best")
        upper.set_ylabel("ΔE total (meV/atom)")
    else:
        upper.set_ylabel("ΔE potential (meV/atom)")
    lower.plot(times, temperatures, lw=0.8)
    lower.set(xlabel="time (ps)", ylabel="temperature (K)")
    path = stem.with_name(stem.name + ".png")
    figure.savefig(path, dpi=150)
    return path
