"""Structures that stand in two sets at once: errors on them say nothing about new ones."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.electronic_state import ElectronicState

# Å, in any coordinate; what the roundings of two files leave of one structure. Steps of dynamics
# and displacements of a Hessian are longer.
TOLERANCE = 1e-4
EXAMPLES = 3


def overlap(
    first: Sequence[LabelledStructure],
    second: Sequence[LabelledStructure],
    tolerance: float = TOLERANCE,
) -> list[tuple[int, int]]:
    """Return (index in `first`, index in `second`) of those of `second` that `first` has too.

    The same are structures of the same atoms in the same order, periodic directions, charge and
    spin, whose positions and cells agree in every coordinate. At most one partner is named.

    Args:
        first: structures.
        second: others.
        tolerance: Å.
    """
    groups: dict[tuple[bytes, bytes, ElectronicState], tuple[list[int], list[int]]]
    groups = defaultdict(lambda: ([], []))
    for side, structures in enumerate((first, second)):
        for index, structure in enumerate(structures):
            key = structure.numbers.tobytes(), structure.atoms.pbc.tobytes(), structure.state
            groups[key][side].append(index)
    pairs = []
    for ours, theirs in groups.values():
        if ours and theirs:
            known = np.stack([_coordinates(first[k]) for k in ours])
            asked = np.stack([_coordinates(second[k]) for k in theirs])
            found = _partners(known, asked, tolerance)
            pairs += [(ours[i], theirs[j]) for j, i in found.items()]
    return sorted(pairs, key=lambda pair: pair[1])


def overlap_warnings(
    sets: Mapping[str, Sequence[LabelledStructure]], train: str = "train"
) -> list[str]:
    """Return a sentence for each two sets that share structures.

    Args:
        sets: structures by name of their set.
        train: the set that the others should have nothing of; named "training" in sentences.
    """
    warnings = []
    names = list(sets)
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            pairs = overlap(sets[name], sets[other])
            if pairs:
                shared = [
                    f"{sets[other][j].source} is {sets[name][i].source}"
                    for i, j in pairs[:EXAMPLES]
                ]
                where = "training" if name == train else name
                effect = (
                    "errors on them say nothing about new structures"
                    if name == train
                    else "these errors are not independent"
                )
                warnings.append(
                    f"{len(pairs)} of {len(sets[other])} structures of the {other} set are also in "
                    f"the {where} set, e.g. {', '.join(shared)}: {effect}"
                )
    return warnings


def _coordinates(structure: LabelledStructure) -> Float[np.ndarray, " coordinates"]:
    atoms = structure.atoms
    # Of a cell, what is not periodic has no meaning.
    cell = np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)
    return np.concatenate([atoms.positions.ravel(), cell.ravel()])


def _partners(known: np.ndarray, asked: np.ndarray, tolerance: float) -> dict[int, int]:
    """Return row of `asked` → row of `known` that agrees with it in all columns.

    Rows are sorted by one combination of their columns, in which equal rows lie close together.
    """
    direction = np.random.default_rng(0).normal(size=known.shape[1])
    keys = known @ direction
    order = np.argsort(keys)
    keys, reach = keys[order], tolerance * float(np.abs(direction).sum())
    values = asked @ direction
    low, high = np.searchsorted(keys, values - reach), np.searchsorted(keys, values + reach)
    found = {}
    for row in np.flatnonzero(high > low):
        near = order[low[row] : high[row]]
        agree = near[(np.abs(known[near] - asked[row]) <= tolerance).all(axis=1)]
        if len(agree):
            found[int(row)] = int(agree.min())
    return found
