"""Going on is the same as never having stopped, to the last bit, and every frame is there once."""

from typing import Any

import ase.io
import h5py
import numpy as np
import pytest

from tensornet_jax.md import CSVR, NPT, NVE, Langevin, NoseHoover, Simulation, SimulationError
from tensornet_jax.md.output.recorder import Recorder
from tensornet_jax.md.restart import RestartError, load_restart, save_restart
from tests.builders import ethanol
from tests.md.analytic import analytic, argon, cluster, network

ENSEMBLES = {
    "nve": NVE(temperature=80),
    "langevin": Langevin(temperature=80),
    "nose_hoover": NoseHoover(temperature=80),
    "csvr": CSVR(temperature=80),
    "npt": NPT(temperature=80, shape="full", pressure_time=300.0),
}
# The one with most variables; Langevin dynamics of a network is a test of its own.
QUICK = ("npt",)
FORMATS = ("extxyz", "traj", "hdf5")


def frames_of(path) -> list[ase.Atoms]:
    frames = ase.io.read(path, ":")
    assert isinstance(frames, list)
    return frames


def simulation_of(ensemble, seed=0, timestep=5.0):
    structures = [argon(2, seed=seed), argon(2, seed=seed + 1)]
    potential = analytic("lennard_jones", cutoff=5.0)
    return Simulation(potential, structures, ensemble, timestep=timestep, skin=0.4)


def assert_identical(a, b):
    one, other = a.sample(), b.sample()
    assert one.step == other.step
    for name in ("positions", "velocities", "forces", "cell", "potential_energy", "conserved"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in ENSEMBLES],
)
def test_k_steps_and_k_more_after_a_restart_are_two_k_steps_bitwise(name, tmp_path):
    ensemble = ENSEMBLES[name]
    whole = simulation_of(ensemble)
    whole.run(120)
    assert whole.num_rebuilds > 2
    first = simulation_of(ensemble)
    first.run(60)
    save_restart(tmp_path / "run.restart", first)
    second = simulation_of(ensemble)
    load_restart(tmp_path / "run.restart", second)
    assert_identical(first, second)
    second.run(60)
    assert_identical(whole, second)


def test_a_network_restarts_bitwise(tmp_path):
    def simulation():
        return Simulation(network(), ethanol(), Langevin(), timestep=0.5)

    whole, first, second = simulation(), simulation(), simulation()
    whole.run(40)
    first.run(20)
    save_restart(tmp_path / "run.restart", first)
    load_restart(tmp_path / "run.restart", second)
    second.run(20)
    assert_identical(whole, second)


def recorded(folder, name, steps, *, formats=FORMATS, restart_every=None, **options):
    simulation = simulation_of(Langevin(temperature=60), **options)
    with Recorder(simulation, folder / name, formats, restart_every=restart_every) as recorder:
        simulation.run(steps - simulation.step, interval=10, observers=[recorder])
    return simulation


