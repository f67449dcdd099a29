"""From a YAML file to molecular dynamics, on the real data that come with the package."""

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tensornet_jax.cli import app
from tensornet_jax.cli.md_report import energy_drift

ROOT = Path(__file__).parents[1]
ETHANOL = ROOT / "tensornet_jax" / "data" / "examples" / "ethanol_gfn2"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_quickstart_learns_ethanol_and_conserves_energy_for_ten_picoseconds(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)

    def run(*arguments: object) -> None:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output

    folder = tmp_path / "run"
    run("train", "configs/quickstart.yaml", "--set", f"directory={folder}")
    errors = {
        row["property"]: float(row["mae"])
        for row in rows_of(folder / "report" / "errors.csv")
        if row["data_set"] == "ethanol" and row["config_type"] == "all" and not row["element"]
    }
    assert errors["forces"] < 0.025
    assert errors["energy_per_atom"] < 0.001
    run(
        *("md", "configs/md_quickstart.yaml", "--set", f"model={folder}/model.safetensors"),
        *("--set", f"output={tmp_path}/nve"),
    )
    log = rows_of(tmp_path / "nve.csv")
    times = np.array([float(row["time_ps"]) for row in log])
    energies = np.array([float(row["total_energy_eV"]) for row in log])
    temperatures = np.array([float(row["temperature_K"]) for row in log])
    assert times[-1] == pytest.approx(10.0)
    # Three deviations of the energy that a thermostat leaves to 21 degrees of freedom.
    assert 100 < temperatures.mean() < 500
    assert abs(energy_drift(times, energies, num_atoms=9)) < 0.01  # meV/atom/ps
