"""What is trained follows from the labels of the data; what cannot be trained is refused."""

import ase
import ase.io
import pytest

from tensornet_jax.train.data.datasets import DataError
from tensornet_jax.train.run import train
from tests.train.small import Recorder, clusters, find_row


def test_stress_is_trained_and_reported_for_crystals(run_config, tmp_path):
    ase.io.write(tmp_path / "crystal.xyz", clusters(12, periodic=True))
    terms = {"energy": {"weight": 1.0}, "forces": {"weight": 1.0}, "stress": {"weight": 100.0}}
    config = run_config(
        data={"train": str(tmp_path / "crystal.xyz"), "validation": 4},
        loss=terms,
        training={"epochs": 6},
    )
    recorder = Recorder()
    result = train(config, reporter=recorder)
    assert find_row(result.rows, "train", "stress").unit == "eV/Å³"
    stress = [row["loss_stress"] for row in recorder.train_rows]
    assert 0 < stress[-1] < stress[0]


def test_a_dipole_alone_can_be_trained(run_config):
    config = run_config(
        model={"heads": ["dipole"]},
        loss={"energy": None, "forces": None, "dipole": {"weight": 1.0, "kind": "mae"}},
        training={"epochs": 40},
        optimizer={"learning_rate": 0.1},
    )
    result = train(config)
    assert {row.property for row in result.rows} == {"dipole"}
    assert find_row(result.rows, "validation", "dipole").mae < 0.1


def test_a_loss_without_labels_is_left_out_with_a_message(run_config, recorder):
    terms = {"energy": {"weight": 1.0}, "forces": {"weight": 1.0}, "stress": {"weight": 1.0}}
    train(run_config(loss=terms, training={"epochs": 1}), reporter=recorder)
    assert recorder.started[0].terms == ("energy", "forces")
    assert any("loss.stress is left out" in message for message in recorder.messages)


def test_data_without_any_wanted_label_are_refused(run_config):
    config = run_config(loss={"energy": None, "forces": None, "stress": {"weight": 1.0}})
    with pytest.raises(DataError, match="no training structure has a label for stress"):
        train(config)


def test_an_element_that_is_only_in_the_test_set_is_refused_before_training(run_config, tmp_path):
    (strange,) = clusters(1)
    strange.numbers[0] = 16
    ase.io.write(tmp_path / "strange.xyz", strange)
    config = run_config(data={"test": {"strange": str(tmp_path / "strange.xyz")}})
    with pytest.raises(DataError, match=r"strange set.*strange\.xyz:0.* S"):
        train(config)


def test_isolated_atoms_give_reference_energies_and_are_not_trained_on(
    run_config, tmp_path, recorder
):
    atoms = [ase.Atoms(symbol, info={"REF_energy": -1001.0}) for symbol in "CHO"]
    ase.io.write(tmp_path / "with_atoms.xyz", [*clusters(18), *atoms])
    config = run_config(
        data={"train": str(tmp_path / "with_atoms.xyz"), "reference_energies": "isolated_atoms"},
        training={"epochs": 1},
    )
    result = train(config, reporter=recorder)
    assert recorder.started[0].num_train == 12
    assert any("3 isolated atoms" in message for message in recorder.messages)
    assert result.potential.elements.reference_energies.tolist() == [-1001.0] * 3
