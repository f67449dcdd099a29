import json
from pathlib import Path
from typing import Any

import ase.build
import ase.io
import numpy as np
import pytest
from ase import units
from ase.calculators.emt import EMT

from tensornet_jax.models import MODELS
from tensornet_jax.potential.model_file import save_model
from tensornet_jax.potential.potential import ElementTable, create_potential
from tensornet_jax.runtime.locks import exclusive


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


# --- many structures, of which some are bad ------------------------------------------------------


@pytest.fixture
def some_bad(tmp_path):
    """Return a file of five structures; 1 has an element no model knows, 3 two atoms at a place."""
    frames = [ase.build.molecule("H2O") for _ in range(5)]
    for index, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=index)
    frames[1].numbers[0] = 92
    frames[3].positions[1] = frames[3].positions[2]
    path = tmp_path / "some.xyz"
    ase.io.write(path, frames, format="extxyz")
    return path


def indices(frames):
    return [atoms.info["input_index"] for atoms in frames]


def test_bad_structures_are_named_and_the_others_relaxed(cli, model, some_bad, frames_of):
    result = cli("relax", model, some_bad, "out.xyz", "--steps", 2, "--fmax", 10)
    assert result.exit_code == 1
    assert f"{some_bad}:1: element U is not in the model" in result.stderr
    assert f"{some_bad}:3: " in result.stderr
    assert "2 of 5 structures failed and are left out" in result.stderr
    frames = frames_of("out.xyz")
    assert indices(frames) == [0, 2, 4]
    for atoms in frames:
        assert atoms.info["converged"]
        assert "source" not in atoms.info
    failed = json.loads(Path("out.xyz.run.json").read_text("utf-8"))["failed"]
    assert [each["index"] for each in failed] == [1, 3]
    assert "element U" in failed[0]["reason"]


@pytest.mark.parametrize("command", ["relax", "predict"])
def test_structures_that_cannot_be_read_are_named_and_the_others_done(
    cli, model, emt, frames_of, command
):
    frames = [ase.build.molecule("H2O") for _ in range(4)]
    frames[1].info["charge"] = np.inf
    frames[2].positions[0] = np.nan
    ase.io.write("some.xyz", frames, format="extxyz")
    options = ("--fmax", 5) if command == "relax" else ()
    result = cli(command, model, "some.xyz", "out.xyz", *options)
    assert result.exit_code == 1, result.stderr
    assert "error: some.xyz:1: charge is inf" in result.stderr
    assert "error: some.xyz:2: positions or cell are not finite" in result.stderr
    assert "2 of 4 structures failed and are left out" in result.stderr
    assert indices(frames_of("out.xyz")) == [0, 3]


def test_a_bad_structure_changes_nothing_of_the_next(cli, model, some_bad, frames_of):
    options = ("--steps", 2, "--fmax", 1e-9)
    assert cli("relax", model, some_bad, "all.xyz", *options).exit_code == 1
    ase.io.write("last.xyz", frames_of(some_bad)[4], format="extxyz")
    assert cli("relax", model, "last.xyz", "one.xyz", *options).exit_code == 1
    last, (one,) = frames_of("all.xyz")[-1], frames_of("one.xyz")
    np.testing.assert_allclose(last.positions, one.positions, atol=1e-7)
    np.testing.assert_allclose(last.get_forces(), one.get_forces(), atol=1e-6)


def test_where_nothing_could_be_relaxed_nothing_is_written(cli, model, tmp_path):
    ase.io.write("bad.xyz", ase.Atoms("U2", [[0, 0, 0], [0, 0, 2.0]]), format="extxyz")
    result = cli("relax", model, "bad.xyz", "out.xyz")
    assert result.exit_code == 2
    assert "bad.xyz:0: element U" in result.stderr
    assert [path.name for path in tmp_path.glob("out*")] == []


