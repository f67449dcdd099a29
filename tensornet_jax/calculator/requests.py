"""What a calculation computes: all that the model has and the structure can have."""

from collections.abc import Collection, Mapping, Sequence

import ase
import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError

from tensornet_jax.properties import Property

# Energies of atoms say all.
_SUMMED = ("energy", "free_energy")


def computed_for(
    atoms: ase.Atoms,
    properties: Sequence[str],
    rows: Mapping[str, Property],
    implemented: Collection[str],
) -> tuple[str, ...]:
    """Return what to ask of the potential: all there is, so that little has to compile.

    What is computed on request only is left out unless it is among the properties.

    Forces and stress come together: one gradient gives both.

    Args:
        atoms: the structure.
        properties: what must be among the results.
        rows: what the model predicts.
        implemented: what of that the calculator has.

    Raises:
        PropertyNotImplementedError: stress without a volume, dipole of a periodic structure.
        ValueError: the cell is not finite.
    """
    periodic, cell = bool(atoms.pbc.any()), atoms.cell.array
    if not np.isfinite(cell).all():
        raise ValueError(f"the cell is not finite, {cell.tolist()}: set atoms.cell")
    has_volume = bool(cell.any()) and abs(np.linalg.det(cell)) > 0
    compute = []
    for name, row in rows.items():
        why_not = row.why_not(periodic=periodic, has_volume=has_volume)
        if why_not is None and not (row.on_request and name not in properties):
            compute.append(name)
        elif why_not is not None and name in properties:
            raise PropertyNotImplementedError(
                f"{why_not}: change atoms.cell or atoms.pbc, or do not ask for it"
            )
    return tuple(name for name in compute if name in implemented and name not in _SUMMED)
