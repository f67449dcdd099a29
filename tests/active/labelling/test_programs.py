"""Labels of a command, and labels that are waited for."""

import sys
from pathlib import Path

import ase.io
import pytest

from tensornet_jax.active.labelling.config import CommandLabels, WaitForLabels
from tensornet_jax.active.labelling.programs import (
    ANSWERS,
    WaitingForLabels,
    label_by_command,
    wait_for_labels,
)
from tensornet_jax.data.labels.canonical_file import write_canonical
from tests.active.small import water
from tests.labelling import labelled

SCRIPT = """
import sys
import ase.io
from ase.calculators.emt import EMT
frames = ase.io.read(sys.argv[1], ":")
for atoms in frames:
    atoms.calc = EMT()
    atoms.get_forces()
ase.io.write(sys.argv[2], frames[::-1], format="extxyz")
"""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Return structures, and write them where they are asked for."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("label.py").write_text(SCRIPT, encoding="utf-8")
    structures = [each.without_labels() for each in labelled(water(3, seed=1))]
    write_canonical("asked.xyz", structures)
    return structures


def command(text: str) -> CommandLabels:
    return CommandLabels(command=text)


def by(settings, structures):
    return label_by_command(settings, structures, Path("asked.xyz"), Path("folder"))


def test_a_command_labels_in_any_order(asked):
    found = by(command(f"{sys.executable} label.py {{input}} {{output}}"), asked)
    assert list(found.labelled) == [0, 1, 2]
    for index, atoms in enumerate(water(3, seed=1)):
        assert abs(found.labelled[index].energy - atoms.get_potential_energy()) < 1e-5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("absent-program {input} {output}", r"label\.command absent-program: No such file"),
        ("false {input} {output}", "ended with exit code 1: false asked.xyz"),
        ("true {input} {output}", r"did not write folder/answers\.xyz"),
        ("cp {input} {output}", "no structure has an energy"),
    ],
)
def test_what_a_command_does_wrong_is_told(asked, text, said):
    with pytest.raises(ValueError, match=said):
        by(command(text), asked)


def test_labels_of_another_run_are_not_taken_for_those_of_this_one(asked):
    ase.io.write(f"folder/{ANSWERS}", water(3, seed=1), format="extxyz")
    with pytest.raises(ValueError, match="did not write"):
        by(command("true {input} {output}"), asked)


def test_labels_are_waited_for_and_then_taken(asked):
    arguments = (WaitForLabels(), asked, Path("asked.xyz"), Path("folder"))
    with pytest.raises(WaitingForLabels, match=r"3 structures wait for labels in asked\.xyz"):
        wait_for_labels(*arguments)
    ase.io.write(f"folder/{ANSWERS}", water(3, seed=1)[1:], format="extxyz")
    found = wait_for_labels(*arguments)
    assert list(found.labelled) == [1, 2]
    assert found.failed == {0: "not in answers.xyz"}


def test_structures_that_nobody_asked_for_are_refused(asked):
    ase.io.write(f"folder/{ANSWERS}", water(1, seed=5), format="extxyz")
    with pytest.raises(ValueError, match=r"answers\.xyz:0: is none of the 3 structures"):
        wait_for_labels(WaitForLabels(), asked, Path("asked.xyz"), Path("folder"))
