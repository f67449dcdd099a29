import json

import numpy as np
import pytest

from tensornet_jax.interop.mace import from_state_dict
from tensornet_jax.potential.model_file import save_model
from tests.interop.mace.reference_cases import Reference


def test_a_model_is_exported_to_stablehlo(cli, model, tmp_path):
    pytest.importorskip("flatbuffers", reason="flatbuffers (extra 'export') is not installed")
    result = cli("export", model, "potential", "--to", "stablehlo", "--dtype", "float32")
    assert result.exit_code == 0, result.stderr
    assert "tensornet, float32, for cpu and cuda" in result.stdout
    assert "left out: hessian" in result.stdout
    again = cli("export", model, "potential", "--to", "stablehlo")
    assert again.exit_code == 2
    assert "manifest.json exists" in again.stderr
    manifest = json.loads((tmp_path / "potential" / "manifest.json").read_text("utf-8"))
    assert manifest["elements"]["symbols"] == ["H", "C", "O"]


def test_a_model_is_exported_to_torchmd_net(cli, model, tmp_path):
    torch = pytest.importorskip("torch", reason="torch (the extra 'interop') is not installed")
    result = cli("export", model, "model.ckpt", "--to", "torchmd-net")
    assert result.exit_code == 0, result.stderr
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert content["hyper_parameters"]["elements"] == [1, 6, 8]


def test_a_mace_is_exported_to_mace_torch(cli, model, small_reference, tmp_path):
    case = Reference(small_reference("mace/soft_gaussian.npz"))
    save_model(tmp_path / "mace.safetensors", from_state_dict(case.state, case.config))
    result = cli("export", "mace.safetensors", "mace.npz", "--to", "mace")
    assert result.exit_code == 0, result.stderr
    assert "written: mace.npz" in result.stdout
    with np.load(tmp_path / "mace.npz") as file:
        for name, value in case.state.items():
            np.testing.assert_allclose(file[f"param/{name}"], value, rtol=1e-14, atol=1e-14)
    again = cli("export", "mace.safetensors", "mace.npz", "--to", "mace")
    assert "mace.npz exists" in again.stderr
    assert "ends in .model" in cli("export", model, "mace.pt", "--to", "mace").stderr
    assert "mace-torch has no tensornet" in cli("export", model, "a.npz", "--to", "mace").stderr


def test_all_heads_of_a_mace_are_exported_or_one(cli, small_reference, tmp_path):
    case = Reference(small_reference("mace/heads_agnesi_zbl.npz"))
    save_model(tmp_path / "mace.safetensors", from_state_dict(case.state, case.config))
    for name, options, heads in (("all", (), ["a", "b", "c"]), ("one", ("--head", "b"), ["b"])):
        result = cli("export", "mace.safetensors", f"{name}.npz", "--to", "mace", *options)
        assert result.exit_code == 0, result.stderr
        with np.load(tmp_path / f"{name}.npz") as file:
            assert json.loads(str(file["config_json"]))["heads"] == heads
            energies = file["param/atomic_energies_fn.atomic_energies"]
        assert len(energies) == len(heads)


def test_a_model_is_exported_to_lammps_jax(cli, model, crystal, tmp_path):
    pytest.importorskip("lammps_jax", reason="lammps_jax (extra 'lammps-jax') is not installed")
    bundle = ("export", model, "bundle.json", "--to", "lammps-jax", "--types", "C, O")
    result = cli(*bundle, "--structure", crystal, "--units", "real", "--platform", "cpu")
    assert result.exit_code == 0, result.stderr
    assert "tensornet, float64, for cpu and units real" in result.stdout
    assert "whose ghosts reach 6 Å" in result.stdout
    assert "pair_coeff * * bundle.json" in result.stdout
    contract = json.loads((tmp_path / "bundle.json").read_text("utf-8"))["contract"]
    assert contract["unit_style"] == "real"
    assert contract["n_species"] == 2
    assert "bundle.json exists" in cli(*bundle, "--structure", crystal).stderr


def test_options_of_bundles_are_checked(cli, model, molecules):
    lacking = cli("export", model, "bundle.json", "--to", "lammps-jax", "--types", "C")
    assert "needs --types" in lacking.stderr
    useless = ("--types", "C", "--form", "ghosts", "--without-reference-energies")
    found = cli("export", model, "folder", "--to", "stablehlo", *useless).stderr
    assert "--types, --form, --without-reference-energies: only with --to lammps-jax" in found
    bundle = ("export", model, "bundle.json", "--to", "lammps-jax", "--types", "C,H,O")
    assert "structures: give one" in cli(*bundle, "--structure", molecules).stderr


def test_what_cannot_be_exported_is_one_message(cli, model, tmp_path):
    (tmp_path / "file").touch()
    assert "is a file" in cli("export", model, "file", "--to", "stablehlo").stderr
    arguments = ("--to", "stablehlo", "--so3-convention", "warp")
    assert "is for --to torchmd-net" in cli("export", model, "folder", *arguments).stderr
    assert "is the input" in cli("export", model, model, "--to", "torchmd-net").stderr
    assert cli("export", model, "folder").exit_code == 2
