"""An uncertainty is of one head; members of a committee differ in all of them."""

import ase
import numpy as np
import pytest

from tensornet_jax.models.parameter_paths import by_path
from tensornet_jax.potential.elements import with_elements
from tensornet_jax.potential.heads import joined, with_head, with_level_scales, with_more_heads
from tensornet_jax.potential.members import members
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.potential.uncertainty.deviations import COLLECTION
from tensornet_jax.potential.uncertainty.estimate import (
    with_rigidity,
    with_shallow_ensemble,
    with_spread,
)
from tests.builders import small_potential
from tests.potential.uncertainty.sets import labelled_with_errors, molecules, sure_potential

HEADS = ("pbe", "wb97m")
NAMES = ("energy", "energies", "forces")
DEVIATIONS = tuple(f"{name}_std" for name in NAMES)
# Hydrogen, carbon and oxygen; the second level knows no nitrogen, which no structure has.
ENERGIES = np.array([[-13.6, -1029.0, -1485.0, -2041.0], [-0.5, -38.0, np.nan, -75.0]])


def with_heads(committee: int | None) -> Potential:
    """Return an untrained potential of two heads of other scales."""
    like = small_potential(num_layers=0)
    config = like.config.model_copy(update={"levels": HEADS, "committee": committee})
    elements = ElementTable((1, 6, 7, 8), ENERGIES)
    made = create_potential(config, elements, seed=0, dtype="float64", energy_scale=2.0)
    return with_level_scales(made, (1.0, 0.25))


@pytest.fixture(scope="module")
def committee() -> Potential:
    return with_spread(with_heads(3))


@pytest.fixture(scope="module")
def potential() -> Potential:
    return with_heads(None)


def of_head(name: str, count: int = 2, seed: int = 5) -> list[ase.Atoms]:
    """Return molecules that say whose level of theory is meant."""
    frames = molecules(count, seed)
    for atoms in frames:
        atoms.info["head"] = name
    return frames


@pytest.mark.parametrize("head", HEADS)
def test_a_head_of_a_committee_is_as_sure_as_its_members_differ_there(committee, head):
    alone = with_head(committee, head)
    assert alone.config.committee == 3
    assert alone.elements.symbols == (("H", "C", "N", "O") if head == "pbe" else ("H", "C", "O"))
    several = [each.evaluate(of_head(head), NAMES) for each in members(committee)]
    single = [each.evaluate(molecules(2, 5), NAMES) for each in members(alone)]
    whole = committee.evaluate(of_head(head), (*NAMES, *DEVIATIONS))
    own = alone.evaluate(molecules(2, 5), (*NAMES, *DEVIATIONS))
    for k in range(2):
        for name in NAMES:
            values = np.array([found[k][name] for found in several])
            np.testing.assert_allclose([f[k][name] for f in single], values, rtol=1e-11, atol=1e-11)
            spread = values.std(axis=0, ddof=1)
            assert spread.max() > 1e-5
            for found in (whole[k], own[k]):
                np.testing.assert_allclose(found[name], values.mean(axis=0), rtol=1e-11, atol=1e-11)
                np.testing.assert_allclose(found[f"{name}_std"], spread, rtol=1e-9, atol=1e-10)


def test_a_file_keeps_heads_and_members_and_joining_heads_gives_them_back(committee, tmp_path):
    save_model(tmp_path / "model.safetensors", committee)
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config == committee.config
    assert "forces_std" in loaded.properties
    # With the elements that both know, as `joined` asks for.
    parts = {head: with_elements(with_head(committee, head), (1, 6, 8)) for head in HEADS}
    again = joined({head: parts[head] for head in reversed(HEADS)})
    assert again.config.levels == HEADS[::-1]
    assert COLLECTION not in again.variables
    for head in HEADS:
        found, expected = (
            by_path(each.variables["params"]) for each in (with_head(again, head), parts[head])
        )
        assert found.keys() == expected.keys()
        for path, leaf in expected.items():
            np.testing.assert_array_equal(found[path], leaf, err_msg=path)


def test_a_committee_is_scaled_to_the_errors_of_one_head(committee):
    validation = labelled_with_errors(with_head(committee, "wb97m"), molecules(6, seed=2))
    with pytest.raises(ValueError, match=r"heads pbe, wb97m.*choose one"):
        with_spread(committee, validation)
    scaled = with_spread(with_head(committee, "wb97m"), validation)
    scale = float(scaled.variables[COLLECTION]["scales"]["forces"])
    (as_it_is,) = with_head(committee, "wb97m").evaluate(molecules(1), ("forces_std",))
    (found,) = scaled.evaluate(molecules(1), ("forces_std",))
    np.testing.assert_allclose(found["forces_std"], scale * as_it_is["forces_std"], rtol=1e-9)


def test_a_last_layer_is_that_of_one_head(potential, tmp_path):
    alone = with_head(potential, "wb97m")
    validation = labelled_with_errors(alone, molecules(6, seed=2))
    for made in (with_rigidity, with_shallow_ensemble):
        with pytest.raises(ValueError, match=r"heads pbe, wb97m.*choose one"):
            made(potential, [], validation)
    sure = with_rigidity(alone, molecules(6), validation, regularizer=1e-4)
    save_model(tmp_path / "sure.safetensors", sure)
    loaded = load_model(tmp_path / "sure.safetensors")
    assert loaded.config.levels == ("wb97m",)
    # It is the head of a model that has it alone: naming it changes nothing.
    named = with_head(loaded, "wb97m")
    for found, expected in zip(
        named.evaluate(molecules(2), DEVIATIONS),
        sure.evaluate(molecules(2), DEVIATIONS),
        strict=True,
    ):
        for name in DEVIATIONS:
            assert np.all(found[name] > 0)
            np.testing.assert_array_equal(found[name], expected[name])


def test_a_model_that_gets_another_head_no_longer_says_how_sure_it_is(tmp_path):
    more = with_more_heads(sure_potential(), {"mine": None})
    assert COLLECTION not in more.metadata
    assert "energy_std" not in more.properties
    save_model(tmp_path / "more.safetensors", more)
    loaded = load_model(tmp_path / "more.safetensors")
    (found,) = loaded.evaluate(of_head("mine", 1))
    (expected,) = sure_potential().evaluate(of_head("mine", 1))
    assert found["energy"] == pytest.approx(expected["energy"], rel=1e-12)
