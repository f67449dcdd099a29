"""A committee is its members side by side: their mean, and their spread."""

import numpy as np
import pytest

from tensornet_jax.interop.torchmd_net.export import to_state_dict
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.members import members
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.uncertainty.deviations import COLLECTION
from tensornet_jax.potential.uncertainty.estimate import with_rigidity, with_spread
from tests.builders import in_box, small_potential
from tests.potential.uncertainty.sets import labelled_with_errors, molecules

NAMES = ("energy", "energies", "forces", "stress")
DEVIATIONS = tuple(f"{name}_std" for name in NAMES)


@pytest.fixture(scope="module")
def committee():
    return with_spread(small_potential(num_layers=1, committee=3))


@pytest.fixture(scope="module")
def atoms():
    return in_box(molecules(2, seed=5)[1])


@pytest.fixture(scope="module")
def found(committee, atoms):
    return committee.evaluate(atoms, (*NAMES, *DEVIATIONS))[0]


@pytest.fixture(scope="module")
def each(committee, atoms):
    return [member.evaluate(atoms, NAMES)[0] for member in members(committee)]


@pytest.mark.parametrize("name", NAMES)
def test_members_one_by_one_have_the_mean_and_the_spread(name, found, each):
    values = np.array([result[name] for result in each])
    np.testing.assert_allclose(found[name], values.mean(axis=0), rtol=1e-12, atol=1e-10)
    spread = values.std(axis=0, ddof=1)
    assert spread.max() > 1e-4
    np.testing.assert_allclose(found[f"{name}_std"], spread, rtol=0, atol=1e-10)


def test_members_have_weights_of_their_own(each):
    energies = [result["energy"] for result in each]
    assert np.ptp(energies) > 1e-3


def test_one_file_keeps_all_members(committee, atoms, found, tmp_path):
    save_model(tmp_path / "model.safetensors", committee)
    again = load_model(tmp_path / "model.safetensors")
    (results,) = again.evaluate(atoms, (*NAMES, *DEVIATIONS))
    for name in (*NAMES, *DEVIATIONS):
        np.testing.assert_array_equal(results[name], found[name])


def test_spreads_are_scaled_to_errors(committee, atoms, found):
    validation = labelled_with_errors(committee, molecules(6, seed=2))
    scaled = with_spread(committee, validation)
    scale = float(scaled.variables[COLLECTION]["scales"]["forces"])
    (results,) = scaled.evaluate(atoms, ("forces", "forces_std"))
    np.testing.assert_allclose(results["forces_std"], scale * found["forces_std"], rtol=1e-9)
    assert scaled.metadata[COLLECTION]["members"] == 3


def test_what_is_of_one_model_is_refused(committee):
    with pytest.raises(ValueError, match=r"a committee of 3, which cannot be compressed: take a m"):
        compress(committee, 1e-4)
    with pytest.raises(ValueError, match="cannot be written for torchmd-net"):
        to_state_dict(committee)
    with pytest.raises(ValueError, match="use with_spread"):
        with_rigidity(committee, molecules(2), labelled_with_errors(committee, molecules(2)))
    with pytest.raises(ValueError, match="use with_rigidity"):
        with_spread(small_potential(num_layers=1))
    with pytest.raises(ValueError, match="it has no members"):
        members(small_potential(num_layers=1))
