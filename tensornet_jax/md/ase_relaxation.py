"""Relaxation of one structure with ASE's optimizers: atoms, cell, under pressure, by symmetry."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import ase
import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.optimize import Optimizer

from tensornet_jax.md.output.relaxation_files import StepPaths
from tensornet_jax.md.relaxation_settings import Relaxation
from tensornet_jax.units import conversion_factor

# Annotated as what they accept: ASE lets its filters pass for atoms.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"bfgs": BFGS, "lbfgs": LBFGS, "fire": FIRE}
FLAT = 1e-6
"""How far a unit normal may lean away from an axis."""

# Voigt (xx, yy, zz, yz, xz, xy) components of the strain that may change.
_LENGTHS = [1, 1, 1, 0, 0, 0]
_PLANES = {0: [0, 1, 1, 1, 0, 0], 1: [1, 0, 1, 0, 1, 0], 2: [1, 1, 0, 0, 0, 1]}


AseRelaxation: TypeAlias = Relaxation
"""The settings of `relax_in_place`."""


@dataclass(frozen=True)
class Outcome:
    """How a relaxation ended.

    converged: whether forces, and stress of a cell, are below fmax.
    steps: how many were taken.
    energy_change: eV.
    largest_force: eV/Å, constraints and symmetry applied.
    """

    converged: bool
    steps: int
    energy_change: float
    largest_force: float


def relax_in_place(
    atoms: ase.Atoms, how: Relaxation, trajectory: Path | None = None, log: Path | None = None
) -> Outcome:
    """Relax a structure with the calculator it has; its own constraints hold.

    Args:
        atoms: changed; its calculator has the results of the last geometry.
        how: what to relax.
        trajectory: .traj to write every step to; an older one is replaced.
        log: text file to write every step to; an older one is replaced.

    Raises:
        ValueError: a cell that cannot relax this way, energies or forces that are not finite, or
            what the calculator refuses.
        RuntimeError: the symmetry cannot be kept.
    """
    StepPaths(trajectory, log).remove()
    constraints = list(atoms.constraints)
    try:
        if how.symmetry:
            _keep_symmetry(atoms)
        start = atoms.get_potential_energy()
        run = OPTIMIZERS[how.optimizer](
            # A filter takes the cell of now as the undeformed one.
            _target(atoms, how),
            logfile=None if log is None else str(log),
            trajectory=None if trajectory is None else str(trajectory),
        )
        run.insert_observer(lambda: _check_finite(atoms))
        converged = bool(run.run(fmax=how.fmax, steps=how.steps))
        forces = atoms.get_forces()
        energy = atoms.get_potential_energy()
    except PropertyNotImplementedError as error:
        raise ValueError(str(error)) from error
    finally:
        # The symmetry's holds the whole structure, which no file format can write.
        atoms.set_constraint(constraints)
    _check_finite(atoms)
    largest = float(np.linalg.norm(forces, axis=1).max(initial=0.0))
    return Outcome(converged, run.nsteps, float(energy - start), largest)


def _check_finite(atoms: ase.Atoms) -> None:
    energy, forces = atoms.get_potential_energy(), atoms.get_forces(apply_constraint=False)
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise ValueError(
            "energy or forces are no longer finite: the structure is outside of what the model "
            "was trained on"
        )


def _target(atoms: ase.Atoms, how: Relaxation) -> ase.Atoms | FrechetCellFilter:
    """Return what the optimizer moves: the atoms, or atoms and cell."""
    if how.cell == "none":
        return atoms
    pressure = how.pressure * conversion_factor("GPa", "stress")
    if how.cell == "in-plane":
        return FrechetCellFilter(atoms, mask=_PLANES[_normal(atoms)])
    if not atoms.pbc.all():
        raise ValueError(
            f"the structure is not periodic in three directions (pbc {atoms.pbc.tolist()}): leave "
            "out --cell, or, for a slab, use --cell-change in-plane"
        )
    return FrechetCellFilter(
        atoms,
        mask=_LENGTHS if how.cell == "lengths" else None,
        hydrostatic_strain=how.cell == "isotropic",
        scalar_pressure=pressure,
    )


def _normal(atoms: ase.Atoms) -> int:
    """Return which of x, y, z is the normal of a slab's plane."""
    periodic = np.flatnonzero(atoms.pbc)
    if len(periodic) < 2:
        raise ValueError(
            f"the structure is not periodic in two directions (pbc {atoms.pbc.tolist()}): only "
            "slabs relax in a plane"
        )
    first, second = atoms.cell.array[periodic[:2]]
    if atoms.cell.rank < 3:
        raise ValueError(
            "stress needs a cell with a volume: give the slab a third vector, e.g. by "
            "atoms.center(vacuum=10, axis=2)"
        )
    normal = np.abs(np.cross(first, second))
    normal /= np.linalg.norm(normal)
    axis = int(normal.argmax())
    if normal[axis] < 1 - FLAT:
        raise ValueError(
            "the slab's plane is none of the planes xy, xz, yz: turn the structure, e.g. by "
            "atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)"
        )
    return axis


def _keep_symmetry(atoms: ase.Atoms) -> None:
    from ase.constraints import FixSymmetry

    if atoms.cell.rank < 3:
        raise ValueError("symmetry needs a cell with three vectors: leave out --symmetry")
    # Constraints would hold atoms back where the structure is made exactly symmetric.
    constraints, atoms.constraints = list(atoms.constraints), []
    atoms.set_constraint([*constraints, FixSymmetry(atoms)])
