"""The table has a row for each chosen structure, and one for each left out."""

import csv

from tensornet_jax.selection.choosing import Choice, Selection
from tensornet_jax.selection.config import SelectionConfig
from tensornet_jax.selection.soundness import REPEATED, LeftOut
from tensornet_jax.selection.table import COLUMNS, write_table
from tests.labelling import labelled
from tests.potential.uncertainty.sets import molecules


def test_chosen_come_first_and_what_was_left_out_has_its_reason(tmp_path):
    candidates = labelled(molecules(3))
    choice = Choice(2, 0.5, "σ is large")
    left_out = {1: LeftOut(REPEATED, "the same as file.xyz:0")}
    selection = Selection(SelectionConfig(), (choice,), left_out, "eV/Å")
    write_table(tmp_path / "table.csv", selection, candidates)
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        list(COLUMNS),
        ["0", "file.xyz:2", "H2O", "0.5", "eV/Å", "σ is large"],
        ["", "file.xyz:1", "CH4O", "", "", "left out: the same as file.xyz:0"],
    ]
