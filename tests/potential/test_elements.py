"""Other elements for a trained potential: what it says of the old ones stays the same."""

from typing import Literal

import ase
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.models import MODELS
from tensornet_jax.models.base import Model, ModelOutputs
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.models.parameter_paths import by_path
from tensornet_jax.potential.elements import species_axes, with_elements
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tests import tolerances
from tests.builders import ethanol, in_box
from tests.models.every_model import NUMBERS, SMALL, VARIANTS, small_model

EVERY_MODEL = [
    "tensornet",
    "mace",
    pytest.param("mace gaunt_grid", marks=pytest.mark.slow),
    pytest.param("escn truncated", marks=pytest.mark.slow),
]
KEPT_FOR_EACH_ELEMENT = {
    "tensornet": {"params/embedding/pair_species/species/embedding"},
    "mace": {
        "params/embedding",
        *(f"params/element_0/kernel_{degree}" for degree in range(3)),
        "params/element_1/kernel_0",
        "params/many_body_0/weights",
        "params/many_body_1/weights",
    },
    "escn truncated": {
        "params/embedding",
        *(
            f"params/{owner}/{end}"
            for owner in (
                "surroundings",
                "convolutions_0/EdgeNetwork_0",
                "convolutions_1/EdgeNetwork_0",
            )
            for end in ("receiver", "sender")
        ),
    },
}


def energies(potential: Potential, *structures: ase.Atoms) -> list[np.ndarray]:
    return [found["energies"] for found in potential.evaluate(structures, ("energies",))]


@pytest.mark.parametrize("variant", KEPT_FOR_EACH_ELEMENT)
def test_what_a_model_keeps_for_each_element_is_found(variant):
    """Also where channels are as many as elements, as in this MACE."""
    name = variant.split()[0]
    config = MODELS[name][0].model_validate({"name": name} | SMALL[name] | VARIANTS[variant])
    axes = species_axes(config, NUMBERS)
    assert {path for path, found in axes.items() if found} == KEPT_FOR_EACH_ELEMENT[variant]
    assert {found for found in axes.values() if found} == {(0,)}


@pytest.mark.parametrize("variant", EVERY_MODEL)
def test_other_elements_change_nothing_for_the_old_ones(variant):
    """Added, dropped and reordered; and one that begins as another bonds like it."""
    potential = small_model(variant)
    silicon = in_box(ase.Atoms("SiOH", [[0, 0, 0], [1.7, 0.2, 0], [0.2, 1.5, 0.1]]))
    germanium = silicon.copy()
    germanium.numbers[0] = 32
    more = with_elements(potential, (35, 1, 6, 8, 14, 32), {32: -7.0, 35: 2.0}, like={32: 14})
    fewer = with_elements(potential, (8, 14, 1))
    assert (more.elements.symbols, fewer.elements.symbols) == (
        ("Br", "H", "C", "O", "Si", "Ge"),
        ("O", "Si", "H"),
    )
    (expected,) = energies(potential, silicon)
    found = [*energies(more, silicon, germanium), *energies(fewer, silicon)]
    assert abs(expected).max() > 1e-2
    found[1] = found[1] - [-7.0, 0, 0]
    for each in found:
        np.testing.assert_allclose(each, expected, rtol=0, atol=tolerances.SAME_SUM)


def test_many_elements_take_another_way_to_the_same_numbers():
    """TensorNet sums by element only where there are few."""
    potential, atoms = small_model("tensornet"), in_box(ethanol())
    many = with_elements(potential, range(1, 31), dict.fromkeys(range(1, 31), 0.0))
    np.testing.assert_allclose(
        energies(many, atoms), energies(potential, atoms), rtol=0, atol=tolerances.SAME_SUM
    )


def test_a_new_element_begins_as_the_mean_of_the_known():
    potential = small_model("mace")
    found = by_path(with_elements(potential, (9, *NUMBERS), {9: 0.0}).variables)
    for path in KEPT_FOR_EACH_ELEMENT["mace"]:
        old = np.asarray(by_path(potential.variables)[path])
        np.testing.assert_array_equal(found[path][1:], old)
        np.testing.assert_allclose(found[path][0], old.mean(axis=0), rtol=1e-14)


def test_new_elements_need_an_energy_and_a_model_that_is_known():
    potential = small_model("tensornet")
    with pytest.raises(ValueError, match="no reference energy for Ge"):
        with_elements(potential, (14, 32))
    with pytest.raises(ValueError, match="Sn is not among the model's elements H, C, O, Si"):
        with_elements(potential, (14, 32), {32: 0.0}, like={32: 50})


class ChargesConfig(ModelConfig):
    name: Literal["charges"] = "charges"
    flat: bool = False


class Charges(Model[ChargesConfig]):
    """Weights of every two elements, and a table of nuclear charges that is not trained."""

    @nn.compact
    def __call__(self, graph):
        size = len(self.numbers)
        charges = self.variable(
            "buffers", "charges", lambda: jnp.asarray(self.numbers, self.dtype)
        ).value
        shape = (3 * size,) if self.config.flat else (size, 2, size)
        weights = self.param("weights", nn.initializers.normal(), shape, self.dtype)
        energies = charges[graph.species] + 0 * weights.ravel()[0]
        return ModelOutputs(energies=jnp.where(graph.node_mask, energies, 0))


@pytest.fixture
def charges(monkeypatch):
    monkeypatch.setitem(MODELS, "charges", (ChargesConfig, Charges))
    return create_potential(ChargesConfig(), ElementTable((1, 8), np.zeros(2)), seed=0)


def test_tables_of_two_elements_and_constants_of_elements_are_extended(charges):
    found = with_elements(charges, (6, 1, 8), {6: 0.0}).variables
    np.testing.assert_array_equal(found["buffers"]["charges"], [6, 1, 8])
    old, new = charges.variables["params"]["weights"], found["params"]["weights"]
    assert new.shape == (3, 2, 3)
    np.testing.assert_array_equal(new[1:, :, 1:], old)
    np.testing.assert_allclose(new[0, :, 0], np.mean(old, axis=(0, 2)), atol=1e-8)


def test_elements_that_are_not_an_axis_are_refused_by_name(charges):
    with pytest.raises(ValueError, match=r"params/weights of model charges .*\(6,\)"):
        species_axes(ChargesConfig(flat=True), (1, 8))
