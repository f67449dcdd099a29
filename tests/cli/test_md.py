import csv
from pathlib import Path

import ase.build
import ase.constraints
import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.md.velocitydistribution import thermalize_momenta

from tensornet_jax.cli.md import bring_to_rest, energy_drift


def log_of(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def test_nve_with_the_network_conserves_energy_and_writes_everything(
    cli, model, molecules, frames_of
):
    result = cli(
        *("md", model, molecules, "--steps", 40, "--interval", 10, "--timestep", 0.25),
        *("--index", 1, "-o", "run.xyz"),
    )
    assert result.exit_code == 0, result.stderr
    assert "energy drift" in result.stdout
    log = log_of("run.csv")
    assert log["step"].tolist() == [0, 10, 20, 30, 40]
    assert log["time_ps"][-1] == pytest.approx(0.01)
    kinetic = np.ptp(log["kinetic_energy_eV"])
    assert kinetic > 0
    assert np.ptp(log["total_energy_eV"]) < 0.02 * kinetic
    frames = frames_of("run.xyz")
    assert len(frames) == 5
    assert frames[0].get_chemical_formula() == "CH4"
    assert "REF_energy" not in frames[0].info
    energies = [atoms.get_potential_energy() for atoms in frames]
    assert energies == pytest.approx(log["potential_energy_eV"].tolist(), abs=1e-6)
    assert Path("run.png").read_bytes().startswith(b"\x89PNG")


def test_nve_starts_at_rest_at_the_asked_temperature(cli, model, emt, frames_of):
    ase.io.write("start.xyz", ase.build.bulk("Cu", cubic=True).repeat(4), format="extxyz")
    run = ("md", model, "start.xyz", "--steps", 1, "--temperature", 500, "--no-plot")
    result = cli(*run, "--seed", 3)
    assert result.exit_code == 0, result.stderr
    assert not Path("md.png").exists()
    # Standard error of the mean: 500 K · √(2/765) = 26 K.
    assert log_of("md.csv")["temperature_K"][0] == pytest.approx(500, abs=100)
    start = frames_of("md.xyz")[0]
    assert np.abs(start.get_momenta().sum(axis=0)).max() < 1e-6
    cli(*run, "--seed", 3)
    np.testing.assert_array_equal(frames_of("md.xyz")[0].get_momenta(), start.get_momenta())
    cli(*run, "--seed", 4)
    assert np.abs(frames_of("md.xyz")[0].get_momenta() - start.get_momenta()).max() > 1


def test_nvt_holds_the_temperature(cli, model, emt):
    ase.io.write("start.xyz", ase.build.bulk("Cu", cubic=True).repeat(2), format="extxyz")
    result = cli(
        *("md", model, "start.xyz", "--ensemble", "nvt", "--temperature", 400, "--steps", 200),
        *("--timestep", 2, "--friction", 0.05, "--equilibrate", 100, "--interval", 5),
    )
    assert result.exit_code == 0, result.stderr
    assert "energy drift" not in result.stdout
    assert Path("md.png").exists()
    # 96 degrees of freedom and about 8 independent samples: one standard error is 20 K.
    assert log_of("md.csv")["temperature_K"].mean() == pytest.approx(400, abs=80)


def test_equilibration_is_not_recorded_and_leaves_no_net_momentum(cli, model, emt, frames_of):
    ase.io.write("start.xyz", ase.build.bulk("Cu", cubic=True).repeat(2), format="extxyz")
    result = cli("md", model, "start.xyz", "--steps", 4, "--equilibrate", 20, "--interval", 2)
    assert result.exit_code == 0, result.stderr
    assert log_of("md.csv")["step"].tolist() == [0, 2, 4]
    assert np.abs(frames_of("md.xyz")[-1].get_momenta().sum(axis=0)).max() < 1e-6


def test_md_goes_on_with_the_velocities_of_its_own_trajectory(
    cli, model, emt, molecules, frames_of
):
    refused = cli("md", model, molecules, "--keep-velocities")
    assert refused.exit_code == 2
    assert "has no velocities" in refused.stderr
    options = ("--interval", 10, "--no-plot")
    assert cli("md", model, molecules, "--steps", 20, *options, "-o", "a.xyz").exit_code == 0
    again = ("md", model, "a.xyz", "--index", 1, "--keep-velocities", "--steps", 10)
    result = cli(*again, *options, "-o", "b.xyz")
    assert result.exit_code == 0, result.stderr
    # extended XYZ keeps 8 decimals.
    np.testing.assert_allclose(
        frames_of("b.xyz")[-1].positions, frames_of("a.xyz")[-1].positions, atol=1e-6
    )


def test_an_energy_that_is_not_finite_stops_the_run(cli, model, molecules, monkeypatch):
    class Broken(EMT):
        def __init__(self, potential):
            super().__init__()

        def get_potential_energy(self, *arguments, **options):
            return float("nan")

    monkeypatch.setattr("tensornet_jax.calculator.TensorNetCalculator", Broken)
    result = cli("md", model, molecules, "--steps", 5)
    assert result.exit_code == 2
    assert "no longer finite at step 0" in result.stderr


def test_md_index_outside_is_named(cli, model, molecules):
    assert "has 2 structures" in cli("md", model, molecules, "--index", 7).stderr


def test_drift_is_the_slope_per_atom():
    times = np.linspace(0, 10, 50)
    assert energy_drift(times, -1e4 + 3e-3 * times, 9) == pytest.approx(1 / 3, rel=1e-6)


@pytest.mark.parametrize(("name", "removed"), [("CO2", 5), ("CH4", 6), ("H2", 5)])
def test_a_molecule_at_rest_neither_moves_nor_turns(name, removed):
    atoms = ase.build.molecule(name)
    atoms.rotate(50, (1, 2, 3))
    thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(0))
    assert bring_to_rest(atoms) == removed
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-9
    assert np.abs(atoms.get_angular_momentum()).max() < 1e-9
    assert atoms.get_kinetic_energy() > 0


def test_a_fixed_atom_takes_up_momentum_so_nothing_is_removed():
    atoms = ase.build.molecule("CH4")
    atoms.set_constraint(ase.constraints.FixAtoms([0]))
    thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(0))
    before = atoms.get_momenta()
    assert bring_to_rest(atoms) == 0
    np.testing.assert_array_equal(atoms.get_momenta(), before)
