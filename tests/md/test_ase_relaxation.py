"""Atoms and cells relax in what they are free to change, and in nothing else."""

from typing import Any

import ase.build
import ase.io
import numpy as np
import pytest
from ase import units
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from tensornet_jax.md.ase_relaxation import AseRelaxation, relax_in_place


def copper(a: float = 3.7) -> Any:
    atoms = ase.build.bulk("Cu", a=a)
    atoms.calc = EMT()
    return atoms


def slab(normal: int = 2) -> Any:
    """Return a strained slab whose normal is x, y or z."""
    atoms = ase.build.fcc100("Cu", (1, 1, 3), a=3.8, vacuum=6.0)
    turned = np.roll(np.arange(3), normal - 2)
    atoms.set_cell(atoms.cell.array[:, turned])
    atoms.positions = atoms.positions[:, turned]
    atoms.pbc = (True, True, False)
    atoms.rattle(0.02, seed=1)
    atoms.calc = EMT()
    return atoms


def test_a_cell_under_pressure_ends_with_that_pressure():
    atoms = copper()
    how = AseRelaxation(fmax=3e-3, cell="full", pressure=10.0, optimizer="lbfgs")
    found = relax_in_place(atoms, how)
    assert found.converged
    pressures = -atoms.get_stress()[:3] / units.GPa
    np.testing.assert_allclose(pressures, 10.0, atol=0.05)
    assert atoms.cell.lengths()[0] < 3.59 / np.sqrt(2)


def test_of_a_cell_changes_what_was_asked_for():
    shear = np.array([[1.0, 0.03, 0.0], [0.03, 1.02, 0.0], [0.0, 0.0, 1.0]])
    ends = {}
    for change in ("isotropic", "lengths", "full"):
        atoms = copper()
        atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
        before = atoms.cell.array.copy()
        assert relax_in_place(atoms, AseRelaxation(fmax=3e-3, cell=change)).converged
        ends[change] = np.linalg.inv(before) @ atoms.cell.array
    ratio = np.diag(ends["isotropic"])
    np.testing.assert_allclose(ends["isotropic"], ratio[0] * np.eye(3), atol=1e-6)
    assert np.abs(ends["lengths"] - np.diag(np.diag(ends["lengths"]))).max() < 1e-6
    assert np.ptp(np.diag(ends["lengths"])) > 1e-3
    assert np.abs(ends["full"][0, 1]) > 1e-3


@pytest.mark.parametrize("normal", [0, 1, 2])
def test_a_slab_relaxes_in_its_plane_and_keeps_its_vacuum(normal):
    atoms = slab(normal)
    before = atoms.cell.array.copy()
    assert relax_in_place(atoms, AseRelaxation(fmax=0.01, cell="in-plane")).converged
    np.testing.assert_allclose(atoms.cell.array[2], before[2], atol=1e-10)
    assert np.linalg.norm(atoms.cell.array[0]) < np.linalg.norm(before[0]) - 0.02
    stress = atoms.get_stress(voigt=False)
    plane = [k for k in range(3) if k != normal]
    assert np.abs(stress[np.ix_(plane, plane)]).max() < 2e-3
    # A periodic cell with vacuum has its plane along the first two vectors.
    atoms.pbc = True
    assert relax_in_place(atoms, AseRelaxation(fmax=0.05, cell="in-plane")).steps == 0


@pytest.mark.parametrize(
    ("change", "pbc", "told"),
    [
        ("full", (True, True, False), "--cell-change in-plane"),
        ("full", (False, False, False), "leave out --cell"),
        ("in-plane", (True, False, False), "only slabs relax in a plane"),
    ],
)
def test_cells_that_cannot_relax_so_are_refused(change, pbc, told):
    atoms = copper()
    atoms.pbc = pbc
    with pytest.raises(ValueError, match=told):
        relax_in_place(atoms, AseRelaxation(cell=change))


def test_a_slab_that_lies_askew_or_has_no_volume_is_refused():
    atoms = slab()
    atoms.rotate(20, "x", rotate_cell=True)
    with pytest.raises(ValueError, match="turn the structure"):
        relax_in_place(atoms, AseRelaxation(cell="in-plane"))
    flat = slab()
    flat.cell[2] = 0
    with pytest.raises(ValueError, match="a third vector"):
        relax_in_place(flat, AseRelaxation(cell="in-plane"))


