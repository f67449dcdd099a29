"""mace-torch's numbers from mace-torch's weights, and the weights back as they were."""

import lzma

import jax
import numpy as np
import pytest

from tensornet_jax.interop.mace import from_model_file, from_state_dict, to_state_dict
from tensornet_jax.interop.mace.arguments import head_names
from tensornet_jax.potential import compress as compressing
from tensornet_jax.potential.elements import with_elements
from tensornet_jax.potential.heads import with_head
from tensornet_jax.potential.model_file import load_model, save_model
from tests import tolerances
from tests.builders import ethanol
from tests.interop.mace.reference_cases import Reference

SMALL = ("all_couplings", "heads_agnesi_zbl", "gated", "soft_gaussian", "density_first_residual")
LARGE = (
    *("m01_off_style", "m02_mp0_style", "m03_scalars_only", "m04_density_agnesi_zbl"),
    *("m05_two_heads", "m06_nonlinear_block", "m07_L2_hidden"),
)


@pytest.fixture
def reference(small_reference):
    """Return a function from a name to a case that lies in the repository."""
    return lambda name: Reference(small_reference(f"mace/{name}.npz"))


@pytest.mark.parametrize(
    "name",
    [
        # The float32 test evaluates it too.
        pytest.param(name, marks=[pytest.mark.slow] if name == "soft_gaussian" else [])
        for name in SMALL
    ],
)
def test_energies_forces_and_stress_are_mace_torchs(reference, name):
    case = reference(name)
    head = head_names(case.config)[-1]
    case.check(from_state_dict(case.state, case.config, head=head), head)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_those_of_the_public_architectures_too(shared_data, name):
    case = Reference(shared_data(f"reference_mace/{name}.npz"))
    for head in head_names(case.config):
        case.check(from_state_dict(case.state, case.config, head=head), head)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "heads_agnesi_zbl"])
def test_weights_go_back_bit_for_bit(reference, name):
    case = reference(name)
    state, arguments = to_state_dict(from_state_dict(case.state, case.config))
    assert state.keys() == case.state.keys()
    for key, value in case.state.items():
        found = state[key]
        assert (found.shape, found.dtype) == (value.shape, value.dtype), key
        if "U_matrix" in key or "_w3j" in key:
            np.testing.assert_allclose(found, value, atol=1e-14)
        else:
            np.testing.assert_array_equal(found, value, err_msg=key)
    known = {key: value for key, value in case.config.items() if key in arguments}
    assert {key: arguments[key] for key in known if key != "use_reduced_cg"} == {
        key: value for key, value in known.items() if key != "use_reduced_cg"
    }


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


def test_a_whole_module_holds_the_same(reference, small_reference, tmp_path):
    case = reference("gated")
    path = tmp_path / "gated.model"
    path.write_bytes(lzma.decompress(small_reference("mace/gated.model.xz").read_bytes()))
    found, expected = from_model_file(path), from_state_dict(case.state, case.config)
    assert found.config == expected.config
    assert found.elements.numbers == expected.elements.numbers
    np.testing.assert_array_equal(
        found.elements.reference_energies, expected.elements.reference_energies
    )
    jax.tree.map(np.testing.assert_array_equal, found.variables, expected.variables)


@pytest.mark.parametrize("name", ["m03_scalars_only", "m07_L2_hidden"])
def test_whole_modules_of_the_public_architectures_too(shared_data, name):
    case = Reference(shared_data(f"reference_mace/{name}.npz"))
    found = from_model_file(shared_data(f"reference_mace/{name}.model"))
    expected = from_state_dict(case.state, case.config)
    assert found.config == expected.config
    jax.tree.map(np.testing.assert_array_equal, found.variables, expected.variables)


def test_old_elements_stay_the_same_where_new_ones_are_added(reference):
    case = reference("density_first_residual")
    potential = from_state_dict(case.state, case.config)
    more = with_elements(potential, (1, 6, 7, 8), {7: -3.0}, {7: 6})
    atoms = case.cases[0].atoms()
    (before,), (after,) = (each.evaluate(atoms, ("energy",)) for each in (potential, more))
    assert after["energy"] == pytest.approx(before["energy"], rel=1e-12)
    again = from_state_dict(*to_state_dict(more))
    (after,) = again.evaluate(atoms, ("energy",))
    assert after["energy"] == pytest.approx(before["energy"], rel=1e-12)


def test_it_is_a_potential_like_any_other(reference, tmp_path):
    case = reference("density_first_residual")
    potential = from_state_dict(case.state, case.config)
    save_model(tmp_path / "model.safetensors", potential)
    loaded = load_model(tmp_path / "model.safetensors")
    (before,), (after,) = (each.evaluate(ethanol()) for each in (potential, loaded))
    assert after["energy"] == before["energy"]
    np.testing.assert_array_equal(after["forces"], before["forces"])


