"""A loop does what it says, and comes to the same whatever interrupts it."""

import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT

from tensornet_jax import load_model
from tensornet_jax.active import choosing, exploring, loop, training
from tensornet_jax.active.labelling.programs import WaitingForLabels
from tensornet_jax.active.layout import LoopDirectory, Stage
from tensornet_jax.config import ConfigError
from tensornet_jax.data.auditing.overlap import overlap
from tensornet_jax.data.readers import read_labelled
from tests.active import small
from tests.text import squeezed


class Killed(BaseException):
    """In place of a signal that no program can answer."""


def test_what_was_chosen_is_labelled_and_trained_on(whole):
    directory = LoopDirectory(whole)
    sizes = [directory.round(k).train.facts()["train"] for k in range(3)]
    held = [directory.round(k).train.facts()["validation"] for k in range(3)]
    assert sizes == [7, 9, 11]
    assert held == [3, 4, 5]
    for number in range(2):
        here = directory.round(number)
        frames = ase.io.read(here.chosen, ":")
        assert len(frames) == 3
        labelled = [
            each
            for n in ("train", "validation")
            for each in read_labelled(here.labelled.path / f"{n}.xyz")
        ]
        for each in labelled:
            atoms = each.atoms.copy()
            atoms.calc = EMT()
            assert abs(each.energy - atoms.get_potential_energy()) < 1e-6
            np.testing.assert_allclose(each.labels.of("forces"), atoms.get_forces(), atol=1e-6)
        assert len(overlap(read_labelled(here.chosen), labelled)) == 3
    model = load_model(directory.model)
    assert "forces_std" in model.properties


def test_no_structure_is_trained_and_validated_on(whole):
    rounds = [LoopDirectory(whole).first, *(LoopDirectory(whole).round(k).labelled for k in (0, 1))]
    train, validation = (
        [each for stage in rounds for each in read_labelled(stage.path / f"{name}.xyz")]
        for name in ("train", "validation")
    )
    assert not overlap(train, validation)


def test_reports_say_what_was_chosen_and_why(whole):
    text = (whole / "round-000" / "report.md").read_text(encoding="utf-8")
    for words in (
        "7 structures to train on, 3 to validate on",
        "10 frames were too uncertain",
        "left out: 1 that repeat an earlier one",
        "to the logarithm of the determinant",
        "newly labelled",
    ):
        assert words in text
    text = squeezed((whole / "report.md").read_text(encoding="utf-8"))
    assert "| [2](round-002/report.md) | 11 + 5 |" in text
    assert "Ended: all 2 rounds are done." in text


def kill_once(monkeypatch, place, name, before: int):
    """Make a function end the run when it is called for the `before`-th time, and work then."""
    true, calls = getattr(place, name), [0]

    def function(*arguments, **options):
        calls[0] += 1
        if calls[0] == before:
            raise Killed(name)
        return true(*arguments, **options)

    monkeypatch.setattr(place, name, function)


# The stage, and what of it has happened when the run ends.
KILLS = {
    "data written, not noted": (Stage, "finish", 1),
    "model trained, without deviations": (training, "with_rigidity", 1),
    "model saved, not noted": (Stage, "finish", 2),
    "in dynamics": (exploring.Recorder, "__call__", 3),
    "dynamics over, not noted": (exploring, "candidates_of", 1),
    "in the choice": (choosing, "select", 1),
    "chosen, without the table": (choosing, "write_table", 1),
    "in the second label": (EMT, "calculate", 2),
    "labelled, not noted": (Stage, "finish", 5),
    "at the end": (loop, "write_loop_report", 1),
}


def test_killed_at_every_stage_it_comes_to_the_same_choices(folder, whole, monkeypatch):
    killed = []
    for what, (place, name, before) in KILLS.items():
        with monkeypatch.context() as patch:
            # Of the calls of `finish` those of former runs are gone.
            done = len(list(folder.glob("loop/**/done.json")))
            kill_once(patch, place, name, before - done if name == "finish" else before)
            with pytest.raises(Killed):
                loop.run(small.loop(rounds=1))
            killed.append(what)
    assert killed == list(KILLS)
    loop.run(small.loop(rounds=1))
    found, expected = small.choices(folder / "loop"), small.choices(whole)
    assert {"round-001/train/sure.safetensors", "round-000/selected/selected.csv"} <= set(found)
    for name, content in found.items():
        assert content == expected[name], name


@pytest.mark.parametrize("stage", ["train", "selected"])
def test_a_stage_without_its_mark_is_done_again_to_the_same(folder, whole, stage):
    shutil.copytree(whole, folder / "loop")
    here = LoopDirectory("loop").round(1)
    later = ["train", "explore", "selected", "labelled"]
    for name in later[later.index(stage) + 1 :]:
        shutil.rmtree(here.path / name)
    shutil.rmtree(folder / "loop" / "round-002")
    (here.path / stage / "done.json").unlink()
    loop.run(small.loop())
    assert small.choices(folder / "loop") == small.choices(whole)


def test_a_loop_goes_on_with_more_rounds_and_with_nothing_else_changed(folder, whole):
    shutil.copytree(whole, folder / "loop")
    told: list[str] = []
    result = loop.run(small.loop(), message=told.append)
    assert not told
    assert result.ending == "all 2 rounds are done"
    with pytest.raises(ConfigError, match=r"the loop began with select\.count = 3, not 4"):
        loop.run(small.loop(**{"select.count": 4}))


def test_labels_made_elsewhere_are_waited_for_and_taken(folder, whole):
    shutil.copytree(whole, folder / "loop")
    Path("loop/config.yaml").unlink()
    labelled = LoopDirectory("loop").round(0).labelled
    shutil.rmtree(labelled.path)
    config = small.loop(rounds=1, label={"name": "wait"})
    for _ in range(2):
        with pytest.raises(WaitingForLabels, match=r"3 structures wait .*selected/selected\.xyz"):
            loop.run(config)
    made = LoopDirectory(whole).round(0).labelled.path
    shutil.copy(made / "answers.xyz", labelled.path / "answers.xyz")
    loop.run(config)
    for name in ("train.xyz", "validation.xyz"):
        assert (labelled.path / name).read_bytes() == (made / name).read_bytes()


def test_a_model_that_is_sure_of_all_it_sees_ends_the_loop(folder, whole):
    shutil.copytree(whole, folder / "loop")
    for name in ("round-001", "round-002"):
        shutil.rmtree(Path("loop") / name)
    here = LoopDirectory("loop").round(0)
    for name in ("selected", "labelled"):
        shutil.rmtree(here.path / name)
    here.explore.finish({**here.explore.facts(), "candidates": 0})
    result = loop.run(small.loop())
    assert result.rounds == 0
    assert result.ending == loop.SURE
    assert loop.SURE in result.report.read_text(encoding="utf-8")
