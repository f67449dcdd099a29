"""The table beside chosen structures: why each was chosen, and why others could not be."""

from collections.abc import Sequence
from pathlib import Path

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.runtime.csv_files import write_csv
from tensornet_jax.selection.choosing import Selection

COLUMNS = ("rank", "source", "formula", "score", "unit", "reason")


def write_table(path: Path, selection: Selection, candidates: Sequence[LabelledStructure]) -> None:
    """Write a row for each chosen structure in order, and then one for each that was left out.

    Args:
        path: file to write, which is replaced; its columns are COLUMNS. Of what was left out, rank
            and score are empty.
        selection: of these candidates.
        candidates: as they were given to `select`.
    """
    rows: list[tuple[object, ...]] = []
    for rank, choice in enumerate(selection.chosen):
        own = candidates[choice.index]
        formula = own.atoms.get_chemical_formula()
        rows.append((rank, own.source, formula, choice.score, selection.unit, choice.reason))
    for index, each in selection.left_out.items():
        own = candidates[index]
        formula = own.atoms.get_chemical_formula()
        rows.append(("", own.source, formula, "", "", f"left out: {each.reason}"))
    write_csv(path, COLUMNS, rows)
