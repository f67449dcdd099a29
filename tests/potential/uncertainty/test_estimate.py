"""Potentials are given an uncertainty, and keep it in their files."""

import jax
import numpy as np
import pytest

from tensornet_jax.models.parameter_paths import by_path
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.elements import with_elements
from tensornet_jax.potential.model_file import ModelFileError, load_model, save_model
from tensornet_jax.potential.uncertainty.deviations import COLLECTION
from tensornet_jax.potential.uncertainty.estimate import (
    held_out,
    with_rigidity,
    with_shallow_ensemble,
)
from tensornet_jax.potential.uncertainty.residuals import residuals_of
from tests.builders import small_potential
from tests.potential.uncertainty.sets import labelled_with_errors, molecules, sure_potential

NAMES = ("energy", "forces", "energy_std", "forces_std")


@pytest.fixture(scope="module")
def potential():
    return sure_potential()


def test_errors_of_the_validation_set_are_as_large_as_said(potential):
    validation = labelled_with_errors(potential, molecules(8, seed=1))
    frames = [each.atoms for each in validation]
    found = residuals_of(potential.evaluate(frames, NAMES), [e.labels for e in validation])
    for each in found.values():
        assert abs(np.mean((each.errors / each.deviations) ** 2) - 1) < 1e-9
    facts = potential.metadata[COLLECTION]
    assert (facts["structures"], facts["validation"]) == (12, 8)
    assert facts["calibrated"] == ["energy", "forces"]
    assert facts["scales"]["stress"] == facts["scales"]["energy"]


def test_the_file_keeps_it(potential, tmp_path):
    save_model(tmp_path / "model.safetensors", potential)
    again = load_model(tmp_path / "model.safetensors")
    assert again.metadata == potential.metadata
    before, after = (by_path(each.variables) for each in (potential, again))
    assert before.keys() == after.keys()
    for path, leaf in before.items():
        np.testing.assert_array_equal(after[path], leaf)


def test_a_file_with_an_uncertainty_of_another_model_is_refused(potential, tmp_path):
    estimate = dict(potential.variables[COLLECTION])
    estimate["factor"] = np.asarray(estimate["factor"])[1:]
    wrong = potential.replace(variables={**potential.variables, COLLECTION: estimate})
    save_model(tmp_path / "wrong.safetensors", wrong)
    with pytest.raises(ModelFileError, match=f"{COLLECTION}/factor is float64"):
        load_model(tmp_path / "wrong.safetensors")
    del estimate["directions"]
    save_model(tmp_path / "wrong.safetensors", wrong)
    with pytest.raises(ModelFileError, match=f"{COLLECTION}/directions is missing"):
        load_model(tmp_path / "wrong.safetensors")


def test_other_elements_and_tables_keep_it(potential):
    atoms = molecules(1, seed=3)[0]
    (expected,) = potential.evaluate(atoms, ("energy_std",))
    fewer = with_elements(potential, [1, 6, 8])
    small = compress(fewer, 1e-3, [atoms])
    for each, tolerance in ((fewer, 1e-10), (small, 1e-2)):
        (found,) = each.evaluate(atoms, ("energy_std",))
        np.testing.assert_allclose(found["energy_std"], expected["energy_std"], rtol=tolerance)


def test_few_directions_are_of_the_same_size_and_of_one_seed(potential):
    plain = small_potential(num_layers=1)
    sample, validation = molecules(12), labelled_with_errors(plain, molecules(8, seed=1))
    few = with_rigidity(plain, sample, validation, regularizer=1e-6, directions=2, seed=3)
    assert few.variables[COLLECTION]["directions"].shape == (4, 2)
    again = with_rigidity(few, sample, validation, regularizer=1e-6, directions=2, seed=3)
    for first, second in zip(*map(jax.tree.leaves, (few.variables, again.variables)), strict=True):
        np.testing.assert_array_equal(first, second)
    (exact,), (found,) = (p.evaluate(sample[0], ("forces_std",)) for p in (potential, few))
    ratio = np.linalg.norm(found["forces_std"]) / np.linalg.norm(exact["forces_std"])
    assert 0.3 < ratio < 3


@pytest.mark.parametrize("score", ["nll", "crps"])
def test_shallow_ensembles_keep_what_the_network_says(potential, score):
    plain = small_potential(num_layers=1)
    sample, validation = (labelled_with_errors(plain, molecules(n, seed=n)) for n in (12, 8))
    shallow = with_shallow_ensemble(plain, sample, validation, members=3, score=score)
    columns = np.asarray(shallow.variables[COLLECTION]["factor"])
    assert columns.shape == (4, 3)
    np.testing.assert_allclose(columns.sum(axis=1), 0, atol=1e-9)
    frames = [each.atoms for each in validation]
    results = shallow.evaluate(frames, NAMES)
    for now, before in zip(results, plain.evaluate(frames), strict=True):
        np.testing.assert_allclose(now["forces"], before["forces"], rtol=0, atol=1e-12)
    for each in residuals_of(results, [e.labels for e in validation]).values():
        assert abs(np.mean((each.errors / each.deviations) ** 2) - 1) < 1e-9


def test_structures_are_held_out_at_random_and_once_each():
    kept, drawn = held_out(50, 0.2, 0)
    assert len(drawn) == 10
    assert sorted(kept + drawn) == list(range(50))
    assert held_out(50, 0.2, 1)[1] != drawn
    with pytest.raises(ValueError, match="between 0 and 1"):
        held_out(50, 1.0, 0)
    with pytest.raises(ValueError, match="too few to hold 2 of them out"):
        held_out(2, 0.5, 0)


def test_what_cannot_be_calibrated_is_refused():
    plain = small_potential(num_layers=1)
    sample = molecules(2)
    with pytest.raises(ValueError, match="0 of 0 structures of the validation set have an energy"):
        with_rigidity(plain, sample, [])
    validation = labelled_with_errors(plain, sample)
    with pytest.raises(ValueError, match="no structures to collect"):
        with_rigidity(plain, [], validation)
    with pytest.raises(ValueError, match="directions must be 1 or more"):
        with_rigidity(plain, sample, validation, directions=0)
    with pytest.raises(ValueError, match="regularizer must be positive"):
        with_rigidity(plain, sample, validation, regularizer=0.0)
