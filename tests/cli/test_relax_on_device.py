"""`tensornet-jax relax --engine device`: the same outputs as ASE's optimizers, many at once."""

import json
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
from ase import units
from ase.constraints import FixInternals

import tensornet_jax.md.relaxers as relaxers
from tensornet_jax.models import MODELS
from tensornet_jax.potential.model_file import save_model
from tests.md.analytic import ANALYTIC, analytic, argon, cluster


@pytest.fixture
def argons(monkeypatch, tmp_path):
    """Return the path of a model of argon that has minima."""
    for name, entry in ANALYTIC.items():
        monkeypatch.setitem(MODELS, name, entry)
    path = tmp_path / "argon.safetensors"
    save_model(path, analytic("lennard_jones", cutoff=5.0))
    return path


@pytest.fixture
def clusters(tmp_path):
    """Return the path of three clusters near one minimum."""
    path = tmp_path / "clusters.xyz"
    ase.io.write(path, [cluster(seed) for seed in range(3)], format="extxyz")
    return path


def on_device(cli, *arguments):
    return cli("relax", *arguments, "--engine", "device")


def test_both_engines_reach_the_same_minima(cli, argons, clusters, frames_of):
    options = ("--fmax", 1e-4)
    result = on_device(cli, argons, clusters, "device.xyz", *options)
    assert result.exit_code == 0, result.stderr
    assert cli("relax", argons, clusters, "ase.xyz", *options).exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()[1:4]]
    starts = frames_of(clusters)
    potential = analytic("lennard_jones", cutoff=5.0)
    for row, start, ours, theirs in zip(
        rows, starts, frames_of("device.xyz"), frames_of("ase.xyz"), strict=True
    ):
        assert ours.info["converged"]
        assert np.linalg.norm(ours.get_forces(), axis=1).max() <= 1e-4
        assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(ours.get_all_distances(), theirs.get_all_distances(), atol=2e-3)
        (before,) = potential.evaluate(start)
        change = ours.get_potential_energy() - before["energy"]
        assert float(row[2]) == pytest.approx(change, abs=1e-4)
        assert set(ours.calc.results) == set(theirs.calc.results)


@pytest.mark.parametrize(
    ("cell", "pressure"), [("full", 0.5), ("isotropic", 0.0), ("in-plane", 0.0)]
)
def test_both_engines_relax_the_same_cells(cli, argons, frames_of, cell, pressure):
    start = argon(1, rattle=0.02, a=5.2)
    if cell == "in-plane":
        start = ase.build.fcc100("Ar", (1, 1, 2), a=5.2, vacuum=5.0)
        start.pbc = (True, True, False)
        start.info = {}
    ase.io.write("start.xyz", start, format="extxyz")
    options = ("--cell-change", cell, "--pressure", pressure, "--fmax", 1e-4)
    for engine in ("device", "ase"):
        result = cli("relax", argons, "start.xyz", f"{engine}.xyz", *options, "--engine", engine)
        assert result.exit_code == 0, result.stderr
    (ours,), (theirs,) = frames_of("device.xyz"), frames_of("ase.xyz")
    np.testing.assert_allclose(ours.cell.cellpar(), theirs.cell.cellpar(), rtol=2e-4)
    assert abs(ours.cell.array - start.cell.array).max() > 1e-2
    if cell == "in-plane":
        np.testing.assert_array_equal(ours.cell.array[2], start.cell.array[2])
    elif cell == "full":
        stress = -ours.get_stress(voigt=False) / units.GPa
        np.testing.assert_allclose(stress, pressure * np.eye(3), atol=2e-3)


def test_bad_structures_are_named_and_the_others_of_their_batch_relaxed(
    cli, argons, frames_of, monkeypatch
):
    frames = [cluster(seed) for seed in range(4)]
    frames[1].numbers[0] = 92
    frames[2].positions[1] = frames[2].positions[0]
    ase.io.write("some.xyz", frames, format="extxyz")
    result = on_device(cli, argons, "some.xyz", "out.xyz", "--fmax", 0.01)
    assert result.exit_code == 1
    assert "some.xyz:1: element U is not in the model" in result.stderr
    assert "some.xyz:2: " in result.stderr
    assert [each.info["input_index"] for each in frames_of("out.xyz")] == [0, 3]


