import csv
from pathlib import Path

import ase.build
import ase.io
import h5py
import numpy as np
import pytest
from ase.calculators.emt import EMT

from tensornet_jax.cli.md_report import energy_drift
from tensornet_jax.config import load_config
from tensornet_jax.md.config import MDConfig
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.model_file import save_model
from tensornet_jax.potential.potential import ElementTable, create_potential
from tensornet_jax.spectra.series_file import read_series

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def md(cli, model, tmp_path):
    """Return a function that runs `tensornet-jax md` with settings instead of a file."""

    def run(structure, *settings, output="md", **values):
        config = tmp_path / "md.yaml"
        config.write_text(
            f"model: {model}\nstructure: {structure}\noutput: {output}\nensemble: {{name: nve}}\n",
            encoding="utf-8",
        )
        settings = [*settings, *(f"{key}={value}" for key, value in values.items())]
        return cli("md", config, *(part for each in settings for part in ("--set", each)))

    return run


def log_of(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("engine", ["device", "ase"])
def test_nve_with_the_network_conserves_energy_and_writes_everything(
    md, molecules, frames_of, engine
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


def test_both_engines_follow_one_path(md, molecules, frames_of):
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


def test_nve_starts_at_rest_at_the_asked_temperature(md, emt, frames_of):
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


def test_nvt_through_ase_holds_the_temperature(md, emt):
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


@pytest.mark.parametrize("engine", ["device", "ase"])
def test_equilibration_is_not_recorded_and_leaves_no_net_momentum(md, molecules, frames_of, engine):
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


def test_the_same_command_extends_a_run_and_leaves_it_alone_when_it_is_done(md, molecules):
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


def test_an_explosion_ends_the_run_with_readable_files(md, molecules, frames_of):
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


def test_an_energy_that_is_not_finite_stops_the_run(md, molecules, monkeypatch):
    class Broken(EMT):
        def __init__(self, potential, **_):
            super().__init__()

        def get_potential_energy(self, *arguments, **options):
            return float("nan")

    monkeypatch.setattr("tensornet_jax.calculator.TensorNetCalculator", Broken)
    result = md(molecules, steps=5, engine="ase")
    assert result.exit_code == 1
    assert "no longer finite at step 0" in result.stderr


def test_md_index_outside_is_named(md, molecules):
    assert "has 2 structures" in md(molecules, index=7).stderr


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("restart_every=30", "must be a multiple of interval"),
        ("ensemble.name=nvt", "not one of 'nve', 'langevin', 'nose_hoover', 'csvr', 'npt'"),
        ("ensemble.temperature=-3", "must be greater than 0"),
        ("ensemble.temperature=[1, 2, 3]", "3 numbers for 1 replicas"),
        ("formats=[traj, traj]", "name one format twice"),
        ("timestp=1", "did you mean 'timestep'"),
    ],
)
def test_mistaken_settings_are_explained(md, molecules, setting, problem):
    result = md(molecules, setting)
    assert result.exit_code == 2
    assert problem in result.stderr


@pytest.mark.parametrize(
    "settings",
    [
        ["replicas=2"],
        ["ensemble={name: csvr}"],
        ["ensemble={name: npt}"],
    ],
)
def test_what_ase_cannot_do_is_refused(md, molecules, settings):
    result = md(molecules, "engine=ase", *settings)
    assert result.exit_code == 2
    assert "engine: device" in result.stderr


def test_drift_is_the_slope_per_atom():
    times = np.linspace(0, 10, 50)
    assert energy_drift(times, -1e4 + 3e-3 * times, 9) == pytest.approx(1 / 3, rel=1e-6)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("md_*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_understood(path):
    load_config(path, MDConfig)


def test_the_template_of_dynamics_validates(cli, tmp_path):
    assert cli("config", "template", "--md", "-o", "md.yaml").exit_code == 0
    text = (tmp_path / "md.yaml").read_text(encoding="utf-8")
    assert "# or ensemble: {name: npt" in text
    for name in ("runs/example/model.safetensors", "start.xyz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    result = cli("config", "validate", "md.yaml", "--md")
    assert result.exit_code == 0, result.stderr
    assert "MDConfig" in cli("config", "schema", "--md").stdout


@pytest.mark.parametrize("engine", ["device", "ase"])
def test_both_engines_start_from_rest_and_go_on_where_they_stopped(
    md, molecules, frames_of, engine
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


def test_ase_heats_along_a_ramp(md, emt):
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


def test_ase_honors_skin_stress_and_displacement(md, crystal, monkeypatch):
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


@pytest.mark.parametrize("engine", ["device", "ase"])
def test_an_unusable_structure_is_named_with_its_file(md, engine):
    water, alien = ase.build.molecule("H2O"), ase.build.molecule("PH3")
    ase.io.write("mixed.xyz", [water, alien], format="extxyz")
    result = md("mixed.xyz", index=1, engine=engine)
    assert result.exit_code == 2
    assert "mixed.xyz, structure 1: " in result.stderr
    assert "P" in result.stderr
    assert not Path("md.csv").exists()
