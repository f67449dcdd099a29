"""Checkpoints of torchmd-net's versions all come out in the names and layout of version 3."""

import numpy as np
import pytest

from tensornet_jax.interop.torchmd_net.checkpoint import from_checkpoint
from tensornet_jax.interop.torchmd_net.files import read_checkpoint
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tests.builders import config_of
from tests.interop.torchmd_net_checkpoints import write_npz

GATES = "representation_model.tensor_embedding.linears_scalar.1.weight"
FILTERS = "representation_model.layers.0.linears_scalar.2.bias"
READOUT = "output_model.output_network.layers.2.weight"
NEW = {GATES: np.arange(12.0).reshape(6, 2), FILTERS: np.arange(6.0), READOUT: np.ones((1, 2))}
# Two channels: rows x0 x1 y0 y1 z0 z1 against x0 y0 z0 x1 y1 z1.
ORDER = [0, 2, 4, 1, 3, 5]
OLD = {GATES: NEW[GATES][ORDER], FILTERS: NEW[FILTERS][ORDER], READOUT: NEW[READOUT]}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize(
    ("state", "config", "layout", "told"),
    [
        (NEW, {}, "auto", "(3,F)"),
        (OLD, {"check_errors": True}, "auto", "(F,3)"),
        (OLD, {}, "(F,3)", "(F,3)"),
        (NEW, {"check_errors": True}, "(3,F)", "(3,F)"),
    ],
)
def test_layouts_are_told_apart_by_the_settings_or_given(tmp_path, state, config, layout, told):
    path = write_npz(tmp_path / "model.npz", state, {"model": "tensornet", **config})
    checkpoint = read_checkpoint(path, layout)
    assert checkpoint.layout == told
    assert_same(checkpoint.state, NEW)


def test_names_from_before_version_2_2_are_translated_and_mean_the_old_layout(tmp_path):
    renamed = {f"model.{name.replace('.layers.2.weight', '.2.weight')}": OLD[name] for name in OLD}
    path = write_npz(tmp_path / "model.npz", renamed, {"model": "tensornet"})
    checkpoint = read_checkpoint(path)
    assert checkpoint.layout == "(F,3)"
    assert_same(checkpoint.state, NEW)


def test_only_the_embedding_of_an_old_tensornet2_is_turned(tmp_path):
    config = {"model": "tensornet-nqe", "check_errors": False}
    checkpoint = read_checkpoint(write_npz(tmp_path / "model.npz", OLD, config))
    assert checkpoint.config["model"] == "tensornet2"
    assert_same(checkpoint.state, {**OLD, GATES: NEW[GATES]})


def test_old_and_new_files_of_a_model_give_the_same_potential(tmp_path, reference):
    case = reference("t03_L2_O3")

    def turned(name, value):
        if ("linears_scalar.1" in name and "embedding" in name) or "linears_scalar.2" in name:
            return value.reshape(3, -1, *value.shape[1:]).swapaxes(0, 1).reshape(value.shape)
        return value

    old = {name: turned(name, value) for name, value in case.state.items()}
    paths = (
        write_npz(tmp_path / "new.npz", case.state, case.config),
        write_npz(tmp_path / "old.npz", old, {**case.config, "check_errors": True}),
    )
    new, old = (from_checkpoint(path, elements=[1, 6, 8]) for path in paths)
    assert (new.metadata["layout"], old.metadata["layout"]) == ("(3,F)", "(F,3)")
    for path, leaf in flat(new).items():
        np.testing.assert_array_equal(flat(old)[path], leaf)
    assert new.elements.symbols == ("H", "C", "O")


def flat(potential):
    import jax

    return dict(jax.tree_util.tree_leaves_with_path(potential.variables))


def test_so3_models_need_a_convention_unless_they_are_old(tmp_path, reference):
    case = reference("t05_L1_SO3_q")
    path = write_npz(tmp_path / "model.npz", case.state, case.config)
    with pytest.raises(ValueError, match="mirror images"):
        from_checkpoint(path)
    warp = from_checkpoint(path, so3_convention="warp")
    assert config_of(warp, TensorNetConfig).so3_convention == "warp"
    potential = from_checkpoint(path, layout="(F,3)")
    config = config_of(potential, TensorNetConfig)
    assert potential.metadata["so3_convention"] == config.so3_convention == "python"


def test_elements_beyond_the_checkpoint_are_refused(tmp_path, reference):
    case = reference("t01_L0_O3")
    path = write_npz(tmp_path / "model.npz", case.state, case.config)
    with pytest.raises(ValueError, match=r"\[79\].*max_z = 20"):
        from_checkpoint(path, elements=[1, 79])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"param/a": np.ones(2)}, "config_json"),
        ({"config_json": np.frombuffer(b"{", np.uint8)}, "config_json"),
        ({"config_json": np.frombuffer(b"[1]", np.uint8)}, "JSON object"),
        ({"config_json": np.array([{}], dtype=object)}, "Object arrays"),
    ],
)
def test_other_archives_are_refused(tmp_path, arrays, message):
    path = tmp_path / "model.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(path)


def test_other_files_of_torch_are_refused(tmp_path):
    torch = pytest.importorskip("torch", reason="torch (the extra 'interop') is not installed")
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ValueError, match="has no hyper_parameters"):
        read_checkpoint(path)


def test_a_lightning_checkpoint_is_read(tmp_path, reference):
    torch = pytest.importorskip("torch", reason="torch (the extra 'interop') is not installed")
    case = reference("t01_L0_O3")
    # What Lightning 2.6 writes beside the weights.
    content = {
        "epoch": 1,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": {f"model.{name}": torch.tensor(v) for name, v in case.state.items()},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'mode': 'min'}": {"kth_value": torch.tensor(np.inf)}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(2.0)}}, "param_groups": []}],
        "lr_schedulers": [{"mode_worse": np.inf, "best": 2.5}],
        "hparams_name": "hparams",
        "hyper_parameters": {**case.config, "lr": 1e-3, "log_dir": "run", "prior_args": []},
    }
    torch.save(content, tmp_path / "model.ckpt")
    checkpoint = read_checkpoint(tmp_path / "model.ckpt")
    assert checkpoint.layout == "(3,F)"
    assert_same(checkpoint.state, case.state)
    assert checkpoint.config["lr"] == 1e-3
