import json
import lzma

import jax
import numpy as np
import pytest

from tensornet_jax.interop import matgl
from tensornet_jax.interop.mace import from_model_file
from tensornet_jax.interop.torch.files import write_torch_file
from tensornet_jax.interop.torchmd_net.checkpoint import from_state_dict
from tensornet_jax.models.tensornet2.config import TensorNet2Config
from tensornet_jax.potential.model_file import load_model, read_header
from tests.builders import config_of, ethanol
from tests.interop import matgl_by_edges
from tests.interop.reference_cases import Reference
from tests.interop.torchmd_net_checkpoints import write_npz


def test_a_model_of_torchmd_net_becomes_a_model_file(cli, small_reference, tmp_path):
    case = Reference(small_reference("torchmd_net/t32_atomref_meanstd.npz"))
    checkpoint = write_npz(tmp_path / "model.npz", case.state, case.config)
    result = cli("convert", "torchmd-net", checkpoint, "model.safetensors", "--elements", "H,C,O")
    assert result.exit_code == 0, result.stderr
    assert "filters laid out (3,F)" in result.stdout
    assert "float64, cutoff 4.5 Å, H, C, O" in result.stdout
    (found,) = load_model("model.safetensors").evaluate(ethanol())
    (expected,) = from_state_dict(case.state, case.config).evaluate(ethanol())
    assert abs(found["energy"] - expected["energy"]) < 1e-12 * abs(expected["energy"])
    np.testing.assert_allclose(found["forces"], expected["forces"], atol=1e-12)


def test_a_folder_of_matgl_becomes_a_model_file(cli, tmp_path):
    pytest.importorskip("torch")
    config = matgl_by_edges.small_config(1, nblocks=0)
    state = matgl_by_edges.random_state(matgl_by_edges.ARGUMENTS | {"nblocks": 0})
    (tmp_path / "model.json").write_text(json.dumps(config), encoding="utf-8")
    write_torch_file(tmp_path / "state.pt", state)
    result = cli("convert", "matgl", tmp_path, "model.safetensors")
    assert result.exit_code == 0, result.stderr
    assert "messages as in MatGL < 2.2, PyG" in result.stdout
    found, expected = load_model("model.safetensors"), matgl.from_state_dict(state, config)
    assert found.config == expected.config
    jax.tree.map(np.testing.assert_array_equal, found.variables, expected.variables)


def test_aceff_becomes_a_model_file(cli, shared_data):
    weights = shared_data("reference_aceff/aceff_v2.0_weights.npz")
    options = ("--coulomb-cutoff", "12", "--charges", "-1,0,1")
    result = cli("convert", "aceff", weights, "model.safetensors", *options)
    assert result.exit_code == 0, result.stderr
    assert "E0 = 0" in result.stdout
    coulomb = config_of(load_model("model.safetensors"), TensorNet2Config).coulomb
    assert coulomb is not None
    assert coulomb.cutoff == 12
    assert read_header("model.safetensors")["metadata"]["trained_on"] == {"charges": [-1, 0, 1]}
    result = cli("convert", "aceff", weights, "model.safetensors", "--charges", "ions")
    assert "--charges ions: write total charges" in result.stderr


def test_a_model_of_mace_torch_becomes_a_model_file(cli, small_reference, tmp_path):
    path = tmp_path / "gated.model"
    path.write_bytes(lzma.decompress(small_reference("mace/gated.model.xz").read_bytes()))
    result = cli("convert", "mace", path, "model.safetensors")
    assert result.exit_code == 0, result.stderr
    assert "RealAgnosticResidualNonLinearInteractionBlock, head Default" in result.stdout
    assert "float64, cutoff 4.5 Å, H, C, O" in result.stdout
    found, expected = load_model("model.safetensors"), from_model_file(path)
    assert found.config == expected.config
    jax.tree.map(np.testing.assert_array_equal, found.variables, expected.variables)
    result = cli("convert", "mace", path, "model.safetensors", "--head", "other")
    assert "no head 'other', only Default" in result.stderr


def test_what_cannot_be_converted_is_one_message(cli, small_reference, tmp_path):
    case = Reference(small_reference("torchmd_net/t05_L1_SO3_q.npz"))
    checkpoint = write_npz(tmp_path / "model.npz", case.state, case.config)
    result = cli("convert", "torchmd-net", checkpoint, "model.safetensors")
    assert result.exit_code == 2
    assert "mirror images" in result.stderr
    result = cli("convert", "torchmd-net", checkpoint, "model.safetensors", "--elements", "H,Foo")
    assert "no element Foo" in result.stderr
    result = cli("convert", "torchmd-net", checkpoint, "absent/model.safetensors")
    assert "no folder absent" in result.stderr
