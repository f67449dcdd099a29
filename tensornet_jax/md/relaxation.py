"""Relaxation of many structures at once on the device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import ase
import jax.numpy as jnp
import numpy as np
from ase.constraints import FixAtoms
from jaxtyping import Bool, Float, Int

from tensornet_jax.md.cells import planes_of
from tensornet_jax.md.engines.compiled_loop import CompiledLoop
from tensornet_jax.md.ensembles.numbers import PerReplica, per_structure
from tensornet_jax.md.integrators.cell_coordinates import CellChange, CellCoordinates
from tensornet_jax.md.integrators.optimizers import (
    Criterion,
    Fire,
    Lbfgs,
    Minimizer,
    all_relaxed,
)
from tensornet_jax.md.limits import Limits
from tensornet_jax.md.lists.neighbor_lists import NeighborLists
from tensornet_jax.md.state import GIGAPASCAL, System
from tensornet_jax.md.system import make_system
from tensornet_jax.md.velocities import free_atoms
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.results_on_atoms import attach_results

MINIMIZERS = {"lbfgs": Lbfgs, "fire": Fire}


@dataclass(frozen=True)
class Relaxed:
    """What a relaxation found, in the order of the structures.

    atoms: the structures with energy, forces and, if the cell relaxed, stress.
    converged: whether forces, and stress of a cell, are small enough.
    steps: how many were taken.
    energy_change: eV.
    largest_force: eV/Å, that on a fixed atom left out.
    """

    atoms: list[ase.Atoms]
    converged: Bool[np.ndarray, " structures"]
    steps: Int[np.ndarray, " structures"]
    energy_change: Float[np.ndarray, " structures"]
    largest_force: Float[np.ndarray, " structures"]


@dataclass(frozen=True)
class RelaxationStep:
    """What an observer sees of one structure that has moved, and at the beginning.

    index: of the structure.
    step: its number of steps.
    atoms: with energy and forces.
    largest_force: eV/Å, that on a fixed atom left out.
    """

    index: int
    step: int
    atoms: ase.Atoms
    largest_force: float


def relax(
    potential: Potential,
    atoms: ase.Atoms | Sequence[ase.Atoms],
    *,
    fmax: float = 0.01,
    smax: float | None = 1e-4,
    cell: CellChange = "none",
    pressure: PerReplica = 0.0,
    optimizer: Literal["lbfgs", "fire"] = "lbfgs",
    steps: int = 500,
    max_step: float = 0.2,
    skin: float = 0.5,
    observer: Callable[[RelaxationStep], None] | None = None,
) -> Relaxed:
    """Minimize energy + pressure × volume of structures, all at once and independently.

    Args:
        potential: gives energies and forces, in its dtype.
        atoms: one structure or several; not changed. Atoms held by `FixAtoms` do not move, but
            for what the cell does to all.
        fmax: eV/Å, largest force on an atom at the end.
        smax: eV/Å³, largest component of stress + pressure at the end, if the cell relaxes; None
            asks of the virial divided by the number of atoms that it be below `fmax`, as ASE does.
        cell: what of the cell relaxes: "none", "isotropic", "lengths" (along x, y, z), "full", or
            "in_plane", of a slab, whose two periodic vectors span the plane.
        pressure: GPa, one number or one for each structure.
        optimizer: "lbfgs" or "fire".
        steps: how many at most.
        max_step: Å, the longest way of an atom in one step.
        skin: Å the neighbor lists reach beyond the cutoff.
        observer: called for each structure at its start and after each of its steps, which takes
            the loop apart and is slower.

    Raises:
        ValueError: unknown element or constraint, a cell to relax that is not periodic, or a model
            without energies.
        SimulationError: an energy that is not finite, or a cell that collapses.
    """
    structures = [atoms] if isinstance(atoms, ase.Atoms) else list(atoms)
    for index, each in enumerate(structures):
        _check(each, cell, f"structure {index} " if len(structures) > 1 else "the structure ")
    pressures = per_structure(pressure, len(structures), "pressure") * GIGAPASCAL
    with potential.precision():
        coordinates = _coordinates(structures, cell, pressures, potential.dtype)
        stress = None if smax is None else jnp.asarray(smax, potential.dtype)
        criterion = Criterion(jnp.asarray(fmax, potential.dtype), stress)
        longest = jnp.asarray(max_step, potential.dtype)
        changes = {"changes_cell": cell != "none", "needs_stress": cell != "none"}
        minimizer = MINIMIZERS[optimizer](coordinates, criterion, longest, **changes)
    return _Relaxation(potential, structures, minimizer, skin).run(steps, observer)


class _Relaxation:
    """Structures on their way to a minimum."""

    def __init__(
        self,
        potential: Potential,
        structures: Sequence[ase.Atoms],
        minimizer: Minimizer,
        skin: float,
    ) -> None:
        mobile = list(map(free_atoms, structures))
        with potential.precision():
            limits = Limits(
                jnp.full(len(structures), jnp.inf, potential.dtype),
                jnp.asarray(jnp.inf, potential.dtype),
            )

        def system(lists: NeighborLists) -> System:
            degrees = [3 * int(each.sum()) for each in mobile]
            return make_system(structures, mobile, degrees, lists, timestep=1.0)

        self._structures, self._mobile, self._minimizer = structures, mobile, minimizer
        self._loop = CompiledLoop(
            potential, structures, minimizer, system, limits, skin=skin, finished=all_relaxed
        )

    def run(self, steps: int, observer: Callable[[RelaxationStep], None] | None) -> Relaxed:
        """Go on until all are relaxed, or for so many steps."""
        loop = self._loop
        loop.advance(0)
        start = self._energies()
        if observer is None:
            loop.advance(steps)
        else:
            self._show(observer)
            while loop.step < steps and not self._converged().all():
                loop.advance(loop.step + 1)
                self._show(observer)
        return Relaxed(
            atoms=self._atoms(),
            converged=self._converged(),
            steps=np.asarray(loop.state.extra.steps),
            energy_change=self._energies() - start,
            largest_force=self._largest_forces(),
        )

    def _show(self, observer: Callable[[RelaxationStep], None]) -> None:
        """Show those structures that have taken the last step."""
        taken, forces = np.asarray(self._loop.state.extra.steps), self._largest_forces()
        for index, atoms in enumerate(self._atoms()):
            if taken[index] == self._loop.step:
                observer(RelaxationStep(index, int(taken[index]), atoms, float(forces[index])))

    def _converged(self) -> Bool[np.ndarray, " structures"]:
        loop, minimizer = self._loop, self._minimizer
        with loop.potential.precision():
            met = minimizer.criterion.met(loop.system, loop.state, minimizer.coordinates)
            return np.asarray(met)

    def _energies(self) -> Float[np.ndarray, " structures"]:
        return self._loop.energies(self._loop.state.energy)

    def _largest_forces(self) -> Float[np.ndarray, " structures"]:
        lengths = np.linalg.norm(np.asarray(self._loop.state.forces, np.float64), axis=1)
        rows = zip(self._loop.lists.atoms, self._mobile, strict=True)
        return np.array([lengths[here][mobile].max(initial=0.0) for here, mobile in rows])

    def _atoms(self) -> list[ase.Atoms]:
        """Return the structures of now with their results."""
        loop, state, rows = self._loop, self._loop.state, self._loop.lists.atoms
        cells = np.asarray(state.cell, np.float64)
        positions = np.asarray(state.positions)[: loop.lists.num_atoms]
        positions = loop.frame.unwrapped(positions, cells, rows)
        forces, energies = np.asarray(state.forces, np.float64), self._energies()
        found = []
        for index, each in enumerate(self._structures):
            final = each.copy()
            constraints, final.constraints = final.constraints, []
            final.set_cell(cells[index], scale_atoms=False)
            final.set_positions(positions[rows[index]])
            final.set_constraint(constraints)
            results = {"energy": float(energies[index]), "forces": forces[rows[index]]}
            if self._minimizer.needs_stress:
                results["stress"] = np.asarray(state.stress, np.float64)[index]
            attach_results(final, results)
            found.append(final)
        return found


def _coordinates(
    structures: Sequence[ase.Atoms],
    cell: CellChange,
    pressures: Float[np.ndarray, " structures"],
    dtype: str,
) -> CellCoordinates:
    planes = None
    if cell == "in_plane":
        planes = jnp.asarray(planes_of(structures), dtype)
    return CellCoordinates(jnp.asarray(pressures, dtype), planes, cell)


def _check(atoms: ase.Atoms, cell: CellChange, name: str) -> None:
    """Raise ValueError unless a structure can be relaxed, with its cell if asked."""
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise ValueError(
                f"{name}has a constraint {type(constraint).__name__}, and on the device there is "
                "only FixAtoms: remove it with atoms.set_constraint(), or use ASE's optimizers "
                "(--engine ase)"
            )
    if cell == "none":
        return
    needed, periodic = (2 if cell == "in_plane" else 3), int(atoms.pbc.sum())
    if periodic < needed:
        slab = ", or, for a slab, cell='in_plane'" if periodic == 2 else ""
        raise ValueError(
            f"{name}is not periodic in {needed} directions (pbc {atoms.pbc.tolist()}): use "
            f"cell='none' (leave out --cell){slab}"
        )
    if atoms.cell.rank < 3:
        raise ValueError(
            f"{name}has no volume, to which the stress refers: give the slab a third vector, e.g. "
            "by atoms.center(vacuum=10, axis=2)"
        )
