"""Temperatures and pressures that change linearly along a run."""

import numpy as np
import pytest

from tensornet_jax.config import ConfigError, parse_config
from tensornet_jax.md import CSVR, NPT, Langevin, NoseHoover, Ramp, Simulation
from tensornet_jax.md.config import MDConfig
from tensornet_jax.md.restart import load_restart, save_restart
from tests.md.analytic import analytic, argon, cluster, diatomic
from tests.md.statistics import error_of_mean

RAMP = Ramp(start=100.0, end=500.0, time=4000.0)
ENSEMBLES = {
    "langevin": Langevin(temperature=RAMP, friction=0.05),
    "csvr": CSVR(temperature=RAMP, relaxation_time=20.0),
}


@pytest.mark.parametrize("name", ["langevin", "csvr"])
def test_a_ramp_passes_its_middle_and_ends_at_its_end_where_it_stays(name):
    samples = []
    simulation = Simulation(
        analytic("spring"),
        [diatomic()] * 64,
        ENSEMBLES[name],
        timestep=1.0,
        seed=4,
        # With one degree of freedom, a temperature is now and then twenty times its mean.
        max_temperature=1e6,
    )
    simulation.run(8000, interval=10, observers=[samples.append])
    temperatures = np.array([sample.temperature for sample in samples])
    times = np.array([sample.time for sample in samples])
    # While it rises, the molecule lags behind by what it takes to warm up.
    for begin, end, expected, lag in ((1800, 2200, 300, 10), (4200, 8000, 500, 0)):
        means = temperatures[(times >= begin) & (times <= end)].mean(axis=0)
        assert abs(means.mean() - expected) < 3 * error_of_mean(means) + lag


def pressed(**options):
    return NPT(
        temperature=Ramp(start=20.0, end=40.0, time=1000.0),
        pressure=Ramp(start=0.0, end=0.3, time=1000.0),
        shape="full",
        pressure_time=300.0,
        compressibility=0.4,
        **options,
    )


def crystal(ensemble):
    potential = analytic("lennard_jones", cutoff=5.0)
    return Simulation(potential, [argon(1), argon(1, seed=1)], ensemble, timestep=5.0)


def test_the_work_of_a_ramp_is_booked_and_the_crystal_is_compressed():
    samples = []
    crystal(pressed()).run(400, interval=2, observers=[samples.append])
    conserved = np.array([sample.conserved for sample in samples])
    # What P₀V alone changes by, were it not booked: 0.3 GPa of 150 Å³.
    assert np.ptp(conserved, axis=0).max() < 0.02 * 0.28
    volumes = np.array([np.abs(np.linalg.det(sample.cell)) for sample in samples])
    assert (volumes[-1] < volumes[0]).all()


def test_a_nose_hoover_chain_on_a_ramp_keeps_its_conserved_quantity():
    samples = []
    ensemble = NoseHoover(
        temperature=Ramp(start=10.0, end=40.0, time=2000.0), relaxation_time=100.0
    )
    simulation = Simulation(analytic("lennard_jones"), cluster(), ensemble, timestep=4.0)
    simulation.run(500, interval=5, observers=[samples.append])
    conserved = np.array([sample.conserved for sample in samples])
    energies = np.array([s.potential_energy + s.kinetic_energy for s in samples])
    assert np.ptp(conserved) < 0.02 * np.ptp(energies)


def test_a_restart_in_the_middle_of_a_ramp_goes_on_bitwise(tmp_path):
    whole, first, second = (crystal(pressed()) for _ in range(3))
    whole.run(60)
    first.run(30)
    save_restart(tmp_path / "run.restart", first)
    load_restart(tmp_path / "run.restart", second)
    second.run(30)
    for name in ("positions", "velocities", "cell", "conserved"):
        ours, theirs = getattr(second.sample(), name), getattr(whole.sample(), name)
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_a_ramp_lasts_as_long_as_the_run_unless_it_says_how_long():
    text = """
model: m.safetensors
structure: s.xyz
output: md
steps: 100
timestep: 2.0
replicas: 2
ensemble: {{name: csvr, temperature: {}}}
"""
    run = parse_config(text.format("{start: 100, end: [200, 300]}"), MDConfig)
    assert run.timed_ensemble().temperature == Ramp(start=100.0, end=(200.0, 300.0), time=200.0)
    run = parse_config(text.format("{start: 100, end: 200, time: 50}"), MDConfig)
    assert run.timed_ensemble().temperature == Ramp(start=100.0, end=200.0, time=50.0)
    for temperature, problem in (
        ("{start: 100}", "missing"),
        ("{start: 100, end: -5}", "must be greater than 0"),
        ("{start: 100, end: 200, tme: 5}", "did you mean 'time'"),
        ("{start: 100, end: [1, 2, 3]}", "3 numbers for 2 replicas"),
    ):
        with pytest.raises(ConfigError, match=problem):
            parse_config(text.format(temperature), MDConfig)
    with pytest.raises(ConfigError, match=r"ensemble\.temperature: a number is needed"):
        parse_config(text.format("{start: 1, end: 2}").replace("csvr", "nve"), MDConfig)


def test_a_simulation_wants_to_know_how_long_a_ramp_takes():
    with pytest.raises(ValueError, match="ramp of the temperature needs the time"):
        crystal(CSVR(temperature=Ramp(start=1.0, end=2.0)))
