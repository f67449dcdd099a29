"""Potentials written for torchmd-net come back the same, and torchmd-net computes the same."""

import warnings

import jax
import numpy as np
import pytest

from tensornet_jax.interop.torchmd_net.checkpoint import (
    from_checkpoint,
    from_state_dict,
    to_state_dict,
)
from tensornet_jax.interop.torchmd_net.export import write_checkpoint
from tensornet_jax.models.config import Compression
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.potential import ElementTable, Potential
from tests import tolerances
from tests.builders import ELEMENTS, config_of, ethanol, small_potential, with_config
from tests.interop.reference_cases import relative_error

# Checkpoints do not say which charges a model was trained on.
pytestmark = pytest.mark.filterwarnings(
    "ignore::tensornet_jax.potential.trained_on.OutsideTrainingWarning",
    "ignore::tensornet_jax.data.labels.electronic_state.InitialChargesWarning",
)

CASES = {
    "O(3)": {},
    "SO(3)": {"group": "SO(3)"},
    "gaussian, lower cutoff": {"radial": "gaussian", "cutoff_lower": 0.9, "activation": "ssp"},
    "trainable radial": {"trainable_radial": True, "activation": "mish"},
}


def potential_of(case: str) -> Potential:
    return with_config(small_potential(), **CASES[case]).replace(energy_offset=0.25)


def dipole_potential() -> Potential:
    potential = with_config(small_potential(), heads=("dipole",)).replace(energy_offset=0.25)
    params = dict(potential.variables["params"])
    params["readouts_dipole"] = params.pop("readouts_energy")
    return potential.replace(variables={**potential.variables, "params": params})


def assert_same(found: Potential, expected: Potential) -> None:
    assert found.config == expected.config
    assert (found.energy_scale, found.energy_offset) == (
        expected.energy_scale,
        expected.energy_offset,
    )
    assert found.elements.numbers == expected.elements.numbers
    np.testing.assert_array_equal(
        found.elements.reference_energies, expected.elements.reference_energies
    )
    jax.tree.map(np.testing.assert_array_equal, found.variables, expected.variables)


@pytest.mark.parametrize("case", ["O(3)", "gaussian, lower cutoff", "trainable radial"])
def test_a_round_trip_is_exact(case):
    potential = potential_of(case)
    assert_same(from_state_dict(*to_state_dict(potential)), potential)


def test_a_round_trip_in_single_precision_keeps_reference_energies():
    energies = np.array([-13.6, -1029.5, -1485.3, -2041.123456789012, 0.0])
    potential = potential_of("O(3)").astype("float32")
    potential = potential.replace(elements=ElementTable((1, 6, 7, 8, 9), energies))
    assert_same(from_state_dict(*to_state_dict(potential)), potential)


def test_a_round_trip_of_a_dipole_model():
    potential = dipole_potential()
    state, config = to_state_dict(potential)
    assert config["output_model"] == "DipoleMoment"
    # torchmd-net would scale and shift dipoles too.
    assert (state["std"], state["mean"]) == (1, 0)
    assert not any("atomref" in name for name in state)
    back = from_state_dict(state, config)
    jax.tree.map(np.testing.assert_array_equal, back.variables, potential.variables)


def test_a_model_is_written_for_either_implementation_of_so3():
    potential = potential_of("SO(3)")
    state, config = to_state_dict(potential, so3_convention="warp")
    back = from_state_dict(state, config, so3_convention="warp")
    conventions = [config_of(p, TensorNetConfig).so3_convention for p in (potential, back)]
    assert conventions == ["python", "warp"]
    (found,), (expected,) = (p.evaluate(ethanol(), ("energies",)) for p in (back, potential))
    assert relative_error(found["energies"], expected["energies"]) < tolerances.SAME_SUM
    mirrored = from_state_dict(*to_state_dict(potential), so3_convention="warp")
    (other,) = mirrored.evaluate(ethanol(), ("energies",))
    assert np.abs(other["energies"] - expected["energies"]).max() > 1e-6


