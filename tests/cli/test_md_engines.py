"""`tensornet-jax md` on both engines: one path, one meaning of every setting, one set of files."""

from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT

from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.model_file import save_model
from tensornet_jax.potential.potential import ElementTable, create_potential
from tensornet_jax.spectra.series_file import read_series


def test_both_engines_follow_one_path(md, molecules, frames_of, log_of):
    md(molecules, output="start", steps=10, interval=10, plot=False)
    settings = {"index": -1, "velocities": "keep", "steps": 20, "interval": 5, "plot": False}
    for engine in ("device", "ase"):
        result = md("start.xyz", output=engine, engine=engine, **settings)
        assert result.exit_code == 0, result.stderr
    for ours, theirs in zip(frames_of("device.xyz"), frames_of("ase.xyz"), strict=True):
        np.testing.assert_allclose(ours.positions, theirs.positions, atol=2e-8)
        np.testing.assert_allclose(ours.get_momenta(), theirs.get_momenta(), atol=2e-8)
    ours, theirs = log_of("device.csv"), log_of("ase.csv")
    for name in ("total_energy_eV", "temperature_K"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9)


def test_both_engines_record_the_same_properties(cli, molecules, tmp_path):
    config = TensorNetConfig(
        num_channels=4, num_layers=0, num_radial=4, cutoff=3.0, heads=("energy", "dipole"),
        dipole_form="charges_and_dipoles",
    )  # fmt: skip
    elements = ElementTable((1, 6, 8), np.zeros(3))
    save_model(
        tmp_path / "dipole.safetensors", create_potential(config, elements, seed=0, dtype="float64")
    )
    start = ase.io.read(molecules)
    assert isinstance(start, ase.Atoms)
    start.info["charge"] = 1.0
    start.set_momenta(0.3 * np.random.default_rng(0).normal(size=(len(start), 3)))
    ase.io.write("ion.xyz", start, format="extxyz")
    found = {}
    for engine in ("device", "ase"):
        Path("md.yaml").write_text(
            f"model: dipole.safetensors\nstructure: ion.xyz\noutput: {engine}\nengine: {engine}\n"
            "velocities: keep\nsteps: 12\ninterval: 5\nplot: false\n"
            "record: {properties: [dipole, charges], interval: 3}\n",
            encoding="utf-8",
        )
        result = cli("md", "md.yaml")
        assert result.exit_code == 0, result.stderr
        assert "series, csv" in result.stdout
        found[engine] = read_series(f"{engine}.series.h5")
    ours, theirs = found["device"], found["ase"]
    assert ours.interval == theirs.interval == 1.5
    assert ours.units == theirs.units
    assert ours.values["charges"].shape == (1, 5, len(start))
    np.testing.assert_allclose(ours.temperature, theirs.temperature, rtol=1e-6)
    for name, values in ours.values.items():
        np.testing.assert_allclose(values, theirs.values[name], atol=1e-7)
        assert np.ptp(values, axis=1).max() > 1e-4


def test_nvt_through_ase_holds_the_temperature(md, emt, log_of):
    ase.io.write("start.xyz", ase.build.bulk("Cu", cubic=True).repeat(2), format="extxyz")
    result = md(
        "start.xyz",
        "ensemble={name: langevin, temperature: 400, friction: 0.05}",
        engine="ase",
        steps=200,
        timestep=2,
        equilibrate=100,
        interval=5,
    )
    assert result.exit_code == 0, result.stderr
    assert "energy drift" not in result.stdout
    assert Path("md.png").exists()
    # 96 degrees of freedom and about 8 independent samples: one standard error is 20 K.
    assert log_of("md.csv")["temperature_K"].mean() == pytest.approx(400, abs=80)


def test_an_energy_that_is_not_finite_stops_the_run(md, molecules, monkeypatch):
    class Broken(EMT):
        def __init__(self, potential, **_):
            super().__init__()

        def get_potential_energy(  # pyright: ignore[reportIncompatibleMethodOverride]
            self, atoms=None, *arguments, **options
        ):
            return float("nan")

    monkeypatch.setattr("tensornet_jax.calculator.TensorNetCalculator", Broken)
    result = md(molecules, steps=5, engine="ase")
    assert result.exit_code == 1
    assert "no longer finite at step 0" in result.stderr


