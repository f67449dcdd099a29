"""`tensornet-jax data` writes a data set in canonical form, and never over another file."""

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa

from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.readers import read_labelled


@pytest.fixture
def printed_by_vasp(tmp_path):
    """Return a file with stresses in kbar, VASP's sign and order, and energies under `U`."""
    frames = []
    rng = np.random.default_rng(0)
    for _ in range(3):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array * 0.98, scale_atoms=True)
        atoms.rattle(0.05, rng=rng)
        atoms.calc = EMT()
        xx, yy, zz, yz, xz, xy = -atoms.get_stress() * 10 / GPa
        energy, atoms.arrays["forces"] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
        atoms.info = {"U": energy - 20.0, "printed": np.array([xx, yy, zz, xy, yz, xz])}
        frames.append(atoms)
    path = tmp_path / "vasp.xyz"
    ase.io.write(path, frames, format="extxyz")
    return path


OPTIONS = (
    *("--label", "energy=U", "--label", "stress=printed", "--label", "stress_order=vasp"),
    *("--label", "stress_sign=compression_positive", "--unit", "stress=kbar"),
)
CONFIG = LabelConfig.model_validate(
    {
        **{"energy": "U", "stress": "printed", "stress_order": "vasp"},
        **{"stress_sign": "compression_positive", "units": {"stress": "kbar"}},
    }
)


def test_labels_in_any_form_come_out_in_one(cli, printed_by_vasp):
    result = cli("data", printed_by_vasp, "all.xyz", *OPTIONS)
    assert result.exit_code == 0, result.output
    assert "3 structures written: all.xyz" in result.stdout
    for structure in read_labelled("all.xyz"):
        atoms = structure.atoms
        atoms.calc = EMT()
        assert structure.keys["energy"] == "REF_energy"
        # The file it came from has eight decimals.
        assert structure.energy == pytest.approx(atoms.get_potential_energy() - 20.0, abs=1e-6)
        stress = atoms.get_stress(voigt=False)
        np.testing.assert_allclose(structure.labels["stress"], stress, atol=1e-7)


def test_inspecting_the_output_shows_the_same_audit(cli, printed_by_vasp):
    def numbers(text):
        return [line.partition("; from ")[0].partition(" in ")[0] for line in text.splitlines()]

    written = numbers(cli("data", printed_by_vasp, "all.xyz", *OPTIONS).stdout)
    inspected = numbers(cli("inspect", "all.xyz").stdout)
    assert written[: len(inspected)] == inspected
    assert numbers(cli("inspect", printed_by_vasp, *OPTIONS).stdout) == inspected


def test_an_existing_output_is_replaced_only_if_asked(cli, molecules, tmp_path):
    existing = tmp_path / "all.xyz"
    existing.write_text("mine")
    result = cli("data", molecules, existing)
    assert result.exit_code == 2
    assert "exists" in result.stderr
    assert existing.read_text() == "mine"
    assert cli("data", molecules, existing, "--force").exit_code == 0
    assert len(read_labelled(existing)) == 2
    result = cli("data", existing, existing, "--force")
    assert result.exit_code == 2
    assert "is the input" in result.stderr


def test_data_with_errors_are_not_written(cli, tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.info["REF_energy"] = -1.0
    atoms.info["REF_stress"] = np.zeros((3, 3))
    ase.io.write(tmp_path / "zero.xyz", [atoms, atoms], format="extxyz")
    result = cli("data", "zero.xyz", "all.xyz")
    assert result.exit_code == 2
    assert "exactly zero" in result.stdout
    assert not (tmp_path / "all.xyz").exists()
    assert cli("data", "zero.xyz", "all.xyz", "--label", "ignore=stress").exit_code == 0


def test_other_formats_are_not_written(cli, molecules):
    result = cli("data", molecules, "all.db")
    assert result.exit_code == 2
    assert "name it all.xyz" in result.stderr


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("stress_sign=up", "stress_sign"),
        ("stress_order=xx", "no order of six components"),
        ("ignore=volume", "ignore"),
        ("energy", "write name=value"),
    ],
)
def test_settings_of_labels_that_are_none_are_refused(cli, molecules, option, words):
    result = cli("inspect", molecules, "--label", option)
    assert result.exit_code == 2
    assert words in result.stderr


def test_options_given_twice_are_refused(cli, molecules):
    result = cli("inspect", molecules, "--label", "energy=a", "--label", "energy=b")
    assert result.exit_code == 2
    assert "energy is given twice: a and b" in result.stderr


def test_structures_are_packed_with_the_same_options(cli, printed_by_vasp):
    result = cli("data", "pack", printed_by_vasp, "all.packed", *OPTIONS)
    assert result.exit_code == 0, result.output
    assert "3 structures packed: all.packed" in result.stdout
    packed, read = read_labelled("all.packed"), read_labelled(printed_by_vasp, CONFIG)
    for one, other in zip(packed, read, strict=True):
        assert one.energy == other.energy
        np.testing.assert_array_equal(one.labels["stress"], other.labels["stress"])
    assert "exists" in cli("data", "pack", printed_by_vasp, "all.packed", *OPTIONS).stderr
    assert "name it all.packed" in cli("data", "pack", printed_by_vasp, "all.db").stderr
