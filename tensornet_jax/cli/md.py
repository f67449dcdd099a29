"""`tensornet-jax md`: molecular dynamics through the ASE calculator."""

import csv
import math
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from tensornet_jax.cli.common import (
    DoublePrecisionOption,
    ModelArgument,
    Precision,
    check_output,
    open_model,
    read_geometries,
)

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

COLUMNS = (
    "step",
    "time_ps",
    "potential_energy_eV",
    "kinetic_energy_eV",
    "total_energy_eV",
    "temperature_K",
)


class Ensemble(StrEnum):
    """What is held constant besides the number of atoms and the cell."""

    nve = "nve"
    nvt = "nvt"


def md(
    model: ModelArgument,
    data: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Start structure.", show_default=False)
    ],
    ensemble: Annotated[
        Ensemble, typer.Option(help="nve: velocity Verlet; nvt: Langevin.")
    ] = Ensemble.nve,
    temperature: Annotated[
        float, typer.Option(min=0, help="Of the first velocities, and of the thermostat, K.")
    ] = 300.0,
    timestep: Annotated[float, typer.Option(min=1e-3, help="fs.")] = 0.5,
    steps: Annotated[int, typer.Option(min=1, help="Number of steps.")] = 20_000,
    equilibrate: Annotated[
        int, typer.Option(min=0, help="Langevin steps before anything is recorded.")
    ] = 0,
    friction: Annotated[float, typer.Option(min=0, help="Langevin friction, 1/fs.")] = 0.01,
    interval: Annotated[int, typer.Option(min=1, help="Steps between two samples.")] = 20,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Trajectory (extended XYZ); log and plot lie beside."),
    ] = Path("md.xyz"),
    plot: Annotated[
        bool, typer.Option(help="Plot total energy, or potential energy in nvt, and temperature.")
    ] = True,
    index: Annotated[int, typer.Option(help="Which structure of INPUT; -1 is the last.")] = 0,
    keep_velocities: Annotated[
        bool, typer.Option("--keep-velocities", help="Start with the velocities of INPUT.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of velocities and thermostat.")] = 0,
    dtype: DoublePrecisionOption = Precision.float64,
) -> None:
    """Run molecular dynamics; write trajectory, log and plot; report drift or temperature."""
    log, picture = output.with_suffix(".csv"), output.with_suffix(".png")
    check_output(output, model, data)
    atoms = _start(data, index)
    potential = open_model(model, dtype)

    import numpy as np
    from ase.md.velocitydistribution import thermalize_momenta

    from tensornet_jax.calculator import TensorNetCalculator

    rng = np.random.default_rng(seed)
    atoms.calc = TensorNetCalculator(potential)
    if not keep_velocities:
        thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
    elif not atoms.get_momenta().any():
        raise ValueError(
            f"{data}: structure {index} has no velocities: leave --keep-velocities out"
        )

    def dynamics(kind: Ensemble) -> Any:
        from ase import units
        from ase.md.langevin import Langevin
        from ase.md.verlet import VelocityVerlet

        if kind is Ensemble.nve:
            return VelocityVerlet(atoms, timestep * units.fs)
        return Langevin(
            atoms,
            timestep * units.fs,
            temperature_K=temperature,
            friction=friction / units.fs,
            fixcm=False,
            rng=rng,
        )

    with _progress() as progress:
        if equilibrate:
            run_dynamics(dynamics(Ensemble.nvt), equilibrate, interval, lambda step: None, progress)
        conserved = 0 if ensemble is Ensemble.nvt or keep_velocities else bring_to_rest(atoms)
        freedom = atoms.get_number_of_degrees_of_freedom() - conserved
        with _Recorder(atoms, freedom, timestep, output, log) as recorder:
            run_dynamics(dynamics(ensemble), steps, interval, recorder, progress)
        samples = np.array(recorder.rows)
    for line in _summary(samples, len(atoms), ensemble):
        typer.echo(line)
    if plot:
        _plot(samples, len(atoms), ensemble, picture)
    typer.echo(f"written: {output}, {log}" + (f", {picture}" if plot else ""))


def run_dynamics(
    dynamics: Any, steps: int, interval: int, sample: Callable[[int], None], progress: Any
) -> None:
    """Run ASE dynamics, and call `sample(step)` at step 0, every `interval` and at the end."""
    task = progress.add_task("", total=steps)
    done = 0
    sample(done)
    while done < steps:
        chunk = min(interval, steps - done)
        dynamics.run(chunk)
        done += chunk
        progress.update(task, completed=done)
        sample(done)


