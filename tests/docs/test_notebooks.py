"""The notebooks of docs/tutorials run, and show what they showed when they last ran."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tensornet_jax.interop.matgl import from_state_dict
from tensornet_jax.potential.model_file import save_model
from tests.docs.pages import (
    ROOT,
    Block,
    check_imports,
    check_yaml,
    commands_of,
    parse_command,
)
from tests.interop.test_matgl import published

FOLDER = ROOT / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 600_000  # bytes, pictures included: they are part of every clone

Shared = Callable[[str], Path]


def cells_of(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_there_are_notebooks_and_all_are_in_the_navigation():
    navigation = (ROOT / "docs" / ".nav.yml").read_text(encoding="utf-8")
    named = re.findall(r"tutorials/(?!README)(\w+)\.md", navigation)
    assert sorted(named) == [path.stem for path in NOTEBOOKS]
    assert len(named) >= 7


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_it_shows_is_of_one_run_from_top_to_bottom(path):
    code = [cell for cell in cells_of(path) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = {output["output_type"] for cell in code for output in cell["outputs"]}
    assert "error" not in kinds
    assert kinds
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < LARGEST
    for told in ("/tmp", "/root", "/home", "Warning", r"\u001b", "site-packages"):
        assert told not in text, told


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_commands_settings_and_imports_are_there(path, tmp_path):
    for number, cell in enumerate(cells_of(path)):
        magic, _, body = "".join(cell["source"]).partition("\n")
        if cell["cell_type"] != "code":
            continue
        if magic.startswith("%%bash"):
            for words, _ in commands_of(body.replace("|", "# ")):
                parse_command([word for word in words[1:] if word != "--help"])
        elif magic.endswith(".yaml"):
            check_yaml(Block(path, number, "yaml", body), tmp_path)
        elif not magic.startswith("%%"):
            check_imports("".join(cell["source"]))


# --- once more, from the beginning ----------------------------------------------------------


def nothing(folder: Path, shared: Shared) -> None:
    """Put nothing there: all that is needed comes with the package."""


def matpes_and_silicon(folder: Path, shared: Shared) -> None:
    """Put there what `fetch` and `convert matgl` would."""
    (folder / "data").mkdir()
    shutil.copytree(shared("mlearn"), folder / "data/mlearn", copy_function=shutil.copyfile)
    save_model(folder / "matpes-pbe.safetensors", from_state_dict(*published(shared)))


def models_of_others(folder: Path, shared: Shared) -> None:
    """Put there a checkpoint and a `.model` of MACE."""
    for name in ("reference_aceff/aceff_v1.1_weights.npz", "reference_mace/m07_L2_hidden.model"):
        shutil.copyfile(shared(name), folder / Path(name).name)


NEEDED = {"silicon": matpes_and_silicon, "convert": models_of_others}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, shared_data, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    NEEDED.get(path.stem, nothing)(tmp_path, shared_data)
    commands = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=3000, resources=resources).execute()
