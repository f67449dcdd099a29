"""Relaxation of many structures by each engine: those that fail do not stop the others."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Literal, Protocol, TypeAlias, get_args

import ase

from tensornet_jax.md.ase_relaxation import Outcome, relax_in_place
from tensornet_jax.md.integrators.cell_coordinates import CellChange
from tensornet_jax.md.output.relaxation_files import StepFiles, StepPaths
from tensornet_jax.md.relaxation import RelaxationStep, Relaxed, relax
from tensornet_jax.md.relaxation_settings import Relaxation
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.preparation import properties_at_hand
from tensornet_jax.potential.results_on_atoms import attach_results

# What one structure may raise: what is wrong with it, an explosion, a symmetry that is lost.
FAILURES = (ValueError, RuntimeError, ArithmeticError)

Result: TypeAlias = tuple[ase.Atoms, Outcome] | Exception
"""A relaxed structure with its results and how it ended, or why there is none."""


class Relaxer(Protocol):
    """A function that relaxes structures; each is handed over as soon as it is known."""

    def __call__(
        self,
        potential: Potential,
        structures: Mapping[int, ase.Atoms],
        how: Relaxation,
        paths: Mapping[int, StepPaths],
        *,
        batch_size: int,
    ) -> Iterator[tuple[int, Result]]:
        """Yield index and result of each structure.

        Args:
            potential: gives energies and forces.
            structures: by index; not changed.
            how: what to relax, and how far.
            paths: where to write the steps of each.
            batch_size: how many structures may relax at once.
        """
        ...


def relax_with_ase(
    potential: Potential,
    structures: Mapping[int, ase.Atoms],
    how: Relaxation,
    paths: Mapping[int, StepPaths],
    *,
    batch_size: int,
) -> Iterator[tuple[int, Result]]:
    """Relax structures one after the other with ASE's optimizers, as a `Relaxer`."""
    from tensornet_jax.calculator import TensorNetCalculator

    calculator = TensorNetCalculator(potential)
    for index, start in structures.items():
        atoms = start.copy()
        atoms.calc = calculator
        try:
            outcome = relax_in_place(atoms, how, *paths[index])
        except FAILURES as error:
            # Nothing of this structure may stay with the calculator.
            calculator.reset()
            yield index, error
            continue
        # The calculator remembers one structure only, and each has its own results.
        attach_results(atoms, calculator.results, potential.per_atom)
        yield index, (atoms, outcome)


def relax_on_device(
    potential: Potential,
    structures: Mapping[int, ase.Atoms],
    how: Relaxation,
    paths: Mapping[int, StepPaths],
    *,
    batch_size: int,
) -> Iterator[tuple[int, Result]]:
    """Relax structures batch by batch in one compiled loop, as a `Relaxer`.

    Where a batch cannot be relaxed its structures are, one by one: so the others are not lost, and
    the reason is told of the structure that it belongs to.
    """
    todo = list(structures)
    for begin in range(0, len(todo), batch_size):
        batch = todo[begin : begin + batch_size]
        try:
            found = _relaxed(potential, [structures[k] for k in batch], how, paths, batch)
            results = list(_with_all_results(potential, found))
        except FAILURES as error:
            if len(batch) == 1:
                yield batch[0], error
                continue
            alone = {index: structures[index] for index in batch}
            yield from relax_on_device(potential, alone, how, paths, batch_size=1)
            continue
        yield from zip(batch, results, strict=True)


def _relaxed(
    potential: Potential,
    structures: list[ase.Atoms],
    how: Relaxation,
    paths: Mapping[int, StepPaths],
    indices: list[int],
) -> Relaxed:
    with ExitStack() as stack:
        files = [stack.enter_context(StepFiles(paths[k], how.optimizer)) for k in indices]

        def note(step: RelaxationStep) -> None:
            files[step.index].write(step.step, step.atoms, step.largest_force)

        return relax(
            potential,
            structures,
            fmax=how.fmax,
            smax=None,
            cell=_CELLS[how.cell],
            pressure=how.pressure,
            optimizer=_OPTIMIZERS[how.optimizer],
            steps=how.steps,
            observer=note if any(any(paths[k]) for k in indices) else None,
        )


_CELLS: dict[str, CellChange] = {name.replace("_", "-"): name for name in get_args(CellChange)}
_OPTIMIZERS: dict[str, Literal["lbfgs", "fire"]] = {"lbfgs": "lbfgs", "fire": "fire"}


def _with_all_results(potential: Potential, found: Relaxed) -> Iterator[tuple[ase.Atoms, Outcome]]:
    """Give each structure everything that the model has, as the calculator does."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, atoms in enumerate(found.atoms):
        groups.setdefault(computed_properties(potential, atoms), []).append(index)
    for compute, members in groups.items():
        evaluated = potential.evaluate([found.atoms[k] for k in members], compute)
        for index, results in zip(members, evaluated, strict=True):
            results["free_energy"] = results["energy"]
            attach_results(found.atoms[index], results, potential.per_atom)
    endings = zip(
        found.converged, found.steps, found.energy_change, found.largest_force, strict=True
    )
    for atoms, (converged, steps, change, force) in zip(found.atoms, endings, strict=True):
        yield atoms, Outcome(bool(converged), int(steps), float(change), float(force))


def computed_properties(potential: Potential, atoms: ase.Atoms) -> tuple[str, ...]:
    """Return the names of everything that a model can compute for a structure."""
    periodic, has_volume = bool(atoms.pbc.any()), bool(atoms.cell.volume > 0)
    return properties_at_hand(potential.rows, periodic=periodic, has_volume=has_volume)
