"""What charges add to TensorNet: conservation, Coulomb's law, dipoles, periodic structures."""

from typing import Any

import ase
import jax
import numpy as np
import pytest
from ase.build import bulk, molecule

from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.models.tensornet2.config import TensorNet2Config
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.units import COULOMB
from tests import tolerances

OPTIONS = {
    "num_channels": 6,
    "num_layers": 1,
    "num_radial": 4,
    "num_charges": 1,
    "cutoff": 3.0,
    "heads": ["energy", "dipole"],
}


@pytest.fixture(scope="module")
def potential() -> Potential:
    config = TensorNet2Config.model_validate(OPTIONS)
    elements = ElementTable((1, 6, 8), np.zeros(3))
    potential = create_potential(config, elements, seed=0, dtype="float64")

    def softer(path: Any, leaf: Any) -> Any:
        # Next to the ε of the equilibration, the softness of an untrained network can be small.
        output = jax.tree_util.keystr(path[-3:]) == "['mlp']['layers_2']['bias']"
        return np.add(leaf, [0, 1]) if output else leaf

    params = jax.tree_util.tree_map_with_path(softer, potential.variables["params"])
    return potential.replace(variables=potential.variables | {"params": params})


def with_config(potential: Potential, **changes) -> Potential:
    settings = potential.config.model_dump() | changes
    return potential.replace(config=TensorNet2Config.model_validate(settings))


def water(charge: float = 0.0) -> ase.Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.1, seed=2)
    atoms.info["charge"] = charge
    return atoms


def test_charges_sum_to_the_total_charge_of_each_structure(potential):
    structures = [water(1.0), water(-2.0), molecule("CO2"), water()]
    found = potential.evaluate(structures, ("energy", "charges"))
    for result, total in zip(found, (1, -2, 0, 0), strict=True):
        assert result["charges"].sum() == pytest.approx(total, abs=tolerances.EQUILIBRATION)
    # The same molecule with another charge is another system.
    assert abs(found[0]["energy"] - found[3]["energy"]) > 1e-3
    # A structure's charges are its own.
    (alone,) = potential.evaluate(water(-2.0), ("charges",))
    np.testing.assert_allclose(alone["charges"], found[1]["charges"], rtol=tolerances.SAME_SUM)


def test_coulomb_energy_is_that_of_the_charges(potential):
    atoms = water(1.0)
    atoms += ase.Atoms("CO", [[9.0, 0, 0], [9.5, 1.0, 0]])
    without = with_config(potential, coulomb=None)
    compute = ("energy", "charges", "dipole")
    found, bare = (each.evaluate(atoms, compute)[0] for each in (potential, without))
    q, d = found["charges"], atoms.get_all_distances()
    x = np.minimum(d / 4.6, 1 - 1e-9)
    damping = 1 - np.exp(-1 / (1 - x**2)) / np.exp(-1)
    expected = 0.5 * COULOMB * np.sum(np.outer(q, q) * damping / np.where(d > 0, d, np.inf))
    assert abs(expected) > 1e-3
    assert found["energy"] - bare["energy"] == pytest.approx(expected, rel=1e-9)
    # In eV already: the scale of the network has no part in it.
    scaled = [
        each.replace(energy_scale=3.0).evaluate(atoms, compute)[0] for each in (potential, without)
    ]
    assert scaled[0]["energy"] - scaled[1]["energy"] == pytest.approx(expected, rel=1e-9)
    centered = atoms.positions - atoms.get_center_of_mass()
    np.testing.assert_allclose(found["dipole"], q @ centered, atol=1e-10)


@pytest.mark.slow
def test_the_weights_say_which_charges_count(potential):
    first, last = (with_config(potential, charge_weights=w) for w in ([1.0, 0.0], [0.0, 1.0]))
    both = with_config(potential, charge_weights=[1.0, 3.0])
    compute = ("energy", "charges")
    of_first, of_last, of_both = (
        each.evaluate(water(), compute)[0] for each in (first, last, both)
    )
    for name in compute:
        mean = (of_first[name] + 3 * of_last[name]) / 4
        np.testing.assert_allclose(of_both[name], mean, rtol=1e-10)
    np.testing.assert_array_equal(
        of_last["charges"], potential.evaluate(water(), ("charges",))[0]["charges"]
    )


def test_periodic_structures_are_summed_over_all_images_or_to_a_cutoff(potential):
    crystal = bulk("C", cubic=True)
    for coulomb in ({}, {"cutoff": 5.0}):
        (found,) = with_config(potential, coulomb=coulomb).evaluate(crystal, ("charges",))
        assert found["charges"].sum() == pytest.approx(0, abs=tolerances.EQUILIBRATION)


def test_the_calculator_gives_charges_and_follows_the_total_charge(potential):
    atoms = water()
    atoms.calc = TensorNetCalculator(potential, compilation_cache=False)
    (expected,) = potential.evaluate(water(), ("charges",))
    np.testing.assert_allclose(atoms.get_charges(), expected["charges"], atol=1e-12)
    atoms.info["charge"] = 1.0
    (expected,) = potential.evaluate(water(1.0), ("charges",))
    np.testing.assert_allclose(atoms.get_charges(), expected["charges"], atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"charge_weights": [1.0]}, "give num_layers [+] 1 = 2"),
        ({"charge_weights": [0.0, 0.0]}, "nor all 0"),
        ({"coulomb": {"dielectric": 0.5}}, "dielectric"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TensorNet2Config.model_validate(OPTIONS | options)
