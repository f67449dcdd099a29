"""Trajectory and log of a relaxation on the device, as ASE's optimizers write them."""

import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple, Self

import ase
from ase.io.trajectory import TrajectoryWriter


class StepPaths(NamedTuple):
    """Where every step of one structure is written; None for nowhere."""

    trajectory: Path | None = None
    log: Path | None = None

    def remove(self) -> None:
        """Remove what earlier runs have left."""
        for path in filter(None, self):
            path.unlink(missing_ok=True)


class StepFiles(AbstractContextManager["StepFiles"]):
    """The files of one structure, which are closed on leaving the context."""

    def __init__(self, paths: StepPaths, optimizer: str) -> None:
        """Open the files, in the place of older ones.

        Args:
            paths: where they are.
            optimizer: whose steps they are.
        """
        paths.remove()
        self._name = optimizer.upper()
        with ExitStack() as stack:
            self._trajectory = self._log = None
            if paths.trajectory is not None:
                writer = TrajectoryWriter(str(paths.trajectory), "w")
                self._trajectory = stack.enter_context(writer)
            if paths.log is not None:
                self._log = stack.enter_context(paths.log.open("w", encoding="utf-8"))
                blank = " " * len(self._name)
                self._log.write(f"{blank}  {'Step':>4} {'Time':>8} {'Energy':>15} {'fmax':>12}\n")
            self._open = stack.pop_all()

    def write(self, step: int, atoms: ase.Atoms, largest_force: float) -> None:
        """Append a step: the atoms with their results, and the largest force in eV/Å."""
        if self._trajectory is not None:
            self._trajectory.write(atoms)
        if self._log is not None:
            energy, now = atoms.get_potential_energy(), time.strftime("%H:%M:%S")
            self._log.write(f"{self._name}: {step:>4} {now} {energy:15.6f} {largest_force:12.6f}\n")
            self._log.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
