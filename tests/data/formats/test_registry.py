"""A format of files is one object: who adds one from outside reads and evaluates such files."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from typer.testing import CliRunner

from tensornet_jax.cli import app
from tensornet_jax.data.formats.registry import FORMATS, FileFormat, Frame
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.labels.stated_units import StatedUnits
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.potential.model_file import save_model
from tests.builders import small_potential

FIRST_LINE = "toy 1"
TEXT = f"{FIRST_LINE}\n-2.0 H 0 0 0 H 0 0 0.8\n-3.0 O 0 0 0 H 0 0 1.0\n"


def read_toy(path: Path, config: LabelConfig) -> Iterator[Frame]:
    """Yield frames of which each is a line: energy in Hartree, then symbols and positions in Å."""
    for index, line in enumerate(path.read_text().splitlines()[1:]):
        energy, *words = line.split()
        rows = np.array(words).reshape(-1, 4)
        atoms = Atoms(
            rows[:, 0].tolist(), rows[:, 1:].astype(float), info={"energy": float(energy)}
        )
        yield Frame(atoms, f"line {index + 2}", StatedUnits({"energy": "Hartree"}))


def begins_like_toy(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.readline().strip() == FIRST_LINE.encode()


@pytest.fixture(autouse=True)
def toy(monkeypatch) -> None:
    monkeypatch.setitem(FORMATS, "toy", FileFormat(read_toy, frozenset({".toy"}), begins_like_toy))


@pytest.mark.parametrize("name", ["a.toy", "A.TOY", "unnamed"])
def test_a_format_from_outside_is_read_by_suffix_or_beginning(tmp_path, name):
    path = tmp_path / name
    path.write_text(TEXT)
    first, second = read_labelled(path)
    assert first.source == f"{path}:line 2"
    assert first.energy == pytest.approx(-2.0 * 27.211386, rel=1e-6)
    assert second.atoms.get_chemical_symbols() == ["O", "H"]
    assert any("units that the file states" in text for text in second.remarks)


def test_its_suffix_decides_whatever_the_file_looks_like(tmp_path):
    path = tmp_path / "a.toy"
    path.write_text("2\nno line of a toy\nH 0 0 0 H 0 0 1\n")
    with pytest.raises(ValueError, match="could not convert string to float"):
        read_labelled(path)


def test_compressed_files_are_refused_unless_the_format_takes_them(tmp_path):
    path = tmp_path / "a.toy.gz"
    path.write_bytes(b"anything")
    with pytest.raises(ValueError, match=r"a\.toy\.gz: \.toy files are read uncompressed only"):
        read_labelled(path)


def test_commands_take_it(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "tensornet_jax.runtime.compilation_cache.enable_compilation_cache", lambda: None
    )
    path, model = tmp_path / "a.toy", tmp_path / "model.safetensors"
    path.write_text(TEXT)
    save_model(model, small_potential(num_layers=1))
    inspected = CliRunner().invoke(app, ["inspect", str(path)])
    assert "2 found, 0 missing; from energy 2" in inspected.stdout
    evaluated = CliRunner().invoke(app, ["evaluate", str(model), str(path)])
    assert evaluated.exit_code == 0, evaluated.output
    assert "| a " in evaluated.stdout
    assert "energy per atom" in evaluated.stdout
