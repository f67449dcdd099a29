"""All tables have one form, and none is ever half written."""

import ast
import csv

import pytest

from tensornet_jax.runtime.csv_files import append_csv, write_csv
from tests.test_public_face import MODULES, imports_of


def test_a_table_reads_back_and_its_lines_end_alike(tmp_path):
    path = tmp_path / "table.csv"
    write_csv(path, ("name", "value"), [("room, temperature", 1.5), ("Å", "x")])
    append_csv(path, ("last", 2))
    assert path.read_bytes() == 'name,value\n"room, temperature",1.5\nÅ,x\nlast,2\n'.encode()
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1] == ["room, temperature", "1.5"]


def test_a_table_that_cannot_be_finished_leaves_the_former_one(tmp_path):
    path = tmp_path / "table.csv"
    write_csv(path, ("value",), [(1,)])

    def rows():
        yield (2,)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        write_csv(path, ("value",), rows())
    assert path.read_text() == "value\n1\n"


def test_nothing_else_in_the_package_writes_csv():
    for module, path in MODULES.items():
        if module == "runtime.csv_files" or not any(n.startswith("csv") for n in imports_of(path)):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("writer", "DictWriter"), f"{module}:{node.lineno}"
