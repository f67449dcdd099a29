import ase.build
import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT


def test_relax_with_the_network_goes_downhill(cli, model, frames_of):
    atoms = ase.build.molecule("H2O")
    ase.io.write("start.xyz", atoms, format="extxyz")
    result = cli("relax", model, "start.xyz", "end.xyz", "--steps", 2, "--fmax", 1e-9)
    assert result.exit_code == 1
    assert "1 of 1 not converged" in result.stderr
    _, steps, change, force, *_ = result.stdout.splitlines()[1].split()
    assert int(steps) == 2
    assert float(change) < 0
    (end,) = frames_of("end.xyz")
    written = np.linalg.norm(end.get_forces(), axis=1).max()
    assert written == pytest.approx(float(force), abs=1e-4)
    assert np.abs(end.positions - atoms.positions).max() > 1e-4


@pytest.mark.parametrize("optimizer", ["fire", "bfgs"])
def test_relax_reaches_fmax(cli, model, emt, frames_of, optimizer):
    atoms = ase.build.molecule("H2O")
    atoms.rattle(0.05, seed=2)
    ase.io.write("start.xyz", atoms, format="extxyz")
    result = cli(
        *("relax", model, "start.xyz", "end.xyz", "--fmax", 0.02, "--optimizer", optimizer)
    )
    assert result.exit_code == 0, result.stderr
    (end,) = frames_of("end.xyz")
    end.calc = EMT()
    assert np.linalg.norm(end.get_forces(), axis=1).max() < 0.02


def test_relax_cell_removes_the_stress(cli, model, emt, frames_of):
    ase.io.write("start.xyz", ase.build.bulk("Cu", a=3.8, cubic=True), format="extxyz")
    result = cli("relax", model, "start.xyz", "end.xyz", "--cell", "--fmax", 0.005)
    assert result.exit_code == 0, result.stderr
    (end,) = frames_of("end.xyz")
    assert end.cell.lengths() == pytest.approx(3.59, abs=0.02)
    end.calc = EMT()
    assert np.abs(end.get_stress()).max() < 1e-3


def test_relax_cell_of_a_molecule_is_refused(cli, model, molecules):
    result = cli("relax", model, molecules, "out.xyz", "--cell")
    assert result.exit_code == 2
    assert "leave out --cell" in result.stderr
