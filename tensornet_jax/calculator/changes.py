"""What of a structure has changed since the last calculation, for ASE."""

from collections.abc import Callable

import ase

from tensornet_jax.calculator.neighborhood import conditions_of, same_charges, within
from tensornet_jax.graph.electrons import spin_multiplicity, total_charge
from tensornet_jax.models.config import ModelConfig


def changes_between(
    before: ase.Atoms, atoms: ase.Atoms, config: ModelConfig, tolerance: float
) -> list[str]:
    """Return what differs in two structures, under ASE's names, as far as a model sees it.

    ASE's own comparison does not look into `Atoms.info`, and takes longer than a small model.

    Args:
        before: the structure of the last calculation.
        atoms: the structure now.
        config: of the model.
        tolerance: Å that positions and cell may differ by.
    """
    if len(atoms) != len(before):
        return ["positions", "numbers"]
    same_place = within(tolerance, atoms.positions, before.positions)
    changes = [] if same_place else ["positions"]
    if conditions_of(atoms) == conditions_of(before):
        return changes
    if not within(tolerance, atoms.cell.array, before.cell.array):
        changes.append("cell")
    if (atoms.numbers != before.numbers).any():
        changes.append("numbers")
    if (atoms.pbc != before.pbc).any():
        changes.append("pbc")
    if _differs(total_charge, atoms, before):
        changes.append("charge")
    if config.needs_spin and _differs(spin_multiplicity, atoms, before):
        changes.append("spin")
    if config.needs_charges and not same_charges(atoms, before):
        changes.append("initial_charges")
    return changes


def _differs(what: Callable[[ase.Atoms], float], atoms: ase.Atoms, before: ase.Atoms) -> bool:
    # What is missing or unusable causes an error in `calculate`.
    try:
        return what(atoms) != what(before)
    except ValueError:
        return True