def test_finished_work_is_overwritten_only_when_asked(cli, model, emt, molecules, frames_of):
    arguments = ("relax", model, molecules, "out.xyz", "--fmax", 0.5)
    assert cli(*arguments).exit_code == 0
    before = Path("out.xyz").read_bytes()
    result = cli(*arguments)
    assert result.exit_code == 2
    assert "out.xyz exists: --resume goes on" in result.stderr
    assert Path("out.xyz").read_bytes() == before
    assert cli(*arguments, "--resume").exit_code == 0
    assert Path("out.xyz").read_bytes() == before
    result = cli("relax", model, molecules, "out.xyz", "--fmax", 0.6, "--resume")
    assert result.exit_code == 2
    assert "was made with another fmax (0.5, now 0.6)" in result.stderr
    assert Path("out.xyz").read_bytes() == before
    assert cli("relax", model, molecules, "out.xyz", "--fmax", 0.6, "--force").exit_code == 0
    assert len(frames_of("out.xyz")) == 2
    both = cli(*arguments, "--force", "--resume")
    assert "give one of them" in both.stderr


@pytest.mark.parametrize("suffix", [".xyz", ".traj", ".db"])
def test_what_is_missing_is_done_and_what_is_there_stays(
    cli, model, emt, molecules, frames_of, suffix
):
    out = f"out{suffix}"
    frames = frames_of(molecules)
    # The first time one of two structures fails.
    ase.io.write("start.xyz", frames, format="extxyz")
    failing, fails = EMT.calculate, [True]

    def sometimes(self, atoms: Any = None, *arguments):
        if len(atoms) == 3 and fails:
            raise RuntimeError("out of memory")
        return failing(self, atoms, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EMT, "calculate", sometimes)
        result = cli("relax", model, "start.xyz", out, "--fmax", 0.5)
        assert result.exit_code == 1
        assert "start.xyz:0: out of memory" in result.stderr
        assert len(frames_of(out)) == 1
        fails.clear()
        result = cli("relax", model, "start.xyz", out, "--fmax", 0.5, "--resume")
    assert result.exit_code == 0, result.stderr
    assert "1 of 2 structures are in" in result.stdout
    assert [len(atoms) for atoms in frames_of(out)] == [5, 3]


def test_an_output_that_changed_its_input_does_not_go_on(cli, model, emt, molecules, frames_of):
    assert cli("relax", model, molecules, "out.xyz", "--fmax", 0.5).exit_code == 0
    frames = frames_of(molecules)
    frames[0].positions += 0.1
    ase.io.write(molecules, frames, format="extxyz")
    result = cli("relax", model, molecules, "out.xyz", "--fmax", 0.5, "--resume")
    assert result.exit_code == 2
    assert "was made with another input" in result.stderr
    Path("out.xyz.run.json").unlink()
    result = cli("relax", model, molecules, "out.xyz", "--fmax", 0.5, "--resume")
    assert "which says how it was made, is missing" in result.stderr


def test_an_output_is_written_by_one_process(cli, model, molecules, tmp_path):
    with exclusive(tmp_path / ".out.xyz.lock", "out.xyz", "wait"):
        result = cli("relax", model, molecules, "out.xyz")
    assert result.exit_code == 2
    assert "out.xyz is in use" in result.stderr


def test_interrupted_work_is_kept_and_told(cli, model, emt, molecules, frames_of, monkeypatch):
    calculate = EMT.calculate

    def interrupted(self, atoms: Any = None, *arguments):
        if len(atoms) == 5:
            raise KeyboardInterrupt
        return calculate(self, atoms, *arguments)

    monkeypatch.setattr(EMT, "calculate", interrupted)
    result = cli("relax", model, molecules, "out.xyz", "--fmax", 0.5)
    assert result.exit_code == 130
    assert "1 of 2 structures are in out.xyz" in result.stderr
    assert "--resume goes on" in result.stderr
    assert indices(frames_of("out.xyz")) == [0]


# --- what can be asked for -------------------------------------------------------------------


