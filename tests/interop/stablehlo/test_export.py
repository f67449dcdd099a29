"""An exported potential gives the same numbers where this package is not installed."""

import json
import re
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest

from tensornet_jax.graph.atom_graph import Capacity, batch_structures
from tensornet_jax.interop.stablehlo.export import NOT_EXPORTED, describe, export_stablehlo
from tensornet_jax.interop.stablehlo.exported_potential import ExportedPotential, neighbor_pairs
from tensornet_jax.models import MODELS
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.potential import Potential, create_potential
from tests import tolerances
from tests.builders import (
    ELEMENTS,
    ethanol,
    in_box,
    rattled_crystals,
    small_potential,
)
from tests.interop.reference_cases import relative_error
from tests.interop.stablehlo.isolated import run_without_the_package
from tests.models.every_model import VARIANTS as EVERY_VARIANT
from tests.models.every_model import small_model

pytest.importorskip("flatbuffers", reason="flatbuffers (the extra 'export') is not installed")

DOCS = Path(__file__).parents[3] / "docs" / "interoperability.md"


@pytest.fixture(scope="module")
def structures():
    crystals = rattled_crystals()
    small = in_box(ethanol())[:3]
    return [in_box(ethanol()), small, crystals["smaller than the cutoff"], crystals["slab"]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A potential in double precision, and the folder it was exported to."""
    potential = small_potential(num_channels=4, num_layers=1).replace(energy_offset=0.5)
    folder = tmp_path_factory.mktemp("exported")
    export_stablehlo(folder / "potential", potential)
    return potential, folder


def test_the_numbers_are_those_of_the_package(exported, structures):
    potential, folder = exported
    for k, atoms in enumerate(structures):
        arrays = {"positions": atoms.positions, "numbers": atoms.numbers}
        np.savez(folder / f"{k}.npz", **arrays, cell=atoms.cell.array, pbc=atoms.pbc)
    run_without_the_package(
        "import sys; sys.path.insert(0, 'potential')\n"
        "import numpy as np\n"
        "from exported_potential import ExportedPotential\n"
        "potential = ExportedPotential('potential')\n"
        f"for k in range({len(structures)}):\n"
        "    results = potential.evaluate(**np.load(f'{k}.npz'))\n"
        "    np.savez(f'results_{k}.npz', **results)\n",
        folder,
    )
    compute = ("energy", "energies", "forces", "stress")
    for k, expected in enumerate(potential.evaluate(structures, compute)):
        with np.load(folder / f"results_{k}.npz") as found:
            assert set(found) == set(compute)
            scale = max(1.0, np.abs(expected["forces"]).max())
            for name in compute:
                np.testing.assert_allclose(
                    found[name],
                    expected[name],
                    rtol=tolerances.SAME_SUM,
                    atol=tolerances.SAME_SUM * scale,
                    err_msg=f"{name} of structure {k}",
                )


def test_the_script_of_the_documentation_runs(exported):
    _, folder = exported
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), flags=re.DOTALL)
    scripts = [block for block in blocks if "ExportedPotential(" in block]
    assert len(scripts) == 2
    for script in scripts:
        assert "eV" in run_without_the_package(script, folder)


def test_several_structures_are_one_batch(exported):
    potential, folder = exported
    atoms = [ethanol(), rattled_crystals()["bulk"]]
    structures = [potential.structure(a) for a in atoms]
    graph = batch_structures(structures, Capacity.holding(structures), "float64")
    edges, half = graph.edges, graph.edges.num_pairs
    found = ExportedPotential(folder / "potential").call(
        {
            "cell": graph.cell,
            "charge": graph.charge,
            "incoming_edges": edges.slots,
            "pairs": np.column_stack([edges.receivers[:half], edges.senders[:half]]),
            "positions": graph.positions,
            "shifts": edges.shifts[:half],
            "species": np.where(graph.node_mask, graph.species, -1).astype(np.int32),
            "structure": graph.node_graph,
        }
    )
    found = {name: np.asarray(value) for name, value in found.items()}
    expected = potential.evaluate(atoms)
    forces = np.concatenate([result["forces"] for result in expected])
    assert relative_error(found["forces"][: len(forces)], forces) < tolerances.SAME_SUM
    for k, (result, structure) in enumerate(zip(expected, structures, strict=True)):
        energy = found["energy_without_e0"][k] + potential.reference_energies(structure).sum()
        assert energy == pytest.approx(result["energy"], rel=tolerances.SAME_SUM)


@pytest.mark.slow
def test_a_potential_with_a_second_list_and_charges(tmp_path):
    settings = {"num_channels": 4, "num_layers": 0, "num_charges": 2, "cutoff": 3.0}
    config = MODELS["tensornet2"][0].model_validate(settings | {"priors": [{"name": "coulomb"}]})
    potential = create_potential(config, ELEMENTS, seed=0, dtype="float64")
    atoms = ethanol()
    atoms.set_initial_charges(np.linspace(-0.3, 0.4, len(atoms)))
    atoms.info["charge"] = 1.0
    export_stablehlo(tmp_path, potential)
    reader = ExportedPotential(tmp_path)
    assert reader.manifest["long_cutoff"] == "infinite"
    given = {"positions": atoms.positions, "numbers": atoms.numbers, "charge": 1.0}
    found = reader.evaluate(**given, initial_charges=atoms.get_initial_charges())
    (expected,) = potential.evaluate(atoms, ("energies", "forces", "charges"))
    for name, value in expected.items():
        assert relative_error(found[name], value) < tolerances.SAME_SUM
    with pytest.raises(ValueError, match="initial_charges"):
        reader.evaluate(**given)
    with pytest.raises(ValueError, match="of which a periodic structure has"):
        reader.evaluate(**given, initial_charges=np.zeros(9), cell=np.eye(3) * 20, pbc=True)


@pytest.mark.slow
def test_charge_and_spin_are_inputs_where_something_depends_on_them(tmp_path):
    settings = {"num_channels": 4, "num_layers": 0, "num_radial": 4, "cutoff": 3.0}
    state = {"electronic_state": ["charge", "spin"]}
    config = MODELS["tensornet"][0].model_validate(settings | state)
    potential = create_potential(config, ELEMENTS, seed=0, dtype="float64")
    atoms = ethanol()
    atoms.info.update(charge=1, spin=2)
    export_stablehlo(tmp_path, potential)
    reader = ExportedPotential(tmp_path)
    (expected,) = potential.evaluate(atoms, ("energies", "forces"))
    found = reader.evaluate(atoms.positions, atoms.numbers, charge=1, spin=2)
    for name, value in expected.items():
        assert relative_error(found[name], value) < tolerances.SAME_SUM
    with pytest.raises(ValueError, match="needs spin"):
        reader.evaluate(atoms.positions, atoms.numbers, charge=1)
    reader.manifest["sees_charge"] = False
    with pytest.raises(ValueError, match="charge 1: nothing"):
        reader.evaluate(atoms.positions, atoms.numbers, charge=1, spin=2)


def test_the_manifest_says_what_is_in_the_folder(exported):
    potential, folder = exported
    manifest = json.loads((folder / "potential" / "manifest.json").read_text("utf-8"))
    assert manifest["elements"]["symbols"] == ["H", "C", "N", "O", "Si"]
    assert manifest["reference_energies"] == potential.elements.reference_energies.tolist()
    assert (manifest["cutoff"], manifest["dtype"]) == (4.0, "float64")
    assert manifest["platforms"] == ["cpu", "cuda"]
    arrays = ExportedPotential(folder / "potential").arrays([[0.0, 0, 0]], [1])
    assert list(manifest["inputs"]) == sorted(arrays)
    for name, described in manifest["inputs"].items():
        assert described["dtype"] == arrays[name].dtype
        assert len(described["shape"]) == arrays[name].ndim


def test_damage_and_unknown_elements_are_errors(exported, tmp_path):
    _, folder = exported
    reader = ExportedPotential(folder / "potential")
    with pytest.raises(ValueError, match=r"\[79\].*H, C, N, O, Si"):
        reader.evaluate([[0.0, 0, 0]], [79])
    with pytest.raises(ValueError, match="at one place"):
        reader.evaluate(np.zeros((2, 3)), [1, 1])
    for file in (folder / "potential").glob("*.*"):
        content = bytearray(file.read_bytes())
        if file.suffix == ".jaxexport":
            content[len(content) // 2] ^= 1
        (tmp_path / file.name).write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        ExportedPotential(tmp_path)


def test_jax_versions_that_compute_wrong_numbers_are_refused(exported, monkeypatch):
    _, folder = exported
    monkeypatch.setattr(
        "tensornet_jax.interop.stablehlo.exported_potential.version", lambda name: "0.10.2"
    )
    with pytest.raises(ImportError, match=r"0\.10\.2 computes wrong numbers"):
        ExportedPotential(folder / "potential")


@pytest.mark.parametrize("name", list(rattled_crystals()))
def test_the_readers_neighbor_search_is_the_packages(name):
    from tensornet_jax.graph.neighbors import neighbor_pairs as search

    atoms = rattled_crystals()[name]
    atoms.wrap()
    pairs, shifts = neighbor_pairs(atoms.positions, atoms.cell.array, atoms.pbc, 4.0)
    expected = search(atoms.positions, atoms.cell.array, atoms.pbc, 4.0)

    def once(*columns):
        rows = np.column_stack(columns).tolist()
        return sorted(min((i, j, *s), (j, i, *(-n for n in s))) for i, j, *s in rows)

    assert once(pairs, shifts) == once(expected.first, expected.second, expected.shifts)


VARIANTS: dict[str, dict[str, Any]] = {
    "tensors, and a dipole of conserved charges, of ions with a spin": {
        "tensors": ["polarizability", "shielding"],
        "heads": ("energy", "dipole"),
        "dipole_form": "charges_and_dipoles",
        "electronic_state": ("charge", "spin"),
    },
    "a dipole of charges, and priors": {
        "heads": ("energy", "dipole"),
        "priors": [{"name": "zbl"}, {"name": "d2"}],
    },
    "a Coulomb energy of predicted charges": {
        "priors": [{"name": "coulomb", "charges": "predicted", "switch_to": 3.0, "cutoff": 6.0}]
    },
    "no energy": {"heads": (), "tensors": ["elasticity"]},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_the_package_predicts_the_exported_program_predicts(variant, tmp_path):
    _same_as_the_package(tiny(**VARIANTS[variant]), tmp_path, away_from_the_origin())


def tiny(**options: Any) -> Potential:
    settings = {"num_channels": 4, "num_layers": 0, "num_radial": 4, "cutoff": 3.0, **options}
    config = MODELS["tensornet"][0].model_validate(settings)
    return create_potential(config, ELEMENTS, seed=0, dtype="float64", energy_scale=2.0)


@pytest.mark.filterwarnings("ignore::tensornet_jax.potential.trained_on.OutsideTrainingWarning")
def test_a_compressed_potential_is_exported(tmp_path):
    potential = tiny(num_layers=1)
    _same_as_the_package(compress(potential, 1e-3), tmp_path, away_from_the_origin())


@pytest.mark.slow
@pytest.mark.parametrize("variant", EVERY_VARIANT)
def test_every_kind_of_model_is_exported(variant, tmp_path):
    _same_as_the_package(small_model(variant), tmp_path, away_from_the_origin())


def away_from_the_origin() -> ase.Atoms:
    """Return an ion, where the point a dipole moment refers to matters, in a box for stress."""
    atoms = in_box(ethanol())
    atoms.positions += [1.0, 2.0, 3.0]
    return atoms


def _same_as_the_package(potential: Potential, folder: Path, atoms: ase.Atoms) -> None:
    manifest = export_stablehlo(folder, potential)
    reader = ExportedPotential(folder)
    config, state = potential.config, {}
    if config.sees_charge:
        state["charge"] = 1
    if config.needs_spin:
        state["spin"] = 2
    atoms.info.update(state)
    compute = [n for n in potential.properties if n not in ("free_energy", *NOT_EXPORTED)]
    found = reader.evaluate(
        atoms.positions, atoms.numbers, cell=atoms.cell.array, pbc=atoms.pbc, **state
    )
    assert set(found) == set(compute)
    (expected,) = potential.evaluate(atoms, compute)
    for name, value in expected.items():
        assert relative_error(found[name], value) < 100 * tolerances.SAME_SUM, name
    left_out = {*potential.properties} & {*NOT_EXPORTED}
    assert {*manifest["not_exported"]} == left_out


def test_the_manifest_describes_tensors_and_the_origin_of_dipoles(tmp_path):
    tensors = ["shielding", {"name": "gap_tensor", "symmetry": "ij=-ji", "unit": "eV"}]
    for form, origin in (
        ("charges", "centre of mass"),
        ("charges_and_dipoles", "mean of the positions"),
    ):
        potential = tiny(heads=["energy", "dipole"], dipole_form=form, tensors=tensors)
        outputs = describe(potential)["outputs"]
        assert outputs["dipole"]["origin"] == origin
        assert origin in outputs["dipole"]["meaning"]
        assert outputs["shielding"]["shape"] == ["atoms", 3, 3]
        assert outputs["shielding"]["unit"] == "ppm"
        assert outputs["gap_tensor"]["shape"] == ["structures", 3, 3]
        assert outputs["gap_tensor"]["symmetry"] == "ij=-ji"
        assert (outputs["gap_tensor"]["unit"], outputs["gap_tensor"]["per"]) == ("eV", "structure")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_exported(name, dtype, tmp_path):
    settings = {"num_channels": 8, "cutoff": 4.0, "heads": ("energy", "dipole")}
    config = MODELS[name][0].model_validate(settings)
    potential = create_potential(config, ELEMENTS, seed=0, dtype=dtype)
    export_stablehlo(tmp_path, potential)
    reader, atoms = ExportedPotential(tmp_path), ethanol()
    found = reader.evaluate(atoms.positions, atoms.numbers)
    (expected,) = potential.evaluate(atoms, ("forces", "dipole"))
    for key, value in expected.items():
        tolerance = 1e-9 if dtype == "float64" else tolerances.MODEL_FLOAT32
        assert relative_error(found[key], value) < tolerance
