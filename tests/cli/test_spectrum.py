import csv
from pathlib import Path

import numpy as np

from tensornet_jax.spectra import thermal_conductivity
from tests.spectra.signals import autoregression, cosines, write_series


def columns_of(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_recorded_dipoles_and_polarizabilities_become_spectra_and_averages(cli):
    dipole = cosines([(1000.0, 0.1), (3000.0, 0.02)])[..., None] * np.array([1.0, 2.0, 0.0])
    tensor = 5 * np.eye(3) + cosines([(1500.0, 0.2)])[..., None, None] * np.diag([1.0, 2.0, 3.0])
    write_series(Path("run.series.h5"), {"dipole": dipole, "polarizability": tensor})
    result = cli("spectrum", "run.series.h5", "--resolution", "20", "--highest", "3500")
    assert result.exit_code == 0, result.stderr
    assert "4 × 15.998 ps, 8000 records every 2 fs, 300.0 K" in result.stdout
    assert "infrared bands: 1000, 3000 cm⁻¹" in result.stdout
    assert "Raman bands: 1500 cm⁻¹" in result.stdout
    assert "⟨isotropic polarizability⟩ = 4.99999 ± 0.00038 e·Å" in result.stdout
    infrared, raman = (columns_of(f"run_{kind}.csv") for kind in ("infrared", "raman"))
    grid = np.array(infrared["wavenumber_cm-1"], float)
    assert grid[0] == 0
    assert 3490 < grid[-1] <= 3500
    assert "absorption_km_mol-1_cm_error" in infrared
    assert {"isotropic", "anisotropic", "parallel", "perpendicular", "unpolarized"} <= raman.keys()
    assert len(columns_of("run_averages.csv")["mean"]) == 1 + 4 + 10
    for kind in ("infrared", "raman"):
        assert Path(f"run_{kind}.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_is_none_is_one_message(cli):
    Path("run.csv").write_text("step\n", encoding="utf-8")
    result = cli("spectrum", "run.csv")
    assert result.exit_code == 2
    assert "give the .series.h5 of tensornet-jax md" in result.stderr


def test_recorded_heat_fluxes_become_a_thermal_conductivity(cli):
    flux = autoregression([0.9], 4000, 3)[..., None] * np.array([1.0, -1.0, 1.0])
    fluxes = {"heat_flux": flux, "heat_flux_potential": 0.5 * flux}
    write_series(Path("solid.series.h5"), fluxes, volume=500.0, unit="eV·Å/fs")
    result = cli("spectrum", "solid.series.h5", "--temperature", 200)
    assert result.exit_code == 0, result.stderr
    assert "written: solid_conductivity.csv, solid_averages.csv" in result.stdout
    columns = columns_of("solid_conductivity.csv")
    expected = thermal_conductivity(flux, 2.0, 500.0, 200.0)
    values = np.array(columns["heat_flux_W_m-1_K-1"], float)
    np.testing.assert_allclose(values, expected.values, rtol=1e-6)
    errors = np.array(columns["heat_flux_W_m-1_K-1_error"], float)
    assert expected.error is not None
    np.testing.assert_allclose(errors, expected.error, rtol=1e-6)
    quarter = np.array(columns["heat_flux_potential_W_m-1_K-1"], float)
    np.testing.assert_allclose(quarter, 0.25 * values, rtol=1e-6)
    assert columns["time_ps"][1] == "0.002"

    write_series(Path("molecule.series.h5"), {"heat_flux": flux}, unit="eV·Å/fs")
    result = cli("spectrum", "molecule.series.h5")
    assert "no thermal conductivity: these structures have no volume" in result.stdout
    assert not Path("molecule_conductivity.csv").exists()