def test_elements_that_the_model_does_not_know_are_not_numbers():
    state, config = to_state_dict(potential_of("O(3)"))
    assert config["max_z"] == 15
    rows = state["representation_model.tensor_embedding.emb.weight"]
    known = [0, *ELEMENTS.numbers]
    assert np.isfinite(rows[known]).all()
    assert np.isnan(np.delete(rows, known, axis=0)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"envelope": "polynomial"}, "envelope: 'polynomial'"),
        ({"cutoff_once": True}, "cutoff_once: True"),
        ({"radial": "smooth_bessel"}, "radial: 'smooth_bessel'"),
        ({"self_edges": False, "readout": "gated"}, "self_edges: False, readout: 'gated'"),
        ({"priors": [{"name": "zbl"}]}, "priors"),
        ({"electronic_state": ("charge",)}, "electronic_state"),
        ({"heads": ("energy", "dipole")}, "heads energy, dipole"),
        ({"compression": Compression(rank=4, intervals=8)}, "compressed"),
    ],
)
def test_what_torchmd_net_cannot_express_is_named(changes, message):
    potential = potential_of("O(3)")
    fields = potential.config.model_dump() | changes
    with pytest.raises(ValueError, match=message):
        to_state_dict(potential.replace(config=type(potential.config)(**fields)))


def test_other_models_are_named():
    with pytest.raises(ValueError, match="'mace'"):
        to_state_dict(Potential(MACEConfig(), {}, ELEMENTS))


# --- torchmd-net itself ----------------------------------------------------------------------


@pytest.fixture(params=["python", "warp"])
def implementation(request, monkeypatch):
    """Which of torchmd-net's two implementations evaluates its models."""
    pytest.importorskip("torch", reason="torch (the extra 'interop') is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensornet = pytest.importorskip(
            "torchmdnet.models.tensornet", reason="torchmd-net is not installed"
        )
    if request.param == "warp" and not tensornet.OPT:
        pytest.skip("warp-lang is not installed")
    if request.param == "python":
        monkeypatch.setattr(tensornet, "OPT", False)
        for name in ("compose_tensor", "decompose_tensor", "tensor_matmul_o3", "tensor_matmul_so3"):
            monkeypatch.setattr(tensornet, name, getattr(tensornet, f"_{name}"))
    return request.param


# Its Warp kernels are not exact in float64.
TOLERANCE = {"python": 1e-12, "warp": 1e-6}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_torchmd_net_computes_the_same_energies_and_forces(implementation, case, tmp_path):
    torch = pytest.importorskip("torch")
    model = pytest.importorskip("torchmdnet.models.model")
    potential, atoms = potential_of(case), ethanol()
    atoms.info["charge"] = 1.0
    path = tmp_path / "model.ckpt"
    write_checkpoint(path, potential, so3_convention=implementation)
    energy, forces = model.load_model(str(path))(
        torch.tensor(atoms.numbers, dtype=torch.long),
        torch.tensor(atoms.positions),
        q=torch.tensor([1.0], dtype=torch.float64),
    )
    (expected,) = potential.evaluate(atoms)
    assert energy.item() == pytest.approx(expected["energy"], rel=TOLERANCE[implementation])
    assert relative_error(forces.detach().numpy(), expected["forces"]) < TOLERANCE[implementation]
    assert_same(
        from_checkpoint(path, so3_convention="python"),
        from_state_dict(*to_state_dict(potential, so3_convention=implementation)),
    )


@pytest.mark.filterwarnings("ignore")
def test_torchmd_net_computes_the_same_dipoles(implementation, tmp_path):
    torch = pytest.importorskip("torch")
    model = pytest.importorskip("torchmdnet.models.model")
    potential, atoms = dipole_potential(), ethanol()
    write_checkpoint(tmp_path / "model.ckpt", potential)
    magnitude, _ = model.load_model(str(tmp_path / "model.ckpt"))(
        torch.tensor(atoms.numbers, dtype=torch.long), torch.tensor(atoms.positions)
    )
    (expected,) = potential.evaluate(atoms, ("dipole",))
    found = magnitude.item()
    assert found == pytest.approx(np.linalg.norm(expected["dipole"]), rel=TOLERANCE[implementation])
