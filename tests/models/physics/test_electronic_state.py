"""Every model tells charges and spins apart, if it is told to look, and stays what it was else."""

from functools import cache
from typing import Any

import ase
import jax
import numpy as np
import pytest

from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.models import MODELS
from tensornet_jax.models.layers import Perceptron
from tensornet_jax.models.physics.electronic_state import ElectronicState
from tensornet_jax.potential.elements import with_elements
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.testing import check_equivariance, check_extensive, check_forces
from tests import tolerances
from tests.builders import evaluating_in_one_shape, in_box
from tests.models.every_model import SMALL

STATES = ((0, 1), (0, 3), (1, 2), (-1, 2))
SHAPE = Capacity(graphs=8, atoms=32, pairs=128, slots=16)


@cache
def seeing(name: str) -> Potential:
    options: dict[str, Any] = {
        "cutoff": 3.5,
        "num_layers": 1,
        "electronic_state": ["charge", "spin"],
    }
    if name == "tensornet":
        options["total_charge"] = False
    if name == "tensornet2":
        options["coulomb"] = None
    if name == "mace":
        # What its first layer makes of an atom does not know the atom's own features.
        options |= {"num_layers": 2, "hidden_l_max": 1, "l_max": 1}
    config = MODELS[name][0].model_validate(SMALL[name] | options)
    return create_potential(config, elements(), seed=0, dtype="float64", energy_scale=5.0)


def elements() -> ElementTable:
    return ElementTable((1, 6, 8), np.zeros(3))


def methylene(charge: float = 0, spin: int = 1) -> ase.Atoms:
    atoms = in_box(ase.Atoms("CH2", [[0, 0, 0], [0.1, 0.9, 0.6], [0, -0.9, 0.7]]))
    atoms.info.update(charge=charge, spin=spin)
    return atoms


MOST_ALIKE = ("tensornet2", "escn")


@pytest.fixture(
    scope="class",
    params=[
        pytest.param(name, marks=pytest.mark.slow) if name in MOST_ALIKE else name
        for name in MODELS
    ],
)
def potential(request: pytest.FixtureRequest):
    with evaluating_in_one_shape(SHAPE):
        yield seeing(request.param)


class TestEveryModel:
    def test_each_state_has_an_energy_of_its_own(self, potential):
        compute = ("energy", "forces", "stress")
        found = potential.evaluate([methylene(*state) for state in STATES], compute)
        energies = np.array([result["energy"] for result in found])
        assert abs(np.subtract.outer(energies, energies) + np.eye(4)).min() > 1e-3
        forces = np.array([result["forces"] for result in found])
        assert all(abs(forces[0] - other).max() > 1e-3 for other in forces[1:])

    def test_a_neutral_singlet_is_what_it_is_without_the_input(self, potential):
        (found,) = potential.evaluate([methylene()], ("energy", "forces", "stress"))

        def without(tree):
            return {
                key: without(value) if isinstance(value, dict) else value
                for key, value in tree.items()
                if key != "state"
            }

        config = potential.config.model_copy(update={"electronic_state": ()})
        blind = potential.replace(config=config, variables=without(potential.variables))
        (expected,) = blind.evaluate([methylene(0, 1)], ("energy", "forces", "stress"))
        assert found["energy"] == pytest.approx(expected["energy"], rel=tolerances.SAME_SUM)

    def test_laws_hold_for_a_charged_triplet(self, potential):
        triplet = methylene(-2, 3)
        check_equivariance(potential, triplet)
        check_forces(potential, triplet, tolerance=tolerances.FINITE_DIFFERENCE_FORCES)
        # The charges of tensornet2 equilibrate over any distance, to what they were.
        check_extensive(potential, triplet, tolerance=tolerances.EQUILIBRATION)


def test_shares_are_those_of_the_equation():
    """Ψ w_i / Σ_j w_j times the value, and its perceptron, summed by hand."""
    config = MODELS["mace"][0].model_validate({"electronic_state": ["charge", "spin"]})
    potential, width = Potential(config, {}, elements(), dtype="float64"), 6
    atoms = [
        methylene(-2, 3),
        ase.Atoms("OH", [[0, 0, 0], [0, 0, 1]], info={"charge": 1, "spin": 1}),
    ]
    structures = [potential.structure(a) for a in atoms]
    module = ElectronicState(("charge", "spin"), 3, width, "float64")
    with potential.precision():
        graph = to_device(batch_structures(structures, Capacity(4, 8, 16, 8), "float64"))
        variables = module.init(jax.random.key(0), graph)
        found = np.asarray(module.apply(variables, graph))
        params = jax.tree.map(np.asarray, variables["params"])
        expected, start = np.zeros((8, width)), 0
        for structure in structures:
            for name, amount in (("charge", structure.charge), ("spin", structure.spin - 1)):
                sign = int(name == "charge" and amount < 0)
                key, value = params[f"{name}_keys"][:, sign], params[f"{name}_values"][sign]
                dots = [params["queries"][s] @ key / width**0.5 for s in structure.species]
                weights = np.log1p(np.exp(dots))
                for k, weight in enumerate(weights):
                    own = amount * weight / weights.sum() * value
                    mlp = Perceptron((width,), width, "float64").apply(
                        {"params": params[name]}, own
                    )
                    expected[start + k] += own + np.asarray(mlp)
            start += len(structure)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert (found[start:] == 0).all()
    assert abs(found[:start]).min() > 0


@pytest.mark.slow
def test_model_files_and_other_elements_keep_it(tmp_path):
    potential = seeing("tensornet")
    save_model(tmp_path / "model.safetensors", potential)
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config.electronic_state == ("charge", "spin")
    fewer = with_elements(potential, (6, 1))
    with evaluating_in_one_shape(SHAPE):
        one, two, three = (p.evaluate(methylene(1, 2))[0] for p in (potential, loaded, fewer))
    assert two["energy"] == one["energy"]
    assert three["energy"] == pytest.approx(one["energy"], rel=tolerances.SAME_SUM)


@pytest.mark.parametrize("name", list(MODELS))
def test_a_charge_that_nothing_depends_on_is_refused(name):
    options = {"name": name, "total_charge": False} if name == "tensornet" else {"name": name}
    config = MODELS[name][0].model_validate(options)
    potential = Potential(config, {}, elements())
    if name == "tensornet2":
        assert potential.structure(methylene(1, 2)).charge == 1
        return
    assert potential.structure(methylene()).charge == 0
    with pytest.raises(ValueError, match=r"charge 1 \(structure 3\).*electronic_state"):
        potential.structure(methylene(1, 2), " (structure 3)")


def test_tensornet_sees_the_charge_by_its_factor_unless_it_has_no_products():
    one, none = (MODELS["tensornet"][0].model_validate({"num_layers": n}) for n in (1, 0))
    assert one.sees_charge
    assert not none.sees_charge


def test_naming_an_input_twice_is_an_error():
    with pytest.raises(ValueError, match="names an input twice"):
        MODELS["mace"][0].model_validate({"electronic_state": ["spin", "spin"]})
