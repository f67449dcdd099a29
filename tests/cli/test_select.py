"""`tensornet-jax select` as users run it."""

import csv
from pathlib import Path

import ase.build
import ase.io
import pytest

from tensornet_jax.data.readers import read_labelled
from tensornet_jax.potential.model_file import save_model
from tests.potential.uncertainty.sets import molecules, sure_potential


@pytest.fixture
def files(cli):
    save_model(Path("sure.safetensors"), sure_potential())
    frames = molecules(6, seed=2)
    crowded = ase.build.molecule("H2O")
    crowded.positions[1] = crowded.positions[0] + [0.3, 0, 0]
    ase.io.write("first.xyz", [*frames[:3], frames[0], crowded], format="extxyz")
    ase.io.write("second.xyz", frames[3:], format="extxyz")
    ase.io.write("known.xyz", frames[4], format="extxyz")


def test_structures_are_chosen_from_several_files_with_the_reason(cli, files):
    command = ("select", "sure.safetensors", "first.xyz", "second.xyz", "chosen.xyz", "-n", 3)
    options = ("--by", "deviation", "--labelled", "known.xyz", "--largest-force", 1000)
    result = cli(*command, *options)
    assert result.exit_code == 0, result.stderr
    for text in (
        "left out: 1 structures repeat an earlier one, e.g. first.xyz:3: the same as first.xyz:0",
        "left out: 1 structures are labelled already, e.g. second.xyz:1: the same as known.xyz:0",
        "left out: 1 structures have atoms too close to each other, e.g. first.xyz:4",
        "chosen: 3 of 8, by deviation",
    ):
        assert text in result.stdout
    chosen = read_labelled("chosen.xyz")
    with Path("chosen.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["0", "1", "2", "", "", ""]
    for row, structure in zip(rows[:3], chosen, strict=True):
        info = structure.atoms.info
        assert info["selected_because"] == row["reason"]
        assert info["selected_from"] == row["source"]
        assert float(info["selected_score"]) == pytest.approx(float(row["score"]))
    refused = cli(*command)
    assert refused.exit_code == 2
    assert "chosen.xyz exists" in refused.stderr
    again = cli(*command, *options, "--force")
    assert again.exit_code == 0, again.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("first.xyz", "chosen.traj"), "name it chosen.xyz"),
        (("first.xyz", "first.xyz"), "first.xyz is the input"),
        (("absent.xyz", "chosen.xyz"), "absent.xyz: no such file"),
        (("first.xyz", "absent/chosen.xyz"), "there is no folder absent"),
    ],
)
def test_what_cannot_be_is_one_message(cli, files, arguments, said):
    result = cli("select", "sure.safetensors", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_model_that_does_not_know_how_sure_it_is_says_what_to_do(cli, model, molecules):
    result = cli("select", model, molecules, "chosen.xyz")
    assert result.exit_code == 2
    assert "tensornet-jax uncertainty MODEL DATA OUTPUT" in result.stderr
    assert "choose by distance" in result.stderr
    assert not Path("chosen.xyz").exists()


def test_charge_and_spin_are_those_of_all_structures(cli, files, model):
    options = ("second.xyz", "chosen.xyz", "--by", "distance", "-n", 2, "--charge", 1)
    result = cli("select", "sure.safetensors", *options)
    assert result.exit_code == 0, result.stderr
    assert [each.atoms.info["charge"] for each in read_labelled("chosen.xyz")] == [1, 1]
    blind = cli("select", model, *options, "--force")
    assert blind.exit_code == 2
    assert "charge 1: nothing this model (tensornet) predicts depends on" in blind.stderr


def test_nothing_left_is_told_and_not_written(cli, files):
    result = cli("select", "sure.safetensors", "known.xyz", "chosen.xyz", "--labelled", "known.xyz")
    assert result.exit_code == 1
    assert "nothing is left to choose: chosen.xyz is not written" in result.stderr
    assert not Path("chosen.xyz").exists()
