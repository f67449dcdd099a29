"""Labels that came back, and the structures they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tensornet_jax.data.auditing.overlap import overlap
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.readers import Refusal, read_labelled

# Å; other programs write fewer digits.
TOLERANCE = 2e-3


@dataclass(frozen=True)
class Answers:
    """What came back.

    labelled: with labels, by place among those that were asked for.
    failed: why there is no label, likewise.
    """

    labelled: Mapping[int, LabelledStructure]
    failed: Mapping[int, str]


def read_answers(
    path: Path, structures: Sequence[LabelledStructure], labels: LabelConfig
) -> Answers:
    """Return the labels of a file, whose structures may be fewer and in another order.

    Args:
        path: what a labeller wrote.
        structures: that were to be labelled; their geometry is kept.
        labels: what the labels are called.

    Raises:
        ValueError: the file has a structure that was not asked for, or not one with an energy.
    """
    refused: list[Refusal] = []
    found = read_labelled(path, labels, refused=refused)
    pairs = overlap(structures, found, TOLERANCE)
    places = {theirs: ours for ours, theirs in pairs}
    strange = [each.source for k, each in enumerate(found) if k not in places]
    if strange:
        raise ValueError(
            f"{strange[0]}: is none of the {len(structures)} structures that are to be labelled: "
            "write them as they are, atoms in their order"
        )
    labelled = {
        places[k]: structures[places[k]].with_labels(each.labels)
        for k, each in enumerate(found)
        if np.isfinite(each.energy)
    }
    if not labelled:
        raise ValueError(
            f"{path}: no structure has an energy: check label.labels, or what labels them"
        )
    missing = sorted(set(range(len(structures))) - set(labelled))
    return Answers(dict(sorted(labelled.items())), dict.fromkeys(missing, f"not in {path.name}"))
