"""What is never worth a label: repetitions, atoms on top of each other, forces beyond reason."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import ase
import numpy as np
from ase.data import chemical_symbols, covalent_radii
from jaxtyping import Float

from tensornet_jax.data.auditing.findings import repeated
from tensornet_jax.data.auditing.overlap import overlap
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.graph.neighbors import neighbor_pairs
from tensornet_jax.potential.potential import Potential

REPEATED, KNOWN = "repeat an earlier one", "are labelled already"
TOO_CLOSE, ABSURD = "have atoms too close to each other", "have absurd forces"
REFUSED = "are not for this model"
KINDS = (REPEATED, KNOWN, TOO_CLOSE, ABSURD, REFUSED)
"""Why structures are left out, as the end of "12 structures …"."""


class LeftOut(NamedTuple):
    """A structure that cannot be chosen.

    kind: of KINDS.
    reason: about this one.
    """

    kind: str
    reason: str


Excluded: TypeAlias = Mapping[int, LeftOut]
"""By index of the structure."""


def repetitions(
    candidates: Sequence[LabelledStructure], labelled: Sequence[LabelledStructure]
) -> Excluded:
    """Return candidates that repeat an earlier one or a labelled structure.

    Args:
        candidates: to choose among.
        labelled: those that need no label.
    """
    again = {
        later: LeftOut(REPEATED, f"the same as {candidates[first].source}")
        for first, later in repeated(candidates)
    }
    known = {
        index: LeftOut(KNOWN, f"the same as {labelled[other].source}")
        for other, index in overlap(labelled, candidates)
    }
    return again | known


def unsuitable(
    potential: Potential, structure: LabelledStructure, closest: float
) -> LeftOut | None:
    """Return why a structure cannot be computed, or has atoms too close to each other.

    Args:
        potential: which is to compute it.
        structure: one.
        closest: shortest distance in sums of covalent radii; 0 for none.
    """
    crowded = _too_close(structure.atoms, closest)
    if crowded is not None:
        return LeftOut(TOO_CLOSE, crowded)
    try:
        potential.structure(structure.atoms, f" ({structure.source})")
    except ValueError as error:
        return LeftOut(REFUSED, str(error))
    return None


def absurd(forces: Float[np.ndarray, "atoms 3"], largest: float) -> LeftOut | None:
    """Return why forces cannot be meant, if they are not finite or larger than a limit.

    Args:
        forces: eV/Å.
        largest: length, eV/Å.
    """
    lengths = np.linalg.norm(forces, axis=1)
    if not np.isfinite(lengths).all():
        return LeftOut(ABSURD, "a predicted force is not finite")
    if len(lengths) and lengths.max() > largest:
        atom, length = int(lengths.argmax()), lengths.max()
        return LeftOut(
            ABSURD, f"predicted force of {length:.3g} eV/Å on atom {atom} (limit {largest:g})"
        )
    return None


def _too_close(atoms: ase.Atoms, closest: float) -> str | None:
    """Return which atoms are closer than `closest` sums of their covalent radii, if any are."""
    if closest == 0 or not len(atoms):
        return None
    radii = covalent_radii[atoms.numbers]
    try:
        reach = 2 * closest * float(radii.max())
        pairs = neighbor_pairs(atoms.positions, atoms.cell.array, atoms.pbc, reach)
    except ValueError as error:
        return str(error)
    distances = np.linalg.norm(pairs.vectors(atoms.positions, atoms.cell.array), axis=1)
    shares = distances / (radii[pairs.first] + radii[pairs.second])
    if not len(shares) or shares.min() >= closest:
        return None
    pair = int(shares.argmin())
    names = (
        f"atom {k} ({chemical_symbols[atoms.numbers[k]]})"
        for k in (pairs.first[pair], pairs.second[pair])
    )
    return (
        f"{' and '.join(names)} are {distances[pair]:.3g} Å apart, {shares[pair]:.2f} of the sum "
        f"of their covalent radii (limit {closest:g})"
    )
