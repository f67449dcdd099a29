"""mace-torch's numbers from mace-torch's weights, and the weights back as they were."""

import json
import lzma
import sys

import ase
import jax
import numpy as np
import pytest

from tensornet_jax.interop.mace import from_model_file, from_state_dict, to_state_dict
from tensornet_jax.interop.mace.arguments import head_names
from tensornet_jax.interop.mace.files import write_for_mace
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.elements import with_elements
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.potential import ElementTable
from tests import tolerances
from tests.builders import ethanol
from tests.interop.mace.reference_cases import Reference

# Charged structures are among the cases, and no file says what its model was trained on.
pytestmark = pytest.mark.filterwarnings(
    "ignore::tensornet_jax.potential.trained_on.OutsideTrainingWarning"
)

SMALL = (
    *("all_couplings", "heads_agnesi_zbl", "gated", "soft_gaussian", "density_first_residual"),
    *("charge_and_spin", "charge_network", "heads_biased"),
)
# Of the versions that MACE-MP-0b is from.
OLD = ("of_0_3_8",)
# Of mace-torch's MACE, which has no scale and shift.
PLAIN = "plain_mace"
LARGE = (
    *("m01_off_style", "m02_mp0_style", "m03_scalars_only", "m04_density_agnesi_zbl"),
    *("m05_two_heads", "m06_nonlinear_block", "m07_L2_hidden"),
)


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


@pytest.mark.parametrize("name", SMALL)
def test_weights_go_back_bit_for_bit(reference, name):
    case = reference(name)
    # With all heads, and the weights between heads that no energy depends on.
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


def test_inputs_that_are_counted_are_those_that_are_named(reference):
    case = reference("charge_and_spin")
    names = {"total_charge": "0", "total_spin": "1"}
    counted = {}
    for key, value in case.state.items():
        for name, number in names.items():
            key = key.replace(f"embedders.{name}.", f"embedders.{number}.")
        counted[key] = value
    found, expected = (from_state_dict(each, case.config) for each in (counted, case.state))
    assert counted.keys() != case.state.keys()
    jax.tree.map(np.testing.assert_array_equal, found.variables, expected.variables)


def test_charges_and_spins_without_a_row_are_refused(reference):
    case = reference("charge_and_spin")
    potential, atoms = from_state_dict(case.state, case.config), ase.Atoms("C")
    for charge, spin in ((-3, 2), (3, 2), (0, 7), (0.5, 1)):
        atoms.info.update(charge=charge, spin=spin)
        with pytest.raises(ValueError, match=r"this model knows integers from (-2 to 2|0 to 5)"):
            potential.evaluate(atoms)


def test_energies_of_the_state_go_back_whatever_the_scale(reference):
    case = reference("charge_and_spin")
    potential = from_state_dict(case.state, case.config)
    name = "embedding_readout.linear.weight"
    state, _ = to_state_dict(potential.replace(energy_scale=2 * potential.energy_scale))
    np.testing.assert_allclose(state[name], 2 * case.state[name], rtol=1e-14)


def test_a_read_out_that_mace_torch_lacks_is_refused(reference):
    case = reference("soft_gaussian")
    potential = from_state_dict(case.state, case.config)
    config = potential.config.model_copy(update={"readout_width": None})
    with pytest.raises(ValueError, match=r"linear \(readout_width: null\) in models of one layer"):
        to_state_dict(potential.replace(config=config))


def test_arrays_and_arguments_are_written_for_mace_torch(reference, tmp_path):
    case = reference("charge_and_spin")
    potential, path = from_state_dict(case.state, case.config), tmp_path / "for_mace.npz"
    write_for_mace(path, potential)
    with np.load(path) as file:
        arguments = json.loads(str(file["config_json"]))
        state = {name.removeprefix("param/"): file[name] for name in file if "/" in name}
    assert arguments == to_state_dict(potential)[1]
    again = from_state_dict(state, arguments)
    assert again.config == potential.config
    jax.tree.map(
        np.testing.assert_array_equal, again.variables["params"], potential.variables["params"]
    )


def test_a_model_file_needs_mace_torch(reference, tmp_path, monkeypatch):
    case = reference("soft_gaussian")
    monkeypatch.setitem(sys.modules, "mace", None)
    with pytest.raises(ImportError, match=r"mace-torch, which is not installed here.*\.npz"):
        write_for_mace(tmp_path / "m.model", from_state_dict(case.state, case.config))
    assert not list(tmp_path.iterdir())


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


def test_constants_of_earlier_versions_are_no_tensors_too_many(reference):
    # Of 0.3.14, whose gate is e3nn's own, and of repulsion before 0.3.10.
    case = reference("gated")
    gate = "interactions.0.equivariant_nonlin.mul"
    constants = {
        f"{gate}.weight": np.zeros(0),
        f"{gate}.output_mask": np.ones(8),
        "pair_repulsion_fn.r_max": np.asarray(4.5),
        "pair_repulsion_fn.cutoff.p": np.asarray(5.0),
    }
    found, expected = (
        from_state_dict(state, case.config) for state in (case.state | constants, case.state)
    )
    jax.tree.map(np.testing.assert_array_equal, found.variables, expected.variables)


@pytest.mark.parametrize("version", [*OLD, PLAIN])
def test_files_of_other_versions_and_of_plain_mace_have_their_numbers(
    small_reference, tmp_path, version
):
    packed = small_reference(f"mace/{version}.model.xz").read_bytes()
    (tmp_path / "old.model").write_bytes(lzma.decompress(packed))
    with np.load(small_reference(f"mace/{version}.npz")) as file:
        expected = {name: file[name] for name in file}
    potential = from_model_file(tmp_path / "old.model")
    atoms = ase.Atoms(expected["numbers"], expected["positions"])
    (found,) = potential.evaluate(atoms)
    assert found["energy"] == pytest.approx(expected["energy"].item(), rel=tolerances.MACE)
    np.testing.assert_allclose(found["forces"], expected["forces"], atol=tolerances.MACE)
    # Written is ScaleShiftMACE of the last version: other constants, and the same weights.
    again = from_state_dict(*to_state_dict(potential))
    params = (each.variables["params"] for each in (again, potential))
    jax.tree.map(np.testing.assert_array_equal, *params)


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


@pytest.mark.parametrize(
    "name",
    [
        *("heads_agnesi_zbl", "charge_and_spin"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("all_couplings", "density_first_residual", "charge_network")
        ),
    ],
)
def test_it_can_be_compressed(reference, name):
    case = reference(name)
    head = head_names(case.config)[-1]
    potential = from_state_dict(case.state, case.config, head=head)
    cases = [each for each in case.cases if each.head == head]
    structures = [each.atoms() for each in cases]
    compressed = compress(potential, 1e-4, structures)
    for each, found in zip(cases, compressed.evaluate(structures), strict=True):
        energy = each.arrays["energy"]
        assert abs(found["energy"] - energy) < 1e-4 * len(each.arrays["numbers"])
        np.testing.assert_allclose(found["forces"], each.arrays["forces"], atol=1e-4)
    with pytest.raises(ValueError, match="this model is compressed"):
        to_state_dict(compressed)


def test_tables_of_many_elements_are_refused_with_their_size(reference):
    case = reference("charge_and_spin")
    potential = from_state_dict(case.state, case.config)
    many = potential.replace(elements=ElementTable(tuple(range(1, 101)), np.zeros(100)))
    with pytest.raises(ValueError, match=r"100 elements need tables.*1.3 GB.*--elements"):
        compress(many)


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
