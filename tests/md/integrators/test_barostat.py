"""Stochastic cell rescaling against exact results."""

import numpy as np
import pytest
from ase import units

from tensornet_jax.md import NPT, Simulation
from tests.md.analytic import analytic, argon
from tests.md.statistics import drift_in_errors, error_of_mean

SHAPES = ("isotropic", "lengths", "full")


def samples_of(potential, atoms, ensemble, timestep, equilibration, steps, interval, **options):
    samples = []
    simulation = Simulation(potential, atoms, ensemble, timestep=timestep, **options)
    simulation.run(equilibration)
    simulation.run(steps, interval=interval, observers=[samples.append])
    return samples


@pytest.mark.slow
def test_the_volume_of_an_ideal_gas_is_a_gamma_variable():
    count, temperature, pressure = 12, 300.0, 0.1
    atoms = argon(1, a=6.0)
    del atoms[0]
    atoms *= (2, 2, 1)
    assert len(atoms) == count
    ensemble = NPT(
        temperature=temperature,
        pressure=pressure,
        relaxation_time=50.0,
        pressure_time=1000.0,
        compressibility=5.0,
    )
    samples = samples_of(
        analytic("ideal_gas"), [atoms] * 16, ensemble, 6.0, 600, 4000, 20, skin=0.7, seed=5
    )
    volumes = np.array([np.abs(np.linalg.det(sample.cell)) for sample in samples])
    # The center of mass is at rest: the weight is V^(N−1) exp(−P V / k_B T).
    scale = units.kB * temperature / (pressure * units.GPa)
    assert abs(volumes.mean() - count * scale) < 3 * error_of_mean(volumes.mean(axis=0))
    variance = ((volumes / scale - count) ** 2).mean(axis=0)
    assert abs(variance.mean() - count) < 3 * error_of_mean(variance)
    conserved = np.array([sample.conserved for sample in samples])
    assert abs(drift_in_errors(conserved)) < 3


def pressure_of_axes(sample):
    """Return (R, 3) P_xx, P_yy, P_zz in eV/Å³, of four atoms a replica."""
    masses = np.concatenate([atoms.get_masses() for atoms in sample.templates])[:, None]
    velocities = sample.velocities / units.fs
    kinetic = (masses * velocities**2).reshape(len(sample), 4, 3).sum(axis=1)
    volumes = np.abs(np.linalg.det(sample.cell))[:, None]
    return kinetic / volumes - np.diagonal(sample.stress, axis1=1, axis2=2)


@pytest.mark.parametrize(
    "shape",
    [pytest.param(shape, marks=() if shape == "full" else pytest.mark.slow) for shape in SHAPES],
)
def test_a_crystal_has_the_pressure_and_temperature_of_its_bath(shape):
    temperature, pressure = 40.0, 0.2
    ensemble = NPT(
        temperature=temperature,
        pressure=pressure,
        shape=shape,
        relaxation_time=100.0,
        pressure_time=300.0,
        compressibility=0.4,
    )
    samples = samples_of(
        analytic("lennard_jones", cutoff=5.0),
        [argon(1, a=5.2)] * 16,
        ensemble,
        5.0,
        1000,
        5000,
        20,
        seed=2,
    )
    pressures = np.array([sample.pressure for sample in samples])
    error = error_of_mean(pressures.mean(axis=0))
    assert error < 0.05
    assert abs(pressures.mean() - pressure) < 3 * error
    # By parts under the NPT weight, for every direction i that may change by itself:
    # ⟨ln V · (V (P₀ − P_ii) − k_B T)⟩ = k_B T. The noise decides how much V fluctuates.
    volumes = np.array([np.abs(np.linalg.det(sample.cell)) for sample in samples])
    logarithm = np.log(volumes) - np.log(volumes).mean()
    diagonals = np.array([pressure_of_axes(sample) for sample in samples])
    if shape == "isotropic":
        diagonals = np.repeat(diagonals.mean(axis=-1, keepdims=True), 3, axis=-1)
    scale = units.kB * temperature
    for axis in range(3):
        driving = volumes * (pressure * units.GPa - diagonals[..., axis]) - scale
        products = (logarithm * driving / scale).mean(axis=0)
        assert error_of_mean(products) < 0.2
        assert abs(products.mean() - 1) < 3 * error_of_mean(products)
    temperatures = np.array([sample.temperature for sample in samples])
    error = error_of_mean(temperatures.mean(axis=0))
    assert abs(temperatures.mean() - temperature) < 3 * error
    conserved = np.array([sample.conserved for sample in samples])
    energies = np.array([s.potential_energy + s.kinetic_energy for s in samples])
    assert conserved.std(axis=0).max() < 0.1 * energies.std(axis=0).min()
    cells = np.array([sample.cell for sample in samples])
    angles = cells[..., ~np.eye(3, dtype=bool)]
    lengths = cells[..., np.eye(3, dtype=bool)]
    assert (np.abs(angles).max() > 1e-3) == (shape == "full")
    assert (np.ptp(lengths, axis=-1).max() > 1e-3) == (shape != "isotropic")


def test_pressure_needs_a_periodic_cell_without_fixed_atoms():
    from ase.constraints import FixAtoms

    atoms = argon(1)
    atoms.pbc = (True, True, False)
    with pytest.raises(ValueError, match="not periodic in three directions"):
        Simulation(analytic("lennard_jones"), atoms, NPT(), timestep=5)
    atoms.pbc = True
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(ValueError, match="has fixed atoms"):
        Simulation(analytic("lennard_jones"), atoms, NPT(), timestep=5)
