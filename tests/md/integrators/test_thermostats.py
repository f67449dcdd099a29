"""Each thermostat against the canonical distribution, in units of its own standard error."""

import numpy as np
import pytest
from ase import units
from ase.constraints import FixAtoms

from tensornet_jax.md import CSVR, NVE, Langevin, NoseHoover, Simulation
from tests.md.analytic import analytic, argon, cluster, diatomic
from tests.md.statistics import drift_in_errors, error_of_mean

TEMPERATURE = 30.0
ENSEMBLES = {
    "langevin": Langevin(temperature=TEMPERATURE, friction=0.01),
    "nose_hoover": NoseHoover(temperature=TEMPERATURE, relaxation_time=150.0),
    "csvr": CSVR(temperature=TEMPERATURE, relaxation_time=100.0),
}


@pytest.fixture(scope="module")
def runs():
    """Return a function from the name of an ensemble to its samples: 16 replicas, 50 ps."""
    done = {}

    def samples_of(name):
        if name not in done:
            samples = []
            simulation = Simulation(
                analytic("lennard_jones"),
                [cluster(seed) for seed in range(16)],
                ENSEMBLES[name],
                timestep=5,
                seed=7,
            )
            simulation.run(2000)
            simulation.run(10_000, interval=20, observers=[samples.append])
            done[name] = simulation, samples
        return done[name]

    return samples_of


@pytest.mark.parametrize("name", ENSEMBLES)
def test_kinetic_energy_has_the_canonical_mean_and_variance(runs, name):
    simulation, samples = runs(name)
    freedom = 39 if name == "langevin" else 33
    assert np.asarray(simulation.engine.system.degrees_of_freedom).tolist() == [freedom] * 16
    temperatures = np.array([sample.temperature for sample in samples])
    # Replicas are independent: their spread is the error, whatever the correlation in time.
    deviation = temperatures.mean() - TEMPERATURE
    assert abs(deviation) < 3 * error_of_mean(temperatures.mean(axis=0))
    # K is a gamma variable with N_f/2 degrees: its relative variance is 2/N_f.
    variance = (temperatures / TEMPERATURE - 1) ** 2
    deviation = variance.mean() - 2 / freedom
    assert abs(deviation) < 3 * error_of_mean(variance.mean(axis=0))


@pytest.mark.parametrize("name", ENSEMBLES)
def test_the_conserved_quantity_stays(runs, name):
    _, samples = runs(name)
    conserved = np.array([sample.conserved for sample in samples])
    energies = np.array([s.potential_energy + s.kinetic_energy for s in samples])
    assert np.abs(drift_in_errors(conserved)) < 3
    assert conserved.std(axis=0).max() < 0.02 * energies.std(axis=0).min()


@pytest.mark.parametrize("ensemble", [Langevin(temperature=300, friction=0.02)])
def test_the_bond_of_an_oscillator_has_its_thermal_width(ensemble):
    stiffness = 5.0
    samples = []
    simulation = Simulation(
        analytic("spring", stiffness=stiffness), [diatomic()] * 64, ensemble, timestep=1.0, seed=3
    )
    simulation.run(500)
    simulation.run(10_000, interval=10, observers=[samples.append])
    energies = np.array([sample.potential_energy for sample in samples])
    # In three dimensions the length r has the weight r²: ⟨U⟩ is k_B T/2 up to k_B T/(k r₀²).
    grid = np.linspace(0.3, 2.1, 20_001)
    well = 0.5 * stiffness * (grid - 1.2) ** 2
    weight = grid**2 * np.exp(-well / (units.kB * 300))
    expected = (well * weight).sum() / weight.sum()
    assert abs(energies.mean() - expected) < 3 * error_of_mean(energies.mean(axis=0))


def test_each_replica_has_its_own_temperature():
    temperatures = np.array([20.0, 40.0, 80.0] * 4)
    samples = []
    simulation = Simulation(
        analytic("spring"),
        [diatomic()] * 12,
        CSVR(temperature=tuple(temperatures), relaxation_time=20.0),
        timestep=1.0,
    )
    simulation.run(5000, interval=10, observers=[samples.append])
    found = np.array([sample.temperature for sample in samples]).mean(axis=0)
    ratio = found / temperatures
    assert abs(ratio.mean() - 1) < 3 * error_of_mean(ratio)


@pytest.mark.parametrize(
    "ensemble",
    [
        ENSEMBLES["langevin"],
        pytest.param(ENSEMBLES["nose_hoover"], marks=pytest.mark.slow),
        pytest.param(ENSEMBLES["csvr"], marks=pytest.mark.slow),
    ],
    ids=lambda ensemble: ensemble.name,
)
def test_thermostats_leave_fixed_atoms_at_rest(ensemble):
    atoms = argon(1)
    atoms.set_constraint(FixAtoms([1]))
    simulation = Simulation(analytic("lennard_jones"), atoms, ensemble, timestep=5)
    (final,) = simulation.run(50)
    np.testing.assert_allclose(final.positions[1], atoms.positions[1], atol=1e-12)
    assert np.asarray(simulation.engine.system.degrees_of_freedom).tolist() == [9]


def test_temperatures_of_another_number_of_replicas_are_refused():
    with pytest.raises(ValueError, match="2 numbers for 1 structures"):
        Simulation(analytic("spring"), diatomic(), NVE(temperature=(1.0, 2.0)), timestep=1)