@pytest.mark.parametrize("engine", ["device", "ase"])
def test_both_engines_start_from_rest_and_go_on_where_they_stopped(
    md, molecules, frames_of, engine, log_of
):
    settings = {"engine": engine, "velocities": "rest", "interval": 2, "plot": False}
    assert md(molecules, steps=4, **settings).exit_code == 0
    result = md(molecules, steps=10, **settings)
    assert result.exit_code == 0, result.stderr
    assert "going on from step 4" in result.stdout
    assert md(molecules, steps=10, output="whole", **settings).exit_code == 0
    log, whole = log_of("md.csv"), log_of("whole.csv")
    assert log["step"].tolist() == [0, 2, 4, 6, 8, 10]
    assert log["temperature_K"][0] == 0
    for name, values in whole.items():
        np.testing.assert_allclose(log[name], values, rtol=1e-9, err_msg=name)
    assert [each.info["step"] for each in frames_of("md.xyz")] == [0, 2, 4, 6, 8, 10]


def test_random_numbers_of_ase_go_on_where_they_stopped(md, emt, frames_of):
    ase.io.write("start.xyz", ase.build.bulk("Cu", cubic=True), format="extxyz")
    settings = {"engine": "ase", "interval": 5, "plot": False, "timestep": 2}
    ensemble = "ensemble={name: langevin, temperature: {start: 100, end: 600, time: 40}}"
    for steps in (10, 20):
        assert md("start.xyz", ensemble, steps=steps, output="parts", **settings).exit_code == 0
    assert md("start.xyz", ensemble, steps=20, output="whole", **settings).exit_code == 0
    for ours, theirs in zip(frames_of("parts.xyz"), frames_of("whole.xyz"), strict=True):
        np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-7)


def test_ase_heats_along_a_ramp(md, emt, log_of):
    ase.io.write("start.xyz", ase.build.bulk("Cu", cubic=True).repeat(2), format="extxyz")
    result = md(
        "start.xyz",
        "ensemble={name: langevin, temperature: {start: 100, end: 600, time: 200}, friction: 0.1}",
        engine="ase",
        steps=300,
        timestep=2,
        interval=5,
        plot=False,
    )
    assert result.exit_code == 0, result.stderr
    temperatures = log_of("md.csv")["temperature_K"]
    # 96 degrees of freedom: one standard error of a moment is 14 %.
    assert temperatures[-40:].mean() == pytest.approx(600, abs=120)
    assert temperatures[0] < 200


def test_ase_honors_skin_stress_and_displacement(md, crystal, monkeypatch, log_of):
    import tensornet_jax.calculator as home

    skins = []

    class Noted(home.TensorNetCalculator):
        def __init__(self, potential, **options):
            skins.append(options["skin"])
            super().__init__(potential, **options)

    monkeypatch.setattr(home, "TensorNetCalculator", Noted)
    settings = {"steps": 4, "interval": 2, "plot": False, "stress": True, "velocities": "rest"}
    for engine in ("device", "ase"):
        result = md(crystal, "skin=0.25", engine=engine, output=engine, **settings)
        assert result.exit_code == 0, result.stderr
    assert skins == [0.25]
    ours, theirs = log_of("device.csv"), log_of("ase.csv")
    assert np.isfinite(theirs["pressure_GPa"]).all()
    np.testing.assert_allclose(ours["pressure_GPa"], theirs["pressure_GPa"], rtol=1e-7)
    result = md(
        crystal, "max_displacement=0.001", engine="ase", output="fast", steps=50, plot=False
    )
    assert result.exit_code == 1
    assert "Å in one step (limit 0.001 Å)" in result.stderr
    other = md(crystal, "skin=0.5", engine="ase", output="ase", **settings)
    assert other.exit_code == 2
    assert "its skin is 0.25, not 0.5" in other.stderr


def test_nve_starts_at_rest_at_the_asked_temperature(md, emt, frames_of, log_of):
    ase.io.write("start.xyz", ase.build.bulk("Cu", cubic=True).repeat(4), format="extxyz")
    settings = {"steps": 1, "engine": "ase", "plot": False, "ensemble.temperature": 500}
    result = md("start.xyz", seed=3, **settings)
    assert result.exit_code == 0, result.stderr
    assert not Path("md.png").exists()
    # Standard error of the mean: 500 K · √(2/765) = 26 K.
    assert log_of("md.csv")["temperature_K"][0] == pytest.approx(500, abs=100)
    start = frames_of("md.xyz")[0]
    assert np.abs(start.get_momenta().sum(axis=0)).max() < 1e-6
    md("start.xyz", seed=3, resume=False, **settings)
    np.testing.assert_array_equal(frames_of("md.xyz")[0].get_momenta(), start.get_momenta())
    md("start.xyz", seed=4, resume=False, **settings)
    assert np.abs(frames_of("md.xyz")[0].get_momenta() - start.get_momenta()).max() > 1
