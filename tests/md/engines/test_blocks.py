"""Blocks of a fixed number of steps, as on a GPU: the same run as in one loop that ends itself."""

from typing import Any

import jax
import numpy as np
import pytest
from ase import units

from tensornet_jax.md import CSVR, NPT, NVE, Langevin, NoseHoover, Ramp, Record, Simulation, relax
from tensornet_jax.md.blocks import BLOCK, in_blocks, use_blocks
from tensornet_jax.md.engines import runners
from tensornet_jax.md.limits import SimulationError
from tensornet_jax.md.restart import load_restart, save_restart
from tensornet_jax.ops.kernels.choice import KernelMode, use_kernels
from tests.builders import ethanol, small_potential
from tests.md.analytic import analytic, argon, cluster, diatomic, network
from tests.tolerances import MD_SAME_PATH

BAROSTAT: dict[str, Any] = {"pressure_time": 300.0, "compressibility": 0.4}
ENSEMBLES = {
    "nve": NVE(temperature=300),
    "langevin": Langevin(temperature=200),
    "nose_hoover": NoseHoover(temperature=150),
    "csvr": CSVR(temperature=200),
    "npt": NPT(temperature=60, pressure=1.0, shape="full", **BAROSTAT),
    "ramps": NPT(
        temperature=Ramp(start=60, end=90, time=200.0),
        pressure=Ramp(start=0.5, end=1.5, time=200.0),
        **BAROSTAT,
    ),
}


@pytest.fixture
def on_device(monkeypatch):
    """Return a function that lets every structure count as large from now on, or none."""

    def choose(chosen):
        monkeypatch.setattr("tensornet_jax.md.lists.choice.lists_on_device", lambda count: chosen)

    return choose


def in_both_forms(run):
    """Return what a function returns where loops end themselves, and in blocks."""
    found = []
    for chosen in (False, True):
        with use_blocks(chosen):
            found.append(run())
    return found


def assert_same_path(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.step == theirs.step
        for name in ("positions", "velocities", "forces", "cell"):
            np.testing.assert_allclose(
                getattr(ours, name), getattr(theirs, name), rtol=0, atol=MD_SAME_PATH, err_msg=name
            )
        np.testing.assert_allclose(ours.conserved, theirs.conserved, rtol=1e-9)
        np.testing.assert_allclose(ours.temperature, theirs.temperature, rtol=1e-9)


def test_accelerators_and_kernels_compiled_ahead_get_blocks():
    modes: dict[KernelMode, bool] = {"auto": jax.default_backend() != "cpu", "on": True}
    for mode, chosen in modes.items():
        with use_kernels(mode):
            assert in_blocks() == chosen
            with use_blocks(not chosen):
                assert in_blocks() != chosen


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("nve", False),
        ("langevin", True),
        ("npt", False),
        pytest.param("nve", True, marks=pytest.mark.slow),
        pytest.param("langevin", False, marks=pytest.mark.slow),
        pytest.param("nose_hoover", False, marks=pytest.mark.slow),
        pytest.param("csvr", False, marks=pytest.mark.slow),
        pytest.param("npt", True, marks=pytest.mark.slow),
        pytest.param("ramps", False, marks=pytest.mark.slow),
    ],
)
def test_lists_that_run_out_within_a_block_change_nothing(name, device, on_device):
    on_device(device)
    # Lists of the host: replicas of several sizes, one of which has all its pairs.
    atoms = argon(3) if device else [argon(2), cluster(), argon(2, seed=3)]
    if name in ("npt", "ramps") and not device:
        atoms = [argon(2)]

    def run():
        samples = []
        potential = analytic("lennard_jones", cutoff=5.0)
        simulation = Simulation(potential, atoms, ENSEMBLES[name], timestep=5.0, skin=0.5)
        simulation.run(3 * BLOCK + 3, interval=2 * BLOCK + 1, observers=[samples.append])
        simulation.run(7, interval=7, observers=[samples.append])
        assert simulation.engine.lists.on_device == device
        return simulation, samples

    (loop, expected), (blocks, found) = in_both_forms(run)
    assert blocks.num_rebuilds > 2
    assert device or blocks.num_rebuilds == loop.num_rebuilds
    assert_same_path(found, expected)


def test_a_limit_reached_within_a_block_stops_at_the_same_step_with_the_same_words():
    def run():
        molecule = diatomic()
        molecule.positions[1, 2] = 2.0
        told = []
        for name, start, options in (
            ("spring", molecule, {"timestep": 0.1, "max_temperature": 1000}),
            ("lennard_jones", argon(1, rattle=0.01), {"timestep": 250, "max_temperature": 1e9}),
        ):
            samples = []
            simulation = Simulation(analytic(name), start, NVE(temperature=2), **options)
            with pytest.raises(SimulationError) as error:
                simulation.run(1000, interval=25, observers=[samples.append])
            assert error.value.step == simulation.step == samples[-1].step
            told.append((str(error.value), samples))
        return told

    for (words, samples), (ours, found) in zip(*in_both_forms(run), strict=True):
        assert ours == words
        assert samples[-1].step % BLOCK
        assert_same_path(found, samples)


