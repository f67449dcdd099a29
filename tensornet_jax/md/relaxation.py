"""Relaxation of many structures at once on the device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import ase
import jax.numpy as jnp
import numpy as np

from tensornet_jax.md.engines.compiled_loop import Engine
from tensornet_jax.md.integrators.cell_coordinates import CellCoordinates, CellFreedom
from tensornet_jax.md.integrators.ensembles import GIGAPASCAL, per_structure
from tensornet_jax.md.integrators.optimizers import Criterion, Fire, Lbfgs, all_relaxed
from tensornet_jax.md.limits import Limits
from tensornet_jax.md.lists.neighbor_lists import NeighborLists
from tensornet_jax.md.state import System
from tensornet_jax.md.system import make_system
from tensornet_jax.md.velocities import mobile_atoms
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.results_on_atoms import attach_results


@dataclass(frozen=True)
class Relaxed:
    """What a relaxation found, in the order of the structures.

    atoms: the structures with energy, forces and, if the cell relaxed, stress.
    converged: (B,) bool.
    steps: (B,) int steps taken.
    """

    atoms: list[ase.Atoms]
    converged: np.ndarray
    steps: np.ndarray


def relax(
    potential: Potential,
    atoms: ase.Atoms | Sequence[ase.Atoms],
    *,
    fmax: float = 0.01,
    smax: float = 1e-4,
    cell: CellFreedom = "none",
    pressure: float | tuple[float, ...] = 0.0,
    optimizer: Literal["lbfgs", "fire"] = "lbfgs",
    steps: int = 500,
    max_step: float = 0.2,
    skin: float = 0.5,
) -> Relaxed:
    """Minimize energy + pressure × volume of structures, all at once and independently.

    Args:
        potential: gives energies and forces, in its dtype.
        atoms: one structure or several; not changed. Atoms held by `FixAtoms` do not move, but
            for what the cell does to all.
        fmax: eV/Å, largest force on an atom at the end.
        smax: eV/Å³, largest component of stress + pressure at the end, if the cell relaxes.
        cell: what of the cell relaxes: "none", "isotropic", "lengths" (along x, y, z), "full".
        pressure: GPa, one number or one for each structure.
        optimizer: "lbfgs" or "fire".
        steps: how many at most.
        max_step: Å, the longest way of an atom in one step.
        skin: Å the neighbor lists reach beyond the cutoff.

    Raises:
        ValueError: unknown element or constraint, or a cell to relax that is not periodic.
        SimulationError: an energy that is not finite, or a cell that collapses.
    """
    structures = [atoms] if isinstance(atoms, ase.Atoms) else list(atoms)
    many = len(structures) > 1
    mobile = [
        mobile_atoms(each, f" (structure {index})" if many else "")
        for index, each in enumerate(structures)
    ]
    for index, each in enumerate(structures):
        if cell != "none" and not each.pbc.all():
            raise ValueError(
                f"structure {index} is not periodic in three directions (pbc "
                f"{each.pbc.tolist()}): use cell='none'"
            )
    dtype, stress = potential.dtype, cell != "none"
    with potential.precision():
        pressures = per_structure(pressure, len(structures), "pressure") * GIGAPASCAL
        coordinates = CellCoordinates(jnp.asarray(pressures, dtype), cell)
        criterion = Criterion(jnp.asarray(fmax, dtype), jnp.asarray(smax, dtype))
        kind = {"lbfgs": Lbfgs, "fire": Fire}[optimizer]
        integrator = kind(
            coordinates,
            criterion,
            jnp.asarray(max_step, dtype),
            changes_cell=stress,
            needs_stress=stress,
        )
        unlimited = jnp.full(len(structures), jnp.inf, dtype)
        limits = Limits(unlimited, jnp.asarray(jnp.inf, dtype))

    def system(lists: NeighborLists) -> System:
        freedom = [3 * int(each.sum()) for each in mobile]
        return make_system(structures, mobile, freedom, lists, timestep=1.0)

    engine = Engine(
        potential, structures, integrator, system, limits, skin=skin, finished=all_relaxed
    )
    engine.advance(steps)
    with potential.precision():
        converged = np.asarray(criterion.met(engine.system, engine.state, coordinates))
    return Relaxed(
        _finals(engine, structures, stress), converged, np.asarray(engine.state.extra.steps)
    )


def _finals(engine: Engine, structures: Sequence[ase.Atoms], stress: bool) -> list[ase.Atoms]:
    state, rows = engine.state, engine.lists.atoms
    cells = np.asarray(state.cell, np.float64)
    count = engine.lists.num_atoms
    positions = engine.frame.unwrapped(np.asarray(state.positions)[:count], cells, rows)
    forces = np.asarray(state.forces, np.float64)
    energies = engine.energies(state.energy)
    finals = []
    for index, each in enumerate(structures):
        final = each.copy()
        constraints, final.constraints = final.constraints, []
        final.set_cell(cells[index], scale_atoms=False)
        final.set_positions(positions[rows[index]])
        final.set_constraint(constraints)
        results = {"energy": float(energies[index]), "forces": forces[rows[index]]}
        if stress:
            results["stress"] = np.asarray(state.stress, np.float64)[index]
        attach_results(final, results)
        finals.append(final)
    return finals