def test_a_model_with_tensors_relaxes_and_writes_them(cli, tmp_path, frames_of):
    config = MODELS["tensornet"][0].model_validate(
        {
            **{"num_channels": 4, "num_layers": 0, "num_radial": 4, "cutoff": 3.0},
            "tensors": ["polarizability", "shielding"],
        }
    )
    potential = create_potential(config, ElementTable((1, 8), np.zeros(2)), seed=0, dtype="float64")
    save_model(tmp_path / "tensors.safetensors", potential)
    ase.io.write("start.xyz", ase.build.molecule("H2O"), format="extxyz")
    arguments = ("--steps", 1, "--fmax", 1e-9)
    for suffix in (".xyz", ".traj"):
        result = cli("relax", "tensors.safetensors", "start.xyz", f"end{suffix}", *arguments)
        assert result.exit_code == 1
        assert "1 of 1 not converged" in result.stderr
        (end,) = frames_of(f"end{suffix}")
        (expected,) = potential.evaluate(end, ("polarizability", "shielding"))
        values = {**end.info, **end.arrays}
        for name, value in expected.items():
            found = np.reshape(values[f"predicted_{name}"], value.shape)
            np.testing.assert_allclose(found, value, atol=1e-6)


def test_every_structure_has_its_trajectory_and_log(cli, model, emt, molecules, crystal, frames_of):
    files = ("--trajectory", "way.traj", "--log", "way.log")
    arguments = ("relax", model, molecules, "out.xyz", "--fmax", 0.5, *files)
    result = cli(*arguments)
    assert result.exit_code == 0, result.stderr
    for index, end in enumerate(frames_of("out.xyz")):
        last = frames_of(f"way_{index}.traj")[-1]
        np.testing.assert_allclose(last.positions, end.positions, atol=1e-7)
        assert "BFGS" in Path(f"way_{index}.log").read_text()
    Path("out.xyz").unlink()
    assert "way_0.traj exists" in cli(*arguments).stderr
    Path("out.xyz.run.json").unlink()
    for _ in range(2):
        assert "way_0.traj exists" in cli(*arguments, "--resume").stderr
    assert cli(*arguments, "--force").exit_code == 0
    result = cli("relax", model, molecules, "b.xyz", "--trajectory", "way.xyz")
    assert "end its name in .traj" in result.stderr


def test_pressure_and_planes_reach_the_relaxation(cli, model, emt, frames_of):
    ase.io.write("start.xyz", ase.build.bulk("Cu", a=3.7, cubic=True), format="extxyz")
    pressed = ("--cell", "--pressure", 5, "--fmax", 0.01)
    assert cli("relax", model, "start.xyz", "end.xyz", *pressed).exit_code == 0
    (end,) = frames_of("end.xyz")
    assert -np.trace(end.get_stress(voigt=False)) / 3 / units.GPa == pytest.approx(5, abs=0.2)
    slab = ase.build.fcc100("Cu", (1, 1, 2), a=3.8, vacuum=5.0)
    slab.pbc = (True, True, False)
    slab.info = {}
    ase.io.write("slab.xyz", slab, format="extxyz")
    result = cli("relax", model, "slab.xyz", "s.xyz", "--cell-change", "in-plane", "--fmax", 0.05)
    assert result.exit_code == 0, result.stderr
    (end,) = frames_of("s.xyz")
    np.testing.assert_allclose(end.cell.array[2], slab.cell.array[2])
    assert end.cell.lengths()[0] < slab.cell.lengths()[0]
    result = cli("relax", model, "slab.xyz", "t.xyz", "--pressure", 1)
    assert "pressure 1 GPa needs a cell" in result.stderr


def test_formats_are_those_of_the_suffix(cli, model, emt, crystal, molecules, tmp_path):
    ase.io.write("one.xyz", ase.build.bulk("Cu", cubic=True), format="extxyz")
    assert cli("relax", model, "one.xyz", "POSCAR").exit_code == 0
    assert len(ase.io.read("POSCAR")) == 4
    result = cli("relax", model, molecules, "out.cif")
    assert "this format is written for one structure, and there are 2" in result.stderr
    result = cli("relax", model, molecules, "out.nonsense")
    assert "no format is known by this name" in result.stderr
    assert list(tmp_path.glob("out*")) == []