def energy_drift(times: "np.ndarray", energies: "np.ndarray", num_atoms: int) -> float:
    """Return the slope of the straight line through total energies, meV/atom/ps.

    Args:
        times: (T,) ps.
        energies: (T,) total energies, eV.
        num_atoms: number of atoms.
    """
    import numpy as np

    slope = np.polyfit(times - times.mean(), energies - energies.mean(), 1)[0]
    return float(slope) * 1e3 / num_atoms


def bring_to_rest(atoms: "Atoms") -> int:
    """Remove what constant-energy dynamics conserves: net momentum and, of a molecule, rotation.

    Velocities are not scaled up again: every other motion keeps its share of thermal energy.
    Structures with constraints conserve neither and stay as they are.

    Returns:
        the number of degrees of freedom that are now without motion.
    """
    import numpy as np

    if len(atoms) == 1 or atoms.constraints:
        return 0
    masses = atoms.get_masses()[:, None]
    velocities = atoms.get_velocities()
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    rotations = 0
    if not atoms.pbc.any():
        arms = atoms.positions - atoms.get_center_of_mass()
        squares = (arms**2).sum(axis=1)[:, None, None] * np.eye(3)
        inertia = (masses[..., None] * (squares - arms[:, :, None] * arms[:, None, :])).sum(axis=0)
        momentum = np.cross(arms, masses * velocities).sum(axis=0)
        # A linear molecule has no moment of inertia about its axis.
        tolerance = 1e-6
        angular_velocity = np.linalg.pinv(inertia, rcond=tolerance, hermitian=True) @ momentum
        velocities -= np.cross(angular_velocity, arms)
        moments = np.linalg.eigvalsh(inertia)
        rotations = int((moments > tolerance * moments.max()).sum())
    atoms.set_velocities(velocities)
    return 3 + rotations


def _start(path: Path, index: int) -> "Atoms":
    structures = read_geometries(path)
    try:
        return structures[index]
    except IndexError:
        raise ValueError(f"--index {index}: {path} has {len(structures)} structures") from None


class _Recorder:
    """Writes log and trajectory while the simulation runs, so that a crash leaves both."""

    def __init__(self, atoms: "Atoms", freedom: int, timestep: float, trajectory: Path, log: Path):
        self.rows: list[tuple[float, ...]] = []
        self._atoms = atoms
        self._freedom = freedom
        self._timestep = timestep
        self._trajectory = trajectory
        self._log = log

    def __enter__(self) -> Self:
        self._trajectory.unlink(missing_ok=True)
        self._file = self._log.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __call__(self, step: int) -> None:
        """Record the present state as that of `step`."""
        import ase.io
        from ase import units

        potential = float(self._atoms.get_potential_energy())
        kinetic = float(self._atoms.get_kinetic_energy())
        if not math.isfinite(potential + kinetic):
            raise ValueError(
                f"the energy is no longer finite at step {step}: use a shorter --timestep, or a "
                "model trained on such structures"
            )
        temperature = 2 * kinetic / (self._freedom * units.kB)
        time = step * self._timestep * 1e-3
        self.rows.append((step, time, potential, kinetic, potential + kinetic, temperature))
        self._writer.writerow(self.rows[-1])
        self._file.flush()
        ase.io.write(self._trajectory, self._atoms, format="extxyz", append=True)


def _summary(samples: "np.ndarray", num_atoms: int, ensemble: Ensemble) -> list[str]:
    times, temperatures = samples[:, 1], samples[:, 5]
    lines = [
        f"{times[-1]:g} ps, temperature {temperatures.mean():.1f} ± {temperatures.std():.1f} K"
    ]
    if ensemble is Ensemble.nve:
        drift = energy_drift(times, samples[:, 4], num_atoms)
        spread = samples[:, 4].std() * 1e3 / num_atoms
        lines.append(f"energy drift {drift:+.3g} meV/atom/ps, fluctuation {spread:.3g} meV/atom")
    return lines


def _plot(samples: "np.ndarray", num_atoms: int, ensemble: Ensemble, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    times, column = samples[:, 1], 4 if ensemble is Ensemble.nve else 2
    change = (samples[:, column] - samples[0, column]) * 1e3 / num_atoms
    upper.plot(times, change, lw=0.8)
    if ensemble is Ensemble.nve:
        drift = energy_drift(times, samples[:, column], num_atoms)
        line = change.mean() + drift * (times - times.mean())
        upper.plot(times, line, "--", label=f"drift {drift:+.3g} meV/atom/ps")
        upper.legend(loc="best")
        upper.set_ylabel("ΔE total (meV/atom)")
    else:
        upper.set_ylabel("ΔE potential (meV/atom)")
    lower.plot(times, samples[:, 5], lw=0.8)
    lower.set(xlabel="time (ps)", ylabel="temperature (K)")
    figure.savefig(path, dpi=150)


def _progress() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    return Progress(BarColumn(), MofNCompleteColumn(), "steps", TimeRemainingColumn())
