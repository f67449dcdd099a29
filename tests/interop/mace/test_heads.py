"""mace-torch's models with several heads: all in one potential, each alone, and all back."""

import jax
import numpy as np
import pytest

from tensornet_jax.interop.mace import from_state_dict, to_state_dict
from tensornet_jax.interop.mace.arguments import head_names
from tensornet_jax.potential.heads import with_head, with_more_heads
from tensornet_jax.potential.potential import ElementTable
from tests import tolerances
from tests.interop.mace.reference_cases import Reference

# Charged structures are among the cases, and no file says what its model was trained on.
pytestmark = pytest.mark.filterwarnings(
    "ignore::tensornet_jax.potential.trained_on.OutsideTrainingWarning"
)

SEVERAL = ("heads_agnesi_zbl", "heads_biased")


def check_all_heads(case: Reference) -> None:
    """Assert that one potential has the numbers of every head, and gives each head back."""
    potential = from_state_dict(case.state, case.config)
    names = tuple(head_names(case.config))
    assert potential.config.levels == names
    frames = [each.atoms() for each in case.cases]
    for atoms, each in zip(frames, case.cases, strict=True):
        atoms.info["head"] = each.head
    found = potential.evaluate(frames, ("energy", "energies", "forces"))
    for each, result in zip(case.cases, found, strict=True):
        energy = float(each.arrays["energy"])
        assert abs(result["energy"] - energy) < tolerances.MACE * abs(energy)
        for key, recorded in (("energies", "node_energy"), ("forces", "forces")):
            np.testing.assert_allclose(
                result[key], each.arrays[recorded], rtol=0, atol=tolerances.MACE
            )
    for name in names:
        one = with_head(potential, name)
        expected = from_state_dict(case.state, case.config, head=name)
        assert one.config == expected.config
        jax.tree.map(np.testing.assert_array_equal, one.variables, expected.variables)
        state, arguments = to_state_dict(one)
        assert arguments["heads"] == [name]
        for key, value in to_state_dict(expected)[0].items():
            np.testing.assert_allclose(state[key], value, rtol=1e-14, err_msg=key)


@pytest.mark.parametrize("name", SEVERAL)
def test_all_heads_are_in_one_potential(reference, name):
    check_all_heads(reference(name))


def test_all_heads_go_back_in_single_precision(reference):
    case = reference("heads_agnesi_zbl")
    state = {
        name: value.astype(np.float32) if value.dtype == np.float64 else value
        for name, value in case.state.items()
    }
    back, arguments = to_state_dict(from_state_dict(state, case.config))
    assert arguments["heads"] == ["a", "b", "c"]
    for name, value in state.items():
        if "U_matrix" not in name and "_w3j" not in name:
            np.testing.assert_array_equal(back[name], value, err_msg=name)


@pytest.mark.parametrize("name", SEVERAL)
def test_heads_that_changed_go_back_too(reference, name):
    case = reference(name)
    potential = from_state_dict(case.state, case.config)
    params = potential.variables["params"]
    changed = jax.tree.map(lambda leaf: np.asarray(leaf) * 1.001, params)
    potential = potential.replace(variables={**potential.variables, "params": changed})
    again = from_state_dict(*to_state_dict(potential))
    jax.tree.map(
        lambda found, own: np.testing.assert_allclose(found, own, rtol=1e-15),
        *(each.variables["params"] for each in (again, potential)),
    )
    # A head more than mace-torch's: nothing is kept of the weights between heads.
    more = with_more_heads(potential, {"new": case.cases[0].head})
    state, arguments = to_state_dict(more)
    assert arguments["heads"] == [*head_names(case.config), "new"]
    atoms = case.cases[0].atoms()
    atoms.info["head"] = "new"
    energies = [
        each.evaluate(atoms, ("energy",))[0]["energy"]
        for each in (more, from_state_dict(state, arguments))
    ]
    assert energies[0] == pytest.approx(energies[1], rel=1e-13)


def test_a_head_without_some_element_is_named(reference):
    case = reference("heads_agnesi_zbl")
    potential = from_state_dict(case.state, case.config)
    energies = np.array(potential.elements.reference_energies)
    energies[1, 0] = np.nan
    elements = ElementTable(potential.elements.numbers, energies)
    with pytest.raises(ValueError, match=r"head b has no reference energy of H.*--head b"):
        to_state_dict(potential.replace(elements=elements))


@pytest.mark.slow
def test_those_of_the_public_architecture_too(shared_data):
    check_all_heads(Reference(shared_data("reference_mace/m05_two_heads.npz")))


def test_one_head_goes_back_as_a_model_with_one(reference):
    case = reference("heads_agnesi_zbl")
    first = from_state_dict(case.state, case.config, head="b")
    again = from_state_dict(*to_state_dict(first))
    assert again.config == first.config
    assert again.energy_scale == first.energy_scale
    np.testing.assert_array_equal(
        again.elements.reference_energies, first.elements.reference_energies
    )
    jax.tree.map(
        np.testing.assert_array_equal, again.variables["params"], first.variables["params"]
    )