def test_pressure_on_a_cell_that_stays_is_refused():
    for change in ("none", "in-plane"):
        with pytest.raises(ValueError, match="pressure 5 GPa needs a cell"):
            AseRelaxation(cell=change, pressure=5.0)


def test_fixed_atoms_stay_and_stay_fixed():
    atoms = ase.build.molecule("H2O")
    atoms.rattle(0.1, seed=3)
    atoms.set_constraint(FixAtoms([0]))
    atoms.calc = EMT()
    before = atoms.positions[0].copy()
    found = relax_in_place(atoms, AseRelaxation(fmax=0.01))
    assert found.converged
    assert found.largest_force < 0.01
    assert found.energy_change < 0
    np.testing.assert_array_equal(atoms.positions[0], before)
    (constraint,) = atoms.constraints
    assert isinstance(constraint, FixAtoms)


def test_every_step_is_in_trajectory_and_log_and_older_ones_are_gone(tmp_path):
    trajectory, log = tmp_path / "run.traj", tmp_path / "run.log"
    trajectory.write_text("old")
    log.write_text("old")
    atoms = slab()
    how = AseRelaxation(fmax=0.02, cell="in-plane")
    found = relax_in_place(atoms, how, trajectory, log)
    frames: Any = ase.io.read(trajectory, ":")
    assert len(frames) == found.steps + 1
    np.testing.assert_allclose(frames[-1].positions, atoms.positions)
    np.testing.assert_allclose(frames[-1].get_forces(), atoms.get_forces())
    assert len(frames[0]) == len(atoms)
    text = log.read_text()
    assert "old" not in text
    assert text.count("\n") == found.steps + 2


class Exploding(Calculator):
    """Finite forces once, and not any more."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (as ASE declares it)
    calls = 0

    def calculate(self, atoms: Any = None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        forces = np.full((len(atoms), 3), 0.5 if self.calls < 2 else np.nan)
        self.results = {"energy": 1.0, "forces": forces}


def test_energies_that_are_not_finite_end_a_relaxation():
    atoms = ase.build.molecule("H2O")
    atoms.calc = Exploding()
    with pytest.raises(ValueError, match="no longer finite"):
        relax_in_place(atoms, AseRelaxation())


class TestSymmetry:
    """The space group of the beginning is kept, to the last digit."""

    @pytest.fixture(autouse=True)
    def _spglib(self):
        self.spglib: Any = pytest.importorskip("spglib", reason="spglib is not installed")

    def group_of(self, atoms) -> int:
        cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
        return self.spglib.get_symmetry_dataset(cell, symprec=1e-5).number

    def test_symmetry_that_rounding_hid_is_restored_and_kept(self):
        atoms = ase.build.bulk("Cu", a=3.8, cubic=True)
        atoms.numbers[0] = 79
        atoms.rattle(1e-3, seed=1)
        plain, kept = atoms.copy(), atoms.copy()
        how = {"fmax": 2e-3, "cell": "full"}
        for each, symmetry in ((plain, False), (kept, True)):
            each.calc = EMT()
            assert relax_in_place(each, AseRelaxation(**how, symmetry=symmetry)).converged
        assert self.group_of(plain) != 221
        assert self.group_of(kept) == 221
        assert kept.constraints == []
        lengths = kept.cell.lengths()
        np.testing.assert_allclose(lengths, lengths[0], atol=1e-9)

    def test_its_steps_can_be_written(self, tmp_path):
        atoms = copper()
        how = AseRelaxation(fmax=0.05, cell="full", symmetry=True)
        found = relax_in_place(atoms, how, tmp_path / "a.traj")
        assert len(ase.io.read(tmp_path / "a.traj", ":")) == found.steps + 1

    def test_a_molecule_without_a_cell_has_no_space_group(self):
        atoms = ase.build.molecule("H2O")
        atoms.calc = EMT()
        with pytest.raises(ValueError, match="leave out --symmetry"):
            relax_in_place(atoms, AseRelaxation(symmetry=True))


def test_symmetry_without_spglib_says_what_to_install(monkeypatch):
    monkeypatch.setattr("tensornet_jax.md.relaxation_settings.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"tensornet_jax\[symmetry\]"):
        AseRelaxation(symmetry=True)
