"""Which kinds of structures a model is less sure of than of others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.properties import PROPERTIES
from tensornet_jax.runtime.markdown import markdown_table

HEADER = ("data set", "config_type", "structures", "σ of", "median of the largest", "unit", "AUC")

SCORES = {
    "energy": ("energy_std", "energies_std"),
    "energies": ("energies_std",),
    "forces": ("forces_std",),
}
"""What structures are compared by, and the deviations that it takes: the energy per atom of all;
the least certain atom's energy, which tells a defect among many other atoms; and the least certain
component of a force, which symmetry makes zero, deviation included, in a perfect crystal under any
strain."""


@dataclass(frozen=True)
class Kind:
    """The structures of one config_type beside all others of a data set.

    Attributes:
        data_set: its name.
        config_type: of the structures.
        count: of them.
        property: one of `SCORES`.
        median: of the largest standard deviation of it in each of these structures.
        curve: shares (2, K) of the others and of these that lie above a limit, the largest limit
            first: the receiver operating characteristic.
        area: below the curve, the probability that the model is less sure of one of these than of
            one of the others; 0.5 where the kind makes no difference.
    """

    data_set: str
    config_type: str
    count: int
    property: str
    median: float
    curve: Float[np.ndarray, "2 limits"]
    area: float


def kinds_of(
    data_set: str,
    structures: Sequence[LabelledStructure],
    predictions: Sequence[Mapping[str, ArrayLike]],
) -> list[Kind]:
    """Return each config_type that there are others beside, the least certain one first.

    Args:
        data_set: its name.
        structures: of the set.
        predictions: of each; there are kinds by those of `SCORES` that all have deviations of.
    """
    kinds = [each.config_type or "" for each in structures]
    if len(set(kinds)) < 2:
        return []
    found = []
    for name, deviations in SCORES.items():
        if not all(each.keys() >= set(deviations) for each in predictions):
            continue
        largest = largest_deviations(predictions, name)
        own = [
            kind_among(data_set, kind, name, largest, np.array([each == kind for each in kinds]))
            for kind in sorted(set(kinds) - {""})
        ]
        found += sorted(own, key=lambda each: -each.area)
    return found


def largest_deviations(
    predictions: Sequence[Mapping[str, ArrayLike]], name: str
) -> Float[np.ndarray, " structures"]:
    """Return the largest standard deviation of a property of `SCORES` in each structure.

    That of the energy is the only one, per atom.
    """
    largest = np.array([np.max(np.asarray(each[f"{name}_std"])) for each in predictions])
    if name == "energy":
        largest = largest / [len(np.asarray(each["energies_std"])) for each in predictions]
    return largest


def kind_among(
    data_set: str,
    kind: str,
    name: str,
    largest: Float[np.ndarray, " structures"],
    chosen: Bool[np.ndarray, " structures"],
) -> Kind:
    """Return what tells chosen structures from the others.

    Args:
        data_set: its name.
        kind: of what is chosen.
        name: of the property.
        largest: as `largest_deviations` returns them.
        chosen: which; there have to be some, and others.
    """
    return Kind(
        data_set,
        kind,
        count=int(chosen.sum()),
        property=name,
        median=float(np.median(largest[chosen])),
        curve=characteristic(largest, chosen),
        area=rank_area(largest, chosen),
    )


def rank_area(
    values: Float[np.ndarray, " structures"], chosen: Bool[np.ndarray, " structures"]
) -> float:
    """Return the probability that a chosen value is above one of the others, ties counting half."""
    count, others = int(chosen.sum()), int((~chosen).sum())
    above = rankdata(values)[chosen].sum() - count * (count + 1) / 2
    return float(above / (count * others))


def characteristic(
    values: Float[np.ndarray, " structures"], chosen: Bool[np.ndarray, " structures"]
) -> Float[np.ndarray, "2 limits"]:
    """Return the shares of others and chosen that are above a limit, for all limits."""
    limits = np.concatenate([[np.inf], np.unique(values)[::-1]])
    return np.array(
        [[np.mean(values[each] >= limit) for limit in limits] for each in (~chosen, chosen)]
    )


def kind_cells(kinds: Iterable[Kind]) -> list[tuple[str, ...]]:
    """Return header and rows as text."""
    cells: list[tuple[str, ...]] = [HEADER]
    for each in kinds:
        row = PROPERTIES[each.property].compared
        unit, factor = row.shown
        cells.append(
            (
                each.data_set,
                each.config_type,
                str(each.count),
                row.title.lower(),
                f"{each.median * factor:.4g}",
                unit,
                f"{each.area:.3f}",
            )
        )
    return cells


def render_kinds(kinds: Iterable[Kind]) -> list[str]:
    """Return the rows as a Markdown table."""
    header, *lines = kind_cells(kinds)
    return markdown_table(header, lines, numbers=(2, 4, 6))
