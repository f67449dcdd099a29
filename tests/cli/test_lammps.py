"""Input scripts of LAMMPS with a potential, on one process and on several."""

import ase
import ase.build
import ase.io
import numpy as np
import pytest
from ase import units
from ase.io.lammpsdata import write_lammps_data
from ase.md.verlet import VelocityVerlet

from tensornet_jax.calculator.ase_calculator import Calculator
from tensornet_jax.potential.model_file import save_model
from tests.builders import small_potential
from tests.interop.lammps.launch import lammps_is_installed, launched

COMMAND = "from tensornet_jax.cli import app; app()"
QUIET = ("--", "-log", "none", "-screen", "none")


def crystal() -> ase.Atoms:
    atoms = ase.build.bulk("C", "diamond", a=3.7, cubic=True)
    atoms.symbols[0] = "O"
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a model and a box, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "model.safetensors", small_potential(num_layers=1, cutoff=3.0))
    write_lammps_data(
        tmp_path / "box.data",
        crystal(),
        specorder=["C", "O"],
        units="metal",
        masses=True,
    )
    return tmp_path


def write_script(folder, commands: str, fix: str = "fix potential all tensornet C O") -> None:
    (folder / "in.box").write_text(
        f"units metal\natom_style atomic\nread_data box.data\n{fix}\n{commands}\n",
        encoding="utf-8",
    )


@lammps_is_installed
def test_dynamics_and_minimization_are_those_of_ase(cli, folder):
    write_script(
        folder,
        "timestep 0.0005\nfix integrator all nve\nrun 20\n"
        "write_dump all custom moved.dump id x y z modify sort id format float %.12g\n"
        "minimize 0 1e-3 200 400\n"
        "write_dump all custom relaxed.dump id fx fy fz modify sort id\n"
        "label again\nvariable k loop 2\nrun 1\nnext k\njump SELF again\n"
        "print done file done.txt\n",
    )
    result = cli("lammps", "model.safetensors", "in.box", "--dtype", "float64", *QUIET)
    assert result.exit_code == 0, result.stderr
    atoms = crystal()
    atoms.calc = Calculator(folder / "model.safetensors", dtype="float64")
    VelocityVerlet(atoms, 0.5 * units.fs).run(20)
    found = np.loadtxt(folder / "moved.dump", skiprows=9)[:, 1:]
    shift = found - atoms.positions
    shift -= np.rint(shift / 3.7) * 3.7
    np.testing.assert_allclose(shift, 0, atol=1e-6)
    relaxed = np.loadtxt(folder / "relaxed.dump", skiprows=9)[:, 1:]
    assert abs(relaxed).max() < 0.2 * abs(atoms.get_forces()).max()
    assert (folder / "done.txt").exists()


@lammps_is_installed
@pytest.mark.parametrize(
    ("fix", "message"),
    [
        ("fix potential all tensornet C", "1 elements (C) for 2 atom types"),
        ("fix potential all tensornet C Xx", "Xx: no chemical symbol"),
        ("fix potential all tensornet C Fe", "element Fe (atom type 2) is not in the model"),
    ],
)
def test_types_that_are_no_elements_of_the_model_are_refused(cli, folder, fix, message):
    write_script(folder, "run 0", fix)
    result = cli("lammps", "model.safetensors", "in.box", *QUIET)
    assert result.exit_code == 2
    assert message in result.stderr


@lammps_is_installed
def test_what_lammps_refuses_is_told(cli, folder):
    write_script(folder, "no_such_command")
    result = cli("lammps", "model.safetensors", "in.box", *QUIET)
    assert result.exit_code == 2
    assert "in.box: " in result.stderr
    assert "Unknown command: no_such_command" in result.stderr
    write_script(folder, "run 0")
    (folder / "in.box").write_text("units lj\n" + (folder / "in.box").read_text()[12:])
    result = cli("lammps", "model.safetensors", "in.box", *QUIET)
    assert "LAMMPS runs in units lj" in result.stderr


@lammps_is_installed
@pytest.mark.parametrize(
    ("count", "fix", "commands", "message"),
    [
        (2, "fix potential all tensornet C NULL", "", "step 0: atoms have type 2, for which no"),
        (2, None, "comm_modify cutoff 4.0\n", "ghosts have to reach as far"),
        (1, None, "set atom 1*2 x 0.0 y 0.0 z 0.0\n", "apart"),
    ],
)
def test_a_run_without_forces_ends_on_all_processes(folder, count, fix, commands, message):
    write_script(
        folder, f"{commands}run 5\nprint done file done.txt", *(() if fix is None else (fix,))
    )
    arguments = ("-c", COMMAND, "lammps", "model.safetensors", "in.box", *QUIET)
    run = launched(count, *arguments, cwd=folder)
    assert run.returncode != 0
    assert message in run.stderr
    assert not (folder / "done.txt").exists()
