"""What each file of a data set gave: structures, labels, and the keys and units they came from."""

from collections import Counter
from collections.abc import Sequence

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.config import LabelConfig

MOST_FILES = 20


def file_lines(groups: Sequence[tuple[LabelConfig, Sequence[LabelledStructure]]]) -> list[str]:
    """Return a line for each file, none if there is only one.

    Args:
        groups: label names and units, and the structures that were read with them.
    """
    lines = []
    for labels, structures in groups:
        files: dict[str, list[LabelledStructure]] = {}
        for structure in structures:
            files.setdefault(structure.source.rpartition(":")[0], []).append(structure)
        lines += [_line(name, found, labels) for name, found in files.items()]
    if len(lines) < 2:
        return []
    more = len(lines) - MOST_FILES
    return [
        f"{len(lines)} files:",
        *lines[:MOST_FILES],
        *([f"  and {more} more"] if more > 0 else []),
    ]


def _line(name: str, structures: Sequence[LabelledStructure], labels: LabelConfig) -> str:
    counts: Counter[tuple[str, str]] = Counter()
    for each in structures:
        counts.update((label, each.keys.get(label, label)) for label in each.labels)
    found = [
        f"{label} from {key}" + (f" ({count} of them)" if count < len(structures) else "")
        for (label, key), count in counts.items()
    ]
    default = type(labels.units)()
    units = [
        f"{quantity} {unit}"
        for quantity, unit in labels.units.model_dump().items()
        if unit is not None and unit != getattr(default, quantity)
    ]
    read_in = f"; read in {', '.join(units)}" if units else ""
    return f"  {name}: {len(structures)} structures; {', '.join(found) or 'no labels'}{read_in}"
