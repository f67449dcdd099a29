"""Read-outs of several levels of theory, in every model."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.models import MODELS
from tensornet_jax.models.heads.levels import of_level
from tensornet_jax.models.parameter_paths import by_path
from tensornet_jax.potential.heads import joined, with_head, with_level_scales
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tests.builders import ethanol
from tests.models.every_model import SMALL

ENERGIES = np.array([[-13.6, -1029.0, -2041.0], [-0.5, -38.0, -75.0]])
# With what all models share: charges and dipoles of the atoms, and a tensor of each atom.
OPTIONS: dict[str, dict[str, Any]] = {
    "tensornet": {
        "heads": ["energy", "dipole"],
        "dipole_form": "charges_and_dipoles",
        "tensors": [{"name": "shielding", "symmetry": "ij", "per": "atom", "width": 4}],
    },
    "tensornet2": {},
    "mace": {"num_layers": 1},
    "escn": {"num_layers": 1, "l_max": 1, "m_max": 1},
}


@cache
def made(name: str) -> Potential:
    settings = {"name": name, **SMALL[name], "cutoff": 3.0, "levels": ["a", "b"], **OPTIONS[name]}
    config = MODELS[name][0].model_validate(settings)
    elements = ElementTable((1, 6, 8), ENERGIES)
    potential = create_potential(config, elements, seed=0, dtype="float64", energy_scale=2.0)
    return with_level_scales(potential, (1.0, 0.25))


@pytest.mark.parametrize("name", OPTIONS)
def test_a_batch_mixes_levels_and_each_is_as_if_it_were_alone(name):
    potential, frames = made(name), []
    for head in ("b", "a"):
        frames.append(ethanol())
        frames[-1].info["head"] = head
    names = ("energy", "forces", *(n for n in ("dipole", "shielding") if n in potential.rows))
    second, first = potential.evaluate(frames, names)
    (expected,) = with_head(potential, "b").evaluate(ethanol(), names)
    for key, value in expected.items():
        scale = max(1.0, float(np.abs(value).max()))
        np.testing.assert_allclose(second[key], value, rtol=0, atol=1e-12 * scale, err_msg=key)
        assert not np.allclose(first[key], value, rtol=1e-3, atol=0)


def test_no_gradient_reaches_the_read_outs_of_another_level():
    potential, atoms = made("tensornet"), ethanol()
    atoms.info["head"] = "b"
    structure = potential.structure(atoms)
    with potential.precision():
        graph = to_device(batch_structures([structure], Capacity.holding([structure]), "float64"))

        def squares(params):
            variables = {**potential.variables, "params": params}
            found = potential.predict(variables, graph, ("energies", "dipole", "shielding"))
            return sum(jnp.sum(value**2) for value in found.values())

        gradients = by_path(jax.jit(jax.grad(squares))(potential.variables["params"]))
    paths = [path for path in gradients if path.startswith(("readouts", "other_heads"))]
    assert len(paths) > 8
    for path in paths:
        own, other = np.asarray(gradients[path])[[1, 0]]
        np.testing.assert_array_equal(other, 0.0, err_msg=path)
        assert own.shape == other.shape
    assert np.abs(np.asarray(gradients["readouts_energy/output/kernel"])[1]).max() > 0
    assert np.abs(np.asarray(gradients["linear/kernel"])).max() > 0


def test_the_order_of_levels_means_nothing():
    potential, atoms = made("tensornet"), ethanol()
    turned = joined({head: with_head(potential, head) for head in ("b", "a")})
    assert turned.config.levels == ("b", "a")
    atoms.info["head"] = "b"
    (one,), (other,) = (each.evaluate(atoms, ("energy",)) for each in (potential, turned))
    assert other["energy"] == pytest.approx(one["energy"], rel=1e-14)


def test_a_model_with_one_level_has_the_parameters_of_one_without_a_name():
    config = made("tensornet").config
    one, none = (config.model_copy(update={"levels": levels}) for levels in (("a",), ()))
    elements = ElementTable((1, 6, 8), ENERGIES[0])
    named, unnamed = (create_potential(each, elements, seed=3) for each in (one, none))
    jax.tree.map(np.testing.assert_array_equal, named.variables, unnamed.variables)


def test_rows_are_chosen_and_nothing_of_others_is_left():
    values = jnp.array([[[1.0], [2.0]], [[jnp.nan], [4.0]]])
    np.testing.assert_array_equal(of_level(values, jnp.array([0, 1])), [[1.0], [4.0]])
