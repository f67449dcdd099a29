"""Barostats of LAMMPS act on the virial that a potential gives them."""

from pathlib import Path

import numpy as np
import pytest

from tensornet_jax.md import NPT, Simulation
from tensornet_jax.models.registry import MODELS
from tests.interop.lammps.launch import lammps_is_installed, launched
from tests.md.analytic import ANALYTIC, analytic, argon
from tests.md.statistics import error_of_mean

DRIVER = Path(__file__).with_name("constant_pressure_driver.py")
TEMPERATURE, RUNS, STEPS, SETTLING = 20, 6, 6000, 1500


@lammps_is_installed
@pytest.mark.slow
def test_the_mean_volume_is_that_of_the_own_engine(tmp_path, monkeypatch):
    for name, entry in ANALYTIC.items():
        monkeypatch.setitem(MODELS, name, entry)
    arguments = (RUNS, STEPS, TEMPERATURE, tmp_path / "volumes.npy")
    run = launched(1, DRIVER, *map(str, arguments), optimized=True, timeout=900)
    assert run.returncode == 0, run.stderr
    there = np.load(tmp_path / "volumes.npy")[:, SETTLING // 20 :].mean(axis=1)
    ensemble = NPT(temperature=TEMPERATURE, pressure_time=500.0, compressibility=0.5)
    potential = analytic("lennard_jones", cutoff=5.0)
    simulation = Simulation(potential, [argon(rattle=0.02)] * 16, ensemble, timestep=5.0)
    simulation.run(SETTLING)
    samples = []
    simulation.run(STEPS - SETTLING, interval=20, observers=[samples.append])
    here = np.array([np.abs(np.linalg.det(sample.cell)) for sample in samples]).mean(axis=0)
    # Half a percent is 10 MPa.
    for means in (there, here):
        assert error_of_mean(means) < 2e-3 * means.mean()
    error = np.hypot(error_of_mean(there), error_of_mean(here))
    assert abs(there.mean() - here.mean()) < 3.5 * error
