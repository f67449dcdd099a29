"""Tables that Markdown shows and people can read as they are."""

from tensornet_jax.runtime.markdown import WIDEST, markdown_table


def test_columns_are_as_wide_as_what_they_hold():
    assert markdown_table(("name", "n"), [("water", 192), ("ice", 8)], numbers=[1]) == [
        "| name  |   n |",
        "| ----- | --: |",
        "| water | 192 |",
        "| ice   |   8 |",
    ]


def test_a_bar_in_a_cell_does_not_end_it():
    assert markdown_table(("a", "b"), [("x|y", 1)])[2] == r"| x\|y | 1   |"


def test_one_long_cell_does_not_widen_all_lines():
    header, rule, long, short = markdown_table(("a",), [("x" * 500,), ("y",)])
    assert {len(header), len(rule), len(short)} == {WIDEST + len("|  |")}
    assert len(long) == 500 + len("|  |")


def test_a_table_may_have_no_rows():
    assert markdown_table(("a", "bcde"), []) == ["| a   | bcde |", "| --- | ---- |"]
