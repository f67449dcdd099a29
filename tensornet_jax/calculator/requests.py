"""What a calculation computes: all that the model has and the structure can have."""

from collections.abc import Collection, Sequence

import ase
import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError


def computed_for(
    atoms: ase.Atoms, properties: Sequence[str], energy: bool, others: Collection[str]
) -> tuple[str, ...]:
    """Return what to ask of the potential: all there is, so that little has to compile.

    Args:
        atoms: the structure.
        properties: what must be among the results.
        energy: whether the model has an energy, and so forces and stress.
        others: what else it has, "dipole" among them or not.

    Raises:
        PropertyNotImplementedError: stress without a volume, dipole of a periodic structure.
        ValueError: the cell is not finite.
    """
    periodic, cell = bool(atoms.pbc.any()), atoms.cell.array
    if not np.isfinite(cell).all():
        raise ValueError(f"the cell is not finite, {cell.tolist()}: set atoms.cell")
    has_volume = bool(cell.any()) and abs(np.linalg.det(cell)) > 0
    if "stress" in properties and not has_volume:
        raise PropertyNotImplementedError(
            "stress needs a cell with a volume: set atoms.cell, or do not ask for it"
        )
    if "dipole" in properties and periodic:
        raise PropertyNotImplementedError(
            "the dipole moment of a periodic structure has no meaning: set atoms.pbc to False"
        )
    # One gradient gives both, and dynamics at constant pressure asks for both.
    compute = ["energies", "forces", *(["stress"] if has_volume else [])] if energy else []
    return (*compute, *(name for name in others if name != "dipole" or not periodic))
