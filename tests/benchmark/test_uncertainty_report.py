"""The page about standard deviations says what the records say, the summary first."""

from dataclasses import asdict

import numpy as np
import pytest
from matplotlib.image import imread

from benchmarks.uncertainty_report import ENERGY_STD, FORCES_STD, PLAIN, write_report
from tensornet_jax.potential.uncertainty.residuals import Residuals
from tensornet_jax.train.evaluation.reliability import curves_of, reliability_rows
from tests.text import squeezed

ESTIMATORS = ("rigidity", "rigidity, 16 directions, with curves")
TEMPERATURES = {"300K": 1.0, "600K": 0.5}


def record(name: str, estimator: str, properties: tuple[str, ...] = ("energy", "forces")):
    """Right deviations at 300 K, half of what is right at 600 K."""
    rng = np.random.default_rng(0)
    rows, curves = [], {}
    for temperature, factor in TEMPERATURES.items():
        sigma = rng.lognormal(sigma=0.5, size=400)
        found = {
            each: Residuals(sigma * rng.normal(size=400), factor * sigma) for each in properties
        }
        rows += reliability_rows(temperature, found)
        curves[temperature] = {
            key: {k: v.tolist() for k, v in curves_of(each)._asdict().items()}
            for key, each in found.items()
        }
    return {
        "set": name,
        "estimator": estimator,
        "epochs": 3,
        "channels": 8,
        "structures": {"300K": 20, "600K": 30, "validation": 5, "train": 40},
        "rows": [asdict(row) for row in rows],
        "curves": curves,
        "seconds": {PLAIN: 0.010, ENERGY_STD: 0.012, FORCES_STD: 0.031},
        "plain_seconds": 0.010,
    }


@pytest.fixture
def page(tmp_path):
    records = [record(name, each) for name in ("acac", "3bpa") for each in ESTIMATORS]
    records.append(record("acac", "shallow", ("energy",)))
    write_report(tmp_path, records, "a processor, 2 threads; jax 0.0")
    return tmp_path, records


def test_the_summary_has_one_row_for_each_set_estimator_and_temperature(page):
    folder, records = page
    text = squeezed((folder / "README.md").read_text(encoding="utf-8"))
    assert "a processor, 2 threads; jax 0.0" in text
    summary, _, details = text.partition("## acac")
    for each in records:
        for temperature in TEMPERATURES:
            rows = [row for row in each["rows"] if row["data_set"] == temperature]
            assert [row["property"] for row in rows][:1] == ["energy_per_atom"]
            cells = [each["set"], each["estimator"], temperature]
            for row in rows:
                cells += [f"{row[key]:.3f}" for key in ("miscalibration_area", "rank_correlation")]
                cells += [f"{100 * row[key]:.1f}%" for key in ("coverage_68", "coverage_95")]
            cells += ["–"] * 4 * (2 - len(rows))
            assert f"| {' | '.join([*cells, '1.20', '3.10'])} |" in summary
    assert summary.count("00K |") == 2 * len(records)
    assert details.count("### ") == len(records)
    assert details.count("TensorNet of 8 channels") == 2
    assert (
        "40 structures, 5 for validation and calibration; tested on 20 at 300K, 30 at 600K" in text
    )


def test_a_set_has_one_figure_for_each_property(page):
    folder, _ = page
    names = sorted(path.name for path in folder.iterdir())
    figures = ["3bpa_energy.png", "3bpa_forces.png", "acac_energy.png", "acac_forces.png"]
    assert names == [*figures[:2], "README.md", *figures[2:]]
    text = (folder / "README.md").read_text(encoding="utf-8")
    for name in figures:
        assert f"]({name})" in text
        assert imread(folder / name).std() > 0.01
    # Of three estimators, and of the two that know σ of forces.
    wide, narrow = (imread(folder / name).shape[1] for name in figures[2:])
    assert wide == pytest.approx(1.5 * narrow, rel=0.01)