def test_an_interrupted_run_keeps_the_batches_that_were_finished(
    cli, argons, clusters, frames_of, monkeypatch
):
    relax, calls = relaxers.relax, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return relax(*arguments, **options)

    monkeypatch.setattr(relaxers, "relax", interrupted)
    arguments = (argons, clusters, "out.xyz", "--fmax", 0.01, "--batch-size", 2)
    result = on_device(cli, *arguments)
    assert result.exit_code == 130
    assert "2 of 3 structures are in out.xyz" in result.stderr
    assert [each.info["input_index"] for each in frames_of("out.xyz")] == [0, 1]
    result = on_device(cli, *arguments, "--resume")
    assert result.exit_code == 0, result.stderr
    assert [each.info["input_index"] for each in frames_of("out.xyz")] == [0, 1, 2]
    other = cli("relax", *arguments[:5], "--optimizer", "lbfgs", "--resume")
    assert other.exit_code == 2
    assert "was made with another engine (device, now None)" in other.stderr


def test_every_step_is_written_where_asked(cli, argons, clusters, frames_of):
    files = ("--trajectory", "way.traj", "--log", "way.log")
    result = on_device(cli, argons, clusters, "out.xyz", "--fmax", 0.01, *files)
    assert result.exit_code == 0, result.stderr
    starts = frames_of(clusters)
    for index, end in enumerate(frames_of("out.xyz")):
        steps = int(result.stdout.splitlines()[1 + index].split()[1])
        frames = frames_of(f"way_{index}.traj")
        assert len(frames) == steps + 1
        np.testing.assert_allclose(frames[0].positions, starts[index].positions, atol=1e-10)
        np.testing.assert_allclose(frames[-1].positions, end.positions, atol=1e-7)
        header, *lines = Path(f"way_{index}.log").read_text("utf-8").splitlines()
        assert header.split() == ["Step", "Time", "Energy", "fmax"]
        assert len(lines) == steps + 1
        assert float(lines[-1].split()[-1]) <= 0.01
    # How a run is looked at changes nothing of it.
    assert on_device(cli, argons, clusters, "blind.xyz", "--fmax", 0.01).exit_code == 0
    for one, other in zip(frames_of("out.xyz"), frames_of("blind.xyz"), strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)


def test_too_few_steps_are_told(cli, argons, clusters, frames_of):
    result = on_device(cli, argons, clusters, "out.xyz", "--fmax", 1e-6, "--steps", 2)
    assert result.exit_code == 1
    assert "3 of 3 not converged" in result.stderr
    assert not any(each.info["converged"] for each in frames_of("out.xyz"))
    settings = json.loads(Path("out.xyz.run.json").read_text("utf-8"))["settings"]
    assert settings["engine"] == "device"
    assert settings["optimizer"] == "lbfgs"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--optimizer", "bfgs"], "engine device has no optimizer bfgs (it has lbfgs, fire): use"),
        (["--symmetry"], "engine device has no relaxation that keeps the symmetry: use --engine"),
        (["--cell"], "leave out --cell"),
        (["--cell-change", "in-plane"], "not periodic in 2 directions"),
        (["--pressure", "1"], "needs a cell that relaxes"),
    ],
)
def test_what_the_device_cannot_do_is_refused_with_a_remedy(cli, argons, options, problem):
    pytest.importorskip("spglib")
    ase.io.write("one.xyz", cluster(), format="extxyz")
    result = on_device(cli, argons, "one.xyz", "out.xyz", *options)
    assert result.exit_code == 2
    assert problem in result.stderr
    assert not Path("out.xyz").exists()


def test_other_constraints_are_sent_to_ase(cli, argons):
    atoms = cluster()
    atoms.set_constraint(FixInternals(bonds=[[3.8, [0, 1]]]))
    ase.io.write("one.traj", atoms)
    result = on_device(cli, argons, "one.traj", "out.xyz")
    assert "only FixAtoms" in result.stderr
    assert "--engine ase" in result.stderr


def test_engines_and_batches_are_checked(cli, argons, clusters):
    result = cli("relax", argons, clusters, "out.xyz", "--engine", "devise")
    assert "unknown engine 'devise'; did you mean 'device'?" in result.stderr
    result = cli("relax", argons, clusters, "out.xyz", "--batch-size", 2)
    assert "engine ase has no relaxation of several structures at once" in result.stderr