def test_it_can_be_compressed(reference, monkeypatch):
    # Fewer samples, which is faster.
    monkeypatch.setattr(compressing, "INTERVALS", (512,))
    case = reference("all_couplings")
    potential, atoms = from_state_dict(case.state, case.config), case.cases[0].atoms()
    compressed = compressing.compress(potential, 1e-4, [atoms])
    (found,) = compressed.evaluate(atoms)
    np.testing.assert_allclose(found["forces"], case.cases[0].arrays["forces"], atol=1e-4)


@pytest.mark.parametrize("name", ["gated", "density_first_residual"])
def test_what_sees_more_than_distances_is_not_compressed(reference, name):
    case = reference(name)
    with pytest.raises(ValueError, match="cannot be compressed"):
        compressing.compress(from_state_dict(case.state, case.config))


def test_float32_weights_make_a_float32_model(reference):
    case = reference("soft_gaussian")
    state = {
        name: value.astype(np.float32) if value.dtype == np.float64 else value
        for name, value in case.state.items()
    }
    potential = from_state_dict(state, case.config)
    assert potential.dtype == "float32"
    back, _ = to_state_dict(potential)
    for name, value in state.items():
        if "U_matrix" not in name and "_w3j" not in name:
            np.testing.assert_array_equal(back[name], value, err_msg=name)
    (found,) = potential.evaluate(case.cases[0].atoms(), ("energy",))
    expected = float(case.cases[0].arrays["energy"])
    assert abs(found["energy"] - expected) < tolerances.MODEL_FLOAT32 * abs(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interaction_cls": "RealAgnosticAttResidualInteractionBlock"}, "AttResidual"),
        ({"interaction_cls": "RealAgnosticInteractionBlock"}, "not supported together"),
        ({"hidden_irreps": "4x0e+4x0o"}, "4x0e.4x0o"),
        ({"hidden_irreps": "4x0e+2x1o"}, "equally many channels"),
        ({"gate": "tanh"}, "gate: 'tanh'"),
        ({"use_so3": True}, "use_so3: True"),
        ({"correlation": [2, 3]}, "differs from layer to layer"),
        ({"twice": True}, "twice: True is not known"),
        ({"num_interactions": 3}, "skip_tp has 48 numbers"),
        ({"num_interactions": 1}, "linear has 32 numbers"),
        ({"radial_MLP": [9]}, "shape"),
        ({"r_max": 5.0}, "r_max is 4.5"),
    ],
)
def test_what_this_package_lacks_is_named(reference, change, message):
    case = reference("density_first_residual")
    with pytest.raises(ValueError, match=message):
        from_state_dict(case.state, case.config | change)


def test_arguments_that_are_missing_are_named(reference):
    case = reference("soft_gaussian")
    arguments = {key: v for key, v in case.config.items() if key != "avg_num_neighbors"}
    with pytest.raises(ValueError, match="lack avg_num_neighbors"):
        from_state_dict(case.state, arguments)


def check_all_heads(case: Reference) -> None:
    """Assert that one potential has the numbers of every head, and gives each head back."""
    potential = from_state_dict(case.state, case.config)
    names = tuple(head_names(case.config))
    assert potential.config.levels == names
    frames = [each.atoms() for each in case.cases]
    for atoms, each in zip(frames, case.cases, strict=True):
        atoms.info["head"] = each.head
    found = potential.evaluate(frames, ("energy", "forces"))
    for each, result in zip(case.cases, found, strict=True):
        energy = float(each.arrays["energy"])
        assert abs(result["energy"] - energy) < tolerances.MACE * abs(energy)
        np.testing.assert_allclose(
            result["forces"], each.arrays["forces"], rtol=0, atol=tolerances.MACE
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


def test_all_heads_are_in_one_potential(reference):
    case = reference("heads_agnesi_zbl")
    check_all_heads(case)
    with pytest.raises(ValueError, match=r"heads a, b, c.*choose one"):
        to_state_dict(from_state_dict(case.state, case.config))


@pytest.mark.slow
def test_those_of_the_public_architecture_too(shared_data):
    check_all_heads(Reference(shared_data("reference_mace/m05_two_heads.npz")))


def test_a_head_that_is_not_there_is_named(reference):
    case = reference("heads_agnesi_zbl")
    with pytest.raises(ValueError, match="no head 'd', only a, b, c"):
        from_state_dict(case.state, case.config, head="d")


def test_a_tensor_too_many_is_named(reference):
    case = reference("soft_gaussian")
    with pytest.raises(ValueError, match=r"no place for.*something\.weight"):
        from_state_dict(case.state | {"something.weight": np.ones(2)}, case.config)