def test_a_run_that_cannot_start_says_so_in_blocks():
    potential = analytic("lennard_jones").replace(energy_scale=float("nan"))
    with use_blocks(True):
        simulation = Simulation(potential, cluster(), Langevin(), timestep=1)
        with pytest.raises(SimulationError, match="cannot start: structure 0 has an energy"):
            simulation.run(10)


def test_an_atom_that_wanders_off_is_taken_home_between_blocks(on_device):
    on_device(True)
    atoms = argon(2, rattle=0.0)[:3]
    atoms.set_velocities([[1.0, 0.3, 0.0]] + [[0.0, 0.0, 0.0]] * 2)
    potential = analytic("lennard_jones", cutoff=2.0, dtype="float32")
    options: dict[str, Any] = {
        "velocities": "keep",
        "max_displacement": 2.0,
        "timestep": 10.0,
        "skin": 1.0,
    }
    with use_blocks(True):
        simulation = Simulation(potential, atoms, NVE(), **options)
        (final,) = simulation.run(600)
    path = atoms.positions[0] + 600 * 10 * units.fs * np.array([1.0, 0.3, 0.0])
    np.testing.assert_allclose(final.positions[0], path, rtol=0, atol=0.05)
    assert np.abs(np.asarray(simulation.engine.state.positions)).max() < 40
    assert 1 < simulation.engine.lists.num_rebuilds < simulation.num_rebuilds


def test_records_are_those_of_the_same_steps():
    potential = small_potential(num_layers=0, num_radial=4, heads=("energy", "dipole"))

    def run():
        samples = []
        record = Record(properties=("dipole",), interval=3)
        simulation = Simulation(potential, ethanol(), NVE(), timestep=0.5, record=record)
        simulation.run(2 * BLOCK + 4, interval=BLOCK + 2, observers=[samples.append])
        return samples

    expected, found = in_both_forms(run)
    assert_same_path(found, expected)
    recorded = [[each.records for each in run if each.records] for run in (expected, found)]
    for theirs, ours in zip(*recorded, strict=True):
        np.testing.assert_array_equal(ours.step, theirs.step)
        np.testing.assert_allclose(ours.temperature, theirs.temperature, rtol=1e-9)
        np.testing.assert_allclose(ours.values["dipole"], theirs.values["dipole"], atol=1e-9)


def test_samples_a_few_steps_apart_are_those_of_the_same_steps():
    def run():
        samples = []
        simulation = Simulation(analytic("spring"), diatomic(), NVE(), timestep=0.1)
        simulation.run(6, interval=2, observers=[samples.append])
        return samples

    expected, found = in_both_forms(run)
    assert [sample.step for sample in found] == [0, 2, 4, 6]
    assert_same_path(found, expected)


@pytest.mark.parametrize("device", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_in_blocks_restarts_bitwise(device, on_device, tmp_path):
    on_device(device)

    def run(steps, restart=None):
        potential = analytic("lennard_jones", cutoff=5.0)
        options: dict[str, Any] = {"timestep": 5.0, "skin": 0.5}
        simulation = Simulation(potential, argon(3 if device else 2), ENSEMBLES["nve"], **options)
        if restart is not None:
            load_restart(restart, simulation)
        simulation.run(steps, interval=15)
        return simulation

    with use_blocks(True):
        whole, first = run(60), run(30)
        save_restart(tmp_path / "run.restart", first)
        second = run(30, tmp_path / "run.restart")
    assert whole.num_rebuilds > 3
    np.testing.assert_array_equal(whole.sample().positions, second.sample().positions)
    np.testing.assert_array_equal(whole.sample().velocities, second.sample().velocities)


@pytest.mark.parametrize("optimizer", ["fire", pytest.param("lbfgs", marks=pytest.mark.slow)])
def test_a_relaxation_ends_at_the_same_step(optimizer):
    potential = analytic("lennard_jones")

    def run():
        return relax(potential, [cluster(0), cluster(1)], fmax=1e-3, optimizer=optimizer)

    expected, found = in_both_forms(run)
    assert found.converged.all()
    np.testing.assert_array_equal(found.steps, expected.steps)
    assert found.steps.max() % BLOCK
    np.testing.assert_allclose(found.energy_change, expected.energy_change, rtol=1e-9)


def test_a_block_has_no_loop_whose_length_only_the_device_knows():
    """A whole program, with random numbers of all kinds and records."""
    traced = []
    run_block = runners.run_block

    def spy(*arguments):
        traced.append(str(run_block.trace(*arguments).jaxpr))
        return run_block(*arguments)

    with use_blocks(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(runners, "run_block", spy)
        Simulation(network(), [ethanol()], CSVR(), timestep=0.5).run(BLOCK)
    assert traced
    for program in traced:
        assert "scan[" in program
        assert "while[" not in program
