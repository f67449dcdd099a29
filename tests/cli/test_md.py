"""`tensornet-jax md` writes what it computes, and goes on where it stopped."""

from pathlib import Path

import ase.io
import h5py
import numpy as np
import pytest


@pytest.mark.parametrize("engine", ["device", "ase"])
def test_nve_with_the_network_conserves_energy_and_writes_everything(
    md, molecules, frames_of, engine, log_of
):
    settings = {"steps": 40, "interval": 10, "timestep": 0.25, "index": 1, "engine": engine}
    result = md(molecules, output="run", **settings)
    assert result.exit_code == 0, result.stderr
    assert "energy drift" in result.stdout
    log = log_of("run.csv")
    assert log["step"].tolist() == [0, 10, 20, 30, 40]
    assert log["time_ps"][-1] == pytest.approx(0.01)
    kinetic = np.ptp(log["kinetic_energy_eV"])
    assert kinetic > 0
    assert np.ptp(log["total_energy_eV"]) < 0.02 * kinetic
    np.testing.assert_allclose(log["conserved_eV"], log["total_energy_eV"], rtol=1e-12)
    frames = frames_of("run.xyz")
    assert len(frames) == 5
    assert frames[0].get_chemical_formula() == "CH4"
    assert "REF_energy" not in frames[0].info
    energies = [atoms.get_potential_energy() for atoms in frames]
    assert energies == pytest.approx(log["potential_energy_eV"].tolist(), abs=1e-6)
    assert Path("run.png").read_bytes().startswith(b"\x89PNG")
    assert Path("run.restart").exists()


@pytest.mark.parametrize("engine", ["device", "ase"])
def test_equilibration_is_not_recorded_and_leaves_no_net_momentum(
    md, molecules, frames_of, engine, log_of
):
    result = md(molecules, steps=4, equilibrate=20, interval=2, engine=engine)
    assert result.exit_code == 0, result.stderr
    assert log_of("md.csv")["step"].tolist() == [0, 2, 4]
    assert np.abs(frames_of("md.xyz")[-1].get_momenta().sum(axis=0)).max() < 1e-6


def test_md_goes_on_with_the_velocities_of_its_own_trajectory(md, molecules, frames_of):
    refused = md(molecules, velocities="keep")
    assert refused.exit_code == 2
    assert "has no velocities" in refused.stderr
    settings = {"interval": 10, "plot": False}
    assert md(molecules, steps=20, output="a", **settings).exit_code == 0
    result = md("a.xyz", index=1, velocities="keep", steps=10, output="b", **settings)
    assert result.exit_code == 0, result.stderr
    # extended XYZ keeps 8 decimals.
    np.testing.assert_allclose(
        frames_of("b.xyz")[-1].positions, frames_of("a.xyz")[-1].positions, atol=1e-6
    )


def test_the_same_command_extends_a_run_and_leaves_it_alone_when_it_is_done(md, molecules, log_of):
    settings = {"interval": 5, "plot": False, "formats": "[extxyz, hdf5]", "replicas": 2}
    ensemble = "ensemble={name: csvr, temperature: [200, 400]}"
    assert md(molecules, ensemble, steps=10, **settings).exit_code == 0
    result = md(molecules, ensemble, steps=20, **settings)
    assert "going on from step 10" in result.stdout
    log = log_of("md.csv")
    assert log["step"].tolist() == [0, 0, 5, 5, 10, 10, 15, 15, 20, 20]
    assert log["replica"].tolist() == [0, 1] * 5
    with h5py.File("md.h5") as file:
        np.testing.assert_array_equal(file["001/step"], [0, 5, 10, 15, 20])
    assert len(ase.io.read("md-001.xyz", ":")) == 5
    again = md(molecules, ensemble, steps=20, **settings)
    assert again.exit_code == 0
    assert "all 20 steps are done" in again.stdout
    other = md(molecules, ensemble, steps=30, timestep=0.1, **settings)
    assert other.exit_code == 2
    assert "its timestep is 0.5, not 0.1" in other.stderr
    anew = md(molecules, ensemble, steps=5, timestep=0.1, resume=False, **settings)
    assert anew.exit_code == 0, anew.stderr
    assert log_of("md.csv")["step"].tolist() == [0, 0, 5, 5]


def test_an_explosion_ends_the_run_with_readable_files(md, molecules, frames_of, log_of):
    result = md(molecules, steps=100, timestep=100, interval=1)
    assert result.exit_code == 1
    assert "cannot start: atom" in result.stderr
    # The untrained network repels nothing: a cold start heats up at a long timestep.
    result = md(
        molecules,
        "ensemble.temperature=1",
        output="hot",
        steps=2000,
        timestep=4,
        interval=1,
        max_temperature=300,
        max_displacement=5,
    )
    assert result.exit_code == 1
    assert "structure 0 has a temperature of" in result.stderr
    frames = frames_of("hot.xyz")
    assert 0 < len(frames) < 2001
    assert log_of("hot.csv")["temperature_K"].max() < 300
    assert Path("hot.restart").exists()
