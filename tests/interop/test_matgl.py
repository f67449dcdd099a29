"""MatGL's numbers from MatGL's weights: of the published MatPES potential, and of random ones."""

import json
from typing import Any

import ase
import ase.build
import ase.units
import jax
import numpy as np
import pytest

from tensornet_jax.interop.matgl import from_directory, from_state_dict
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.potential import Potential
from tests import tolerances
from tests.builders import ethanol, in_box
from tests.interop import matgl_by_edges
from tests.interop.matgl_by_edges import ARGUMENTS, small_config
from tests.physics.structures import crystals

NAME = "TensorNet-MatPES-PBE-v2025.1-PES"
CASES = ("LiFePO4_28", "NaCl8_rattled", "Si8_rattled_strained", "ethanol_molecule_nopbc")


def published(shared_data) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the state dict and the configuration of the MatPES potential."""
    with np.load(shared_data(f"reference_matgl/{NAME}_weights.npz")) as archive:
        state = {k.removeprefix("param/"): archive[k] for k in archive.files if "/" in k}
        return state, json.loads(archive["config_json"].tobytes())


@pytest.fixture(scope="module")
def matpes(shared_data) -> Potential:
    return from_state_dict(*published(shared_data), dtype="float64")


def test_energies_forces_and_stress_of_the_matpes_potential_are_matgls(matpes, shared_data):
    cases, structures = [], []
    for name in CASES:
        with np.load(shared_data(f"reference_matgl/{NAME}__{name}.npz")) as archive:
            case = {key: archive[key] for key in archive.files}
        atoms = ase.Atoms(case["z"], case["pos"], cell=case["cell"], pbc=case["pbc"])
        cases.append(case)
        # With a volume, so that all of them are evaluated in one call, which compiles once.
        structures.append(atoms if atoms.pbc.any() else in_box(atoms))
    results = matpes.evaluate(structures, ("energy", "forces", "stress"))
    for case, atoms, result in zip(cases, structures, results, strict=True):
        assert abs(result["energy"] - case["energy"]) < tolerances.MATGL
        assert abs(result["forces"] - case["forces"]).max() < tolerances.MATGL
        if atoms.pbc.any():
            assert (
                abs(result["stress"] - case["stress_GPa"] * ase.units.GPa).max() < tolerances.MATGL
            )
    assert matpes.metadata["message_convention"] == "MatGL < 2.2, PyG"
    assert len(matpes.elements.numbers) == 89


PROGRAMS = {
    "pyg 1": {"rbf_type": "Gaussian"},
    "dgl 1": {},
    "2": {"nblocks": 1},
}
"""Programs and arguments that differ; SO(3) models see the sign of edge vectors too."""


def structures() -> list[ase.Atoms]:
    return [ethanol(), crystals()["skewed"], crystals()["slab"], ase.Atoms("O")]


@pytest.mark.parametrize("program", PROGRAMS)
def test_all_three_programs_of_matgl_are_told_apart_and_reproduced(program):
    config = small_config(int(program[-1]), **PROGRAMS[program])
    arguments = config["kwargs"]["model"]["init_args"]
    state = matgl_by_edges.random_state(arguments)
    given = dict(state)
    if program.startswith("dgl"):
        given["model.tensor_embedding.emb3.weight"] = np.ones((4, 3))
        given["model.tensor_embedding.emb3.bias"] = np.ones(4)
    if program == "2":
        # As the Warp kernels store it.
        for part in ("weight", "bias"):
            names = [f"model.tensor_embedding.distance_proj{k}.{part}" for k in (1, 2, 3)]
            layers = [given.pop(name) for name in names]
            given[f"model.tensor_embedding.distance_proj.{part}"] = np.concatenate(layers)
    found = from_state_dict(given, config).evaluate(structures(), ("energy",))
    for atoms, result in zip(structures(), found, strict=True):
        expected = {name: matgl_by_edges.energy(state, arguments, atoms, name) for name in PROGRAMS}
        assert result["energy"] == pytest.approx(expected[program], abs=tolerances.SAME_ENERGY)
        others = [value for name, value in expected.items() if name != program]
        if len(atoms) > 1:
            assert min(abs(result["energy"] - other) for other in others) > 1e-6


def test_it_is_a_potential_like_any_other(tmp_path):
    arguments = ARGUMENTS | {"nblocks": 1}
    config = small_config(2, nblocks=1)
    potential = from_state_dict(matgl_by_edges.random_state(arguments), config)
    save_model(tmp_path / "model.safetensors", potential)
    loaded = load_model(tmp_path / "model.safetensors")
    before = potential.evaluate(ethanol())[0]
    after = loaded.evaluate(ethanol())[0]
    assert after["energy"] == before["energy"]
    np.testing.assert_array_equal(after["forces"], before["forces"])
    # MatGL knows no charge.
    charged = ethanol()
    charged.info["charge"] = 1.0
    with pytest.raises(ValueError, match="depends on the charge"):
        loaded.evaluate(charged)


def test_the_published_folder_holds_the_same_weights(matpes, shared_data):
    pytest.importorskip("torch")
    potential = from_directory(shared_data(f"reference_matgl/{NAME}"), dtype="float64")
    assert potential.config == matpes.config
    assert potential.elements.numbers == matpes.elements.numbers
    jax.tree.map(np.testing.assert_array_equal, potential.variables, matpes.variables)
    assert potential.energy_scale == matpes.energy_scale


@pytest.mark.slow
def test_the_matpes_potential_can_be_compressed(matpes):
    crystal = [ase.build.bulk("MgO", "rocksalt", a=4.25), ase.build.bulk("Si", cubic=True)]
    for seed, atoms in enumerate(crystal):
        atoms.rattle(0.1, seed=seed)
    compressed = compress(matpes, 1e-5, crystal)
    for old, new in zip(matpes.evaluate(crystal), compressed.evaluate(crystal), strict=True):
        np.testing.assert_allclose(new["forces"], old["forces"], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_intensive": True}, "is_intensive: True"),
        ({"rbf_type": "ExpNorm"}, "rbf_type: 'ExpNorm'"),
        ({"use_smooth": False}, "use_smooth: False"),
        ({"activation_type": "softexp"}, "activation_type: 'softexp'"),
        ({"ntargets": 2}, "ntargets: 2"),
        ({"include_state": True}, "include_state: True"),
        ({"twice": True}, "twice: True is not known"),
        ({"element_types": ["Si", "C", "O", "Xx"]}, r"\['Xx'\]"),
        ({"units": 5}, "shape"),
        ({"nblocks": 1}, "no place for"),
        ({"nblocks": 3}, "lacks model.layers.2"),
    ],
)
def test_what_is_not_supported_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        from_state_dict(matgl_by_edges.random_state(ARGUMENTS), small_config(1, **change))


def test_other_classes_options_and_versions_are_named():
    state, config = matgl_by_edges.random_state(ARGUMENTS), small_config(1)

    def refused(message: str, changed: dict[str, Any], **options: Any) -> None:
        with pytest.raises(ValueError, match=message):
            from_state_dict(state, changed, **options)

    kwargs = config["kwargs"]
    refused("calc_repuls: True", config | {"kwargs": kwargs | {"calc_repuls": True}})
    model = kwargs["model"] | {"@class": "M3GNet"}
    refused("M3GNet is not supported", config | {"kwargs": {"model": model}})
    refused("MEGNet is not supported", {"@class": "MEGNet", "kwargs": {}})
    refused("lack element_types, units", {"matgl": "2.0.4"})
    refused("version 3 is not supported", config, version=3)
    # Versions are not guessed: the wrong one gives nonsense.
    refused("give version=1 for MatGL before 2.2", {"init_args": ARGUMENTS})
    state["element_refs.property_offset"] = np.zeros((2, 4))
    refused("depend on a state", config)
