"""Restart files outlive the version that wrote them, and belong to one run alone."""

import shutil
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest

from tensornet_jax.md import CSVR, Langevin, Simulation
from tensornet_jax.md.output.recorder import OutputExistsError, Recorder
from tensornet_jax.md.output.restart_file import FORMAT, read_restart
from tensornet_jax.md.restart import RestartError, load_restart, save_restart
from tensornet_jax.models import MODELS
from tests.md.analytic import LennardJones, LennardJonesConfig, analytic, argon

# Written by the first version of the package that had restart files: two replicas, 20 steps.
OLD = Path(__file__).parent / "data" / "version_1"


def simulation(model="lennard_jones", ensemble=None, **options):
    return Simulation(
        analytic(model, cutoff=4.5, **options),
        [argon(1, seed=0), argon(1, seed=1)],
        ensemble or Langevin(temperature=40, friction=0.02),
        timestep=4.0,
        skin=0.4,
    )


class LaterConfig(LennardJonesConfig):
    """The same model in a version of the package that has learned something new."""

    sharpness: float = 1.0


@pytest.fixture
def later(monkeypatch):
    """Put a model with a new setting in the place of the one that everybody knew."""
    monkeypatch.setitem(MODELS, "lennard_jones", (LaterConfig, LennardJones))


@pytest.fixture
def old(tmp_path):
    """Return the name of an old run's files, which may be changed."""
    shutil.copytree(OLD, tmp_path / "old")
    return tmp_path / "old" / "run"


def go_on(stem, run, steps=20):
    with Recorder(run, stem) as recorder:
        assert recorder.resumed
        run.run(steps, interval=10, observers=[recorder])


def test_a_run_of_the_first_version_goes_on_with_its_replicas(old):
    run = simulation()
    go_on(old, run)
    for index, atoms in enumerate(run.atoms):
        frames: Any = ase.io.read(f"{old}-{index:03d}.xyz", ":")
        assert [each.info["step"] for each in frames] == [0, 10, 20, 30, 40]
        np.testing.assert_allclose(frames[-1].positions, atoms.positions, atol=1e-7)
    whole = simulation()
    whole.run(40)
    np.testing.assert_allclose(run.sample().positions, whole.sample().positions, atol=1e-9)
    assert read_restart(Path(f"{old}.restart")).version == FORMAT.version


def test_a_run_of_the_first_version_goes_on_where_the_model_has_a_new_setting(old, later):
    go_on(old, simulation())


def test_another_model_is_told_from_that_of_a_run_of_the_first_version(old, later):
    before = {path.name: path.read_bytes() for path in old.parent.iterdir()}
    with pytest.raises(RestartError, match="belongs to another model: energy and forces"):
        Recorder(simulation(epsilon=0.011), old)
    with pytest.raises(RestartError, match="its ensemble is"):
        Recorder(simulation(ensemble=CSVR(temperature=40)), old)
    now = {path.name: path.read_bytes() for path in old.parent.iterdir() if path.suffix != ".lock"}
    assert before == now


def test_a_new_setting_at_its_default_leaves_a_restart_file_good(tmp_path, monkeypatch):
    path = tmp_path / "run.restart"
    first = simulation()
    first.run(2)
    save_restart(path, first)
    monkeypatch.setitem(MODELS, "lennard_jones", (LaterConfig, LennardJones))
    load_restart(path, simulation())
    with pytest.raises(RestartError, match=r'model is {"sharpness": null}, not'):
        load_restart(path, simulation(sharpness=2.0))


def test_a_setting_whose_default_has_changed_is_noticed(tmp_path, monkeypatch):
    path = tmp_path / "run.restart"
    first = simulation()
    first.run(2)
    save_restart(path, first)

    class Config(LennardJonesConfig):
        sigma: float = 3.5

    monkeypatch.setitem(MODELS, "lennard_jones", (Config, LennardJones))
    with pytest.raises(RestartError, match=r'model is {"sigma": 3.4}, not {"sigma": 3'):
        load_restart(path, simulation())


def test_a_trajectory_without_restart_file_is_left_alone_unless_told(tmp_path):
    stem = tmp_path / "run"
    run = simulation()
    with Recorder(run, stem) as recorder:
        run.run(10, interval=5, observers=[recorder])
    (tmp_path / "run.restart").unlink()
    before = (tmp_path / "run-001.xyz").read_bytes()
    with pytest.raises(OutputExistsError, match=r"run-000.xyz exists already.*resume: false"):
        Recorder(simulation(), stem)
    assert (tmp_path / "run-001.xyz").read_bytes() == before
    with Recorder(simulation(), stem, resume=False) as recorder:
        recorder.simulation.run(5, interval=5, observers=[recorder])
    assert len(ase.io.read(tmp_path / "run-001.xyz", ":")) == 2


@pytest.mark.parametrize("formats", [("extxyz",), ("traj",), ("hdf5",)])
def test_files_of_another_run_are_not_cut_by_a_restart_file_beside_them(tmp_path, formats):
    def written(name, seed):
        run = Simulation(
            analytic("lennard_jones", cutoff=4.5),
            argon(1, seed=seed),
            Langevin(temperature=40),
            timestep=4.0,
        )
        with Recorder(run, tmp_path / name, formats) as recorder:
            run.run(20 + 10 * seed, interval=5, observers=[recorder])

    written("mine", 0)
    written("other", 1)
    suffix = {"extxyz": ".xyz", "traj": ".traj", "hdf5": ".h5"}[formats[0]]
    foreign = tmp_path / f"mine{suffix}"
    shutil.copy(tmp_path / f"other{suffix}", foreign)
    size = foreign.stat().st_size
    with pytest.raises(ValueError, match="not the file that the restart file belongs to"):
        written("mine", 0)
    # HDF5 opens for writing what it cuts, but the rows are all there.
    assert foreign.stat().st_size == size


def test_nothing_is_written_before_the_first_sample(tmp_path):
    with Recorder(simulation(), tmp_path / "run"):
        pass
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}
