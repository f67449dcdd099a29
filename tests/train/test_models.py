"""Every model trains from a configuration, and its file is what was trained."""

import ase.io
import numpy as np
import pytest

from tensornet_jax.potential.model_file import load_model
from tensornet_jax.train.run import train
from tests.train.small import clusters

MODELS = {
    "mace": {"num_channels": 4, "l_max": 1, "radial_widths": [4], "num_layers": 1},
    "escn": {
        "num_channels": 4,
        "hidden_channels": 2,
        "l_max": 1,
        "m_max": 1,
        "radial_widths": [4],
        "num_layers": 1,
        "readout_width": 4,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mace", "escn"])
def test_model_trains_and_is_saved_with_what_it_took_from_the_data(run_config, recorder, name):
    config = run_config(name, model={"name": name, "cutoff": 3.0, **MODELS[name]})
    result = train(config, reporter=recorder)
    saved = load_model(result.directory / "model.safetensors")
    assert saved.config.name == name
    pairs = [len(saved.structure(atoms).pairs) for atoms in clusters(24)]
    assert 0 < saved.config.model_dump()["avg_num_neighbors"] <= 2 * max(pairs)
    found = saved.evaluate(clusters(3))
    expected = result.potential.evaluate(clusters(3))
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one["forces"], two["forces"])


@pytest.mark.slow
def test_tensornet2_trains_with_priors_and_fixed_charges_beside_its_own(run_config, recorder):
    options = {"num_channels": 4, "num_layers": 1, "num_radial": 4, "num_charges": 2}
    priors = ({"name": "zbl"}, {"name": "coulomb", "cutoff": 4.0})
    model = {"name": "tensornet2", "cutoff": 3.0, "priors": priors, **options}
    with pytest.raises(ValueError, match=r"set_initial_charges.*data"):
        train(run_config("without charges", model=model), reporter=recorder)
    result = train(run_config("run", model=model | {"priors": priors[:1]}), reporter=recorder)
    saved = load_model(result.directory / "model.safetensors")
    assert [prior.name for prior in saved.config.priors] == ["zbl"]
    (found,) = saved.evaluate(clusters(1), ("charges", "forces"))
    (expected,) = result.potential.evaluate(clusters(1), ("charges", "forces"))
    np.testing.assert_array_equal(found["charges"], expected["charges"])
    np.testing.assert_array_equal(found["forces"], expected["forces"])


@pytest.mark.slow
def test_energies_that_reach_beyond_the_network_are_part_of_what_is_trained(run_config, recorder):
    """Training, validation and evaluation see the same long list of pairs."""
    prior = {"name": "d2", "scale": 30.0, "cutoff": 6.0, "switch_width": 1.0}
    config = run_config(model={"priors": [prior], "cutoff": 2.0}, training={"epochs": 1})
    result = train(config, reporter=recorder)
    (row,) = [
        row
        for row in result.rows
        if (row.data_set, row.property, row.element, row.config_type)
        == ("validation", "forces", "", "all")
    ]
    (logged,) = recorder.validation_rows
    np.testing.assert_allclose(logged["forces_mae"], row.mae, rtol=1e-4)
    without = result.potential.config.model_copy(update={"priors": ()})
    atoms = clusters(3)[2]
    found, network = (
        potential.evaluate(atoms)[0]["forces"]
        for potential in (result.potential, result.potential.replace(config=without))
    )
    assert abs(found - network).max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sum", "mesh"])
def test_crystals_train_with_ewald_sums_of_predicted_charges(
    run_config, recorder, tmp_path, method
):
    ase.io.write(tmp_path / "crystal.xyz", clusters(12, periodic=True))
    coulomb = {
        "name": "coulomb",
        "charges": "predicted",
        "switch_to": 3.0,
        "ewald": {"cutoff": 4.0, "accuracy": 1e-4, "method": method},
    }
    model = {"name": "tensornet", "num_channels": 4, "num_layers": 1, "num_radial": 4}
    config = run_config(
        data={"train": str(tmp_path / "crystal.xyz"), "validation": 4},
        model=model | {"cutoff": 3.0, "priors": [coulomb]},
        loss={"energy": {"weight": 1.0}, "forces": {"weight": 1.0}, "stress": {"weight": 1.0}},
        training={"epochs": 4},
    )
    result = train(config, reporter=recorder)
    losses = [row["loss"] for row in recorder.train_rows]
    assert 0 < losses[-1] < losses[0]
    atoms = clusters(1, seed=3, periodic=True)[0]
    before = result.potential.replace(
        config=result.potential.config.model_copy(update={"priors": ()})
    )
    (found,) = result.potential.evaluate(atoms, ("energy", "charges"))
    (network,) = before.evaluate(atoms, ("energy",))
    assert found["charges"].sum() == pytest.approx(0, abs=1e-5)
    assert abs(found["energy"] - network["energy"]) > 1e-6