def contents(folder, name):
    """Return everything a run has written, as arrays and text."""
    found = {"log": (folder / f"{name}.csv").read_text(encoding="utf-8")}
    for index in range(2):
        stem = f"{name}-{index:03d}"
        found[f"xyz{index}"] = (folder / f"{stem}.xyz").read_text(encoding="utf-8")
        frames = frames_of(folder / f"{stem}.traj")
        found[f"traj{index}"] = [
            (a.info["step"], a.positions.tolist(), a.get_momenta().tolist(), a.cell.array.tolist())
            for a in frames
        ]
    with h5py.File(folder / f"{name}.h5") as file:
        file.visititems(
            lambda path, item: (
                found.update({path: np.asarray(item).tolist()})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def test_a_resumed_run_leaves_the_files_of_an_uninterrupted_one(tmp_path):
    recorded(tmp_path, "whole", 60)
    recorded(tmp_path, "parts", 30)
    recorded(tmp_path, "parts", 60)
    assert contents(tmp_path, "whole") == contents(tmp_path, "parts")
    steps = [a.info["step"] for a in frames_of(tmp_path / "parts-001.xyz")]
    assert steps == [0, 10, 20, 30, 40, 50, 60]


def test_frames_written_after_the_restart_file_are_not_there_twice(tmp_path):
    """A run killed at step 50, whose last restart file is of step 40."""
    recorded(tmp_path, "whole", 60)
    simulation = simulation_of(Langevin(temperature=60))
    recorder = Recorder(simulation, tmp_path / "killed", FORMATS, restart_every=20)
    simulation.run(50, interval=10, observers=[recorder])
    recorder.close()
    assert len(frames_of(tmp_path / "killed-000.traj")) == 6
    resumed = recorded(tmp_path, "killed", 60)
    assert resumed.step == 60
    assert contents(tmp_path, "whole") == contents(tmp_path, "killed")


def test_formats_are_read_back_with_energies_forces_and_velocities(tmp_path):
    simulation = recorded(tmp_path, "run", 20)
    for index, final in enumerate(simulation.atoms):
        for suffix, digits in ((".xyz", 1e-7), (".traj", 1e-13)):
            frames = frames_of(tmp_path / f"run-{index:03d}{suffix}")
            assert len(frames) == 3
            last = frames[-1]
            np.testing.assert_allclose(last.positions, final.positions, atol=digits)
            np.testing.assert_allclose(last.get_velocities(), final.get_velocities(), atol=digits)
            np.testing.assert_allclose(last.get_forces(), final.get_forces(), atol=digits)
            assert last.get_potential_energy() == pytest.approx(final.get_potential_energy())
            assert last.info["time_fs"] == pytest.approx(100)
        with h5py.File(tmp_path / "run.h5") as file:
            group: Any = file[f"{index:03d}"]
            np.testing.assert_array_equal(group["positions"][-1], final.positions)
            assert group["positions"].shape == (3, 32, 3)
            np.testing.assert_array_equal(group["step"], [0, 10, 20])


def test_an_explosion_leaves_readable_files_and_a_restart_of_the_last_good_state(tmp_path):
    simulation = Simulation(
        analytic("lennard_jones"),
        cluster(),
        NVE(temperature=2),
        timestep=250,
        max_temperature=1e9,
        max_displacement=1.0,
    )
    with (
        pytest.raises(SimulationError),
        Recorder(simulation, tmp_path / "run", FORMATS) as recorder,
    ):
        simulation.run(1000, interval=5, observers=[recorder])
    for suffix in (".xyz", ".traj"):
        frames = frames_of(tmp_path / f"run{suffix}")
        assert frames[-1].info["step"] == simulation.step
        assert np.isfinite(frames[-1].positions).all()
    again = Simulation(analytic("lennard_jones"), cluster(), NVE(temperature=2), timestep=250)
    load_restart(tmp_path / "run.restart", again)
    assert_identical(simulation, again)


def test_an_error_of_the_disk_reaches_the_simulation(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("tensornet_jax.md.output.trajectory.ExtxyzSink.write", full)
    simulation = simulation_of(NVE(temperature=20))
    recorder = Recorder(simulation, tmp_path / "run", ("extxyz",))
    with pytest.raises(OSError, match="cannot be written: no space left"), recorder:
        simulation.run(100, interval=1, observers=[recorder])


def test_another_simulation_is_refused_and_the_difference_named(tmp_path):
    path = tmp_path / "run.restart"
    first = simulation_of(Langevin(temperature=80))
    first.run(1)
    save_restart(path, first)
    for other, name in (
        (simulation_of(Langevin(temperature=90)), "ensemble"),
        (simulation_of(NVE(temperature=80)), "ensemble"),
        (simulation_of(Langevin(temperature=80), timestep=2.0), "timestep"),
    ):
        with pytest.raises(RestartError, match=f"another simulation: its {name} is"):
            load_restart(path, other)


def test_other_fixed_charges_are_another_simulation(tmp_path):
    potential = analytic("lennard_jones", cutoff=4.0, priors=[{"name": "coulomb", "cutoff": 6.0}])

    def simulation(charge):
        atoms = argon(2)
        atoms.set_initial_charges(charge * (-1.0) ** np.arange(len(atoms)))
        return Simulation(potential, atoms, NVE(temperature=80), timestep=1.0)

    save_restart(tmp_path / "run.restart", simulation(0.1))
    with pytest.raises(RestartError, match="another simulation: its charge of each atom is"):
        load_restart(tmp_path / "run.restart", simulation(0.2))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_restart_file_is_refused(tmp_path, damage):
    path = tmp_path / "run.restart"
    simulation = simulation_of(NVE(temperature=80))
    simulation.run(1)
    save_restart(path, simulation)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-100] ^= 1
    path.write_bytes({"truncated": content[:-9], "flipped": content, "empty": b""}[damage])
    with pytest.raises(RestartError, match="damaged"):
        load_restart(path, simulation)


def test_a_trajectory_that_has_lost_frames_is_not_continued(tmp_path):
    recorded(tmp_path, "run", 20, formats=("extxyz",))
    path = tmp_path / "run-000.xyz"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match="shorter than when the restart file was written"):
        recorded(tmp_path, "run", 40, formats=("extxyz",))


def test_other_formats_than_before_are_refused(tmp_path):
    recorded(tmp_path, "run", 20, formats=("extxyz",))
    with pytest.raises(ValueError, match="keep formats"):
        recorded(tmp_path, "run", 40, formats=("traj",))


def test_how_a_run_is_cut_into_chunks_changes_nothing(monkeypatch):
    whole = simulation_of(ENSEMBLES["npt"])
    whole.run(40)
    monkeypatch.setattr("tensornet_jax.md.engines.pace.FIRST_CHUNK", 3)
    monkeypatch.setattr("tensornet_jax.md.engines.pace.LONGEST_CHUNK", 0.0)
    parts = simulation_of(ENSEMBLES["npt"])
    parts.run(40)
    assert_identical(whole, parts)


def test_a_restart_file_is_there_from_the_first_sample_on(tmp_path):
    simulation = simulation_of(Langevin(temperature=60))
    recorder = Recorder(simulation, tmp_path / "run")
    simulation.run(20, interval=10, observers=[recorder])
    # As after a kill: nothing more is written.
    recorder.close()
    again = simulation_of(Langevin(temperature=60))
    with Recorder(again, tmp_path / "run") as recorder:
        assert recorder.resumed
        assert again.step == 0
        again.run(20, interval=10, observers=[recorder])
    assert [a.info["step"] for a in frames_of(tmp_path / "run-000.xyz")] == [0, 10, 20]
    assert_identical(simulation, again)
