"""Input scripts of LAMMPS with a potential, on one process and on several."""

import contextlib
import os
import re
import signal
import threading
import time
from pathlib import Path

import ase
import ase.build
import ase.io
import numpy as np
import pytest
from ase import units
from ase.io.lammpsdata import write_lammps_data
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from tensornet_jax.calculator.ase_calculator import Calculator
from tensornet_jax.potential.model_file import save_model
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.run import train
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
        "minimize 0 1e-3 5 10\n"
        "write_dump all custom relaxed.dump id x y z fx fy fz modify sort id format float %.12g\n"
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
    before = atoms.get_potential_energy()
    relaxed = np.loadtxt(folder / "relaxed.dump", skiprows=9)
    atoms.positions[:] = relaxed[:, 1:4]
    np.testing.assert_allclose(relaxed[:, 4:], atoms.get_forces(), atol=1e-8)
    assert atoms.get_potential_energy() < before - 1e-4
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


@lammps_is_installed
@pytest.mark.parametrize("count", [1, 2])
def test_atoms_without_ids_are_refused(folder, count):
    (folder / "in.box").write_text(
        "units metal\natom_style atomic\natom_modify id no\nlattice diamond 3.7\n"
        "region box block 0 2 0 2 0 2\ncreate_box 2 box\ncreate_atoms 1 box\nmass * 12.0\n"
        "fix potential all tensornet C O\nrun 0\n",
        encoding="utf-8",
    )
    arguments = ("-c", COMMAND, "lammps", "model.safetensors", "in.box", *QUIET)
    run = launched(count, *arguments, cwd=folder)
    assert run.returncode != 0
    assert "leave atom_modify id yes" in run.stderr


@lammps_is_installed
def test_a_killed_process_ends_the_run(folder):
    write_script(folder, "fix integrator all nve\nthermo 1\nthermo_modify flush yes\nrun 1000000")
    arguments = ("-c", COMMAND, "lammps", "model.safetensors", "in.box", "--", "-log", "run.log")
    killer = threading.Thread(target=_kill_one_when_running, args=(folder / "run.log",))
    killer.start()
    run = launched(2, *arguments, "-screen", "none", cwd=folder)
    killer.join()
    assert run.returncode != 0


def _kill_one_when_running(log: Path) -> None:
    """Kill one process that writes or reads in the folder of a log, after the first steps."""
    end = time.monotonic() + 200
    while time.monotonic() < end and not (
        log.exists() and re.search(r"^ +3 ", log.read_text(encoding="utf-8"), re.M)
    ):
        time.sleep(0.2)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if (process / "cwd").resolve() == log.parent and b"lammps" in words:
                os.kill(int(process.name), signal.SIGKILL)
                return


def drift_of(energies: np.ndarray) -> float:
    """Return by how much energies go up in the whole time, meV."""
    steps = np.linspace(0, 1, len(energies))
    return 1000 * float(np.polyfit(steps, energies, 1)[0])


@lammps_is_installed
@pytest.mark.slow
def test_energy_is_conserved_on_two_processes_as_well_as_in_ase(tmp_path, monkeypatch, shared_data):
    monkeypatch.chdir(tmp_path)
    # Of random weights crystals melt; these hold one, and take seconds to train.
    config = {
        "directory": "run",
        "data": {"train": str(shared_data("mlearn/Si_train.xyz")), "validation": 0.1},
        "model": {
            "name": "tensornet",
            "num_channels": 16,
            "num_layers": 0,
            "num_radial": 8,
            "cutoff": 4.5,
        },
        "loss": {"energy": {"weight": 1.0}, "forces": {"weight": 10.0}},
        "training": {"epochs": 40, "batch_size": 8},
    }
    train(RunConfig.model_validate(config))
    atoms = ase.build.bulk("Si", "diamond", a=5.47, cubic=True).repeat(4)
    atoms.calc = Calculator("run/model.safetensors", dtype="float64")
    thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(0))
    Stationary(atoms)
    write_lammps_data(
        "box.data", atoms, specorder=["Si"], units="metal", masses=True, velocities=True
    )
    write_script(
        tmp_path,
        "timestep 0.001\nfix integrator all nve\n"
        "thermo 20\nthermo_style custom step temp pe etotal\nthermo_modify format float %.10f\n"
        "run 2000",
        "fix potential all tensornet Si",
    )
    arguments = ("-c", COMMAND, "lammps", "run/model.safetensors", "in.box", "--dtype", "float64")
    options = ("--", "-log", "run.log", "-screen", "none")
    run = launched(2, *arguments, *options, cwd=tmp_path, timeout=1200, optimized=True)
    assert run.returncode == 0, run.stderr
    rows = re.findall(r"^ +(\d+) +(\S+) +(\S+) +(\S+)$", Path("run.log").read_text(), re.M)
    there = np.array([float(row[3]) for row in rows]) / len(atoms)
    temperatures = np.array([float(row[1]) for row in rows])
    here = []
    dynamics = VelocityVerlet(atoms, units.fs)
    dynamics.attach(lambda: here.append(atoms.get_total_energy() / len(atoms)), interval=20)
    dynamics.run(2000)
    assert len(there) == len(here) == 101
    # Half of the kinetic energy goes into vibrations, and the crystal stays one.
    assert 250 < temperatures[50:].mean() < 350
    np.testing.assert_allclose(there[:5], here[:5], rtol=0, atol=1e-6)
    drifts = [drift_of(energies) for energies in (there, np.array(here))]
    assert abs(np.array(drifts)).max() < 0.02
    assert abs(drifts[0] - drifts[1]) < 0.01
    assert there.std() < 1.2 * np.std(here)
