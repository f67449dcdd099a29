"""What each file of a data set gave: structures, labels, and the keys and units they came from."""

from collections import Counter
from collections.abc import Sequence

from ase import Atoms

from tensornet_jax.data.labels.labels import LabelConfig, labels_of, source_of

MOST_FILES = 20


def file_lines(groups: Sequence[tuple[LabelConfig, Sequence[Atoms]]]) -> list[str]:
    """Return a line for each file, none if there is only one.

    Args:
        groups: label names and units, and the structures that were read with them.
    """
    lines = []
    for labels, atoms_list in groups:
        files: dict[str, list[Atoms]] = {}
        for atoms in atoms_list:
            files.setdefault(source_of(atoms).rpartition(":")[0], []).append(atoms)
        lines += [_line(name, found, labels) for name, found in files.items()]
    if len(lines) < 2:
        return []
    more = len(lines) - MOST_FILES
    return [
        f"{len(lines)} files:",
        *lines[:MOST_FILES],
        *([f"  and {more} more"] if more > 0 else []),
    ]


def _line(name: str, atoms_list: Sequence[Atoms], labels: LabelConfig) -> str:
    counts: Counter[tuple[str, str]] = Counter()
    for atoms in atoms_list:
        keys = atoms.info.get("label_keys", {})
        counts.update((label, keys.get(label, label)) for label in labels_of(atoms).names)
    found = [
        f"{label} from {key}" + (f" ({count} of them)" if count < len(atoms_list) else "")
        for (label, key), count in counts.items()
    ]
    default = type(labels.units)()
    units = [
        f"{quantity} {unit}"
        for quantity, unit in labels.units.model_dump().items()
        if unit is not None and unit != getattr(default, quantity)
    ]
    read_in = f"; read in {', '.join(units)}" if units else ""
    return f"  {name}: {len(atoms_list)} structures; {', '.join(found) or 'no labels'}{read_in}"
