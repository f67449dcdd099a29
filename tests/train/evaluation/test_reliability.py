"""Standard deviations are judged by the errors that were made."""

import numpy as np
import pytest

from tensornet_jax.potential.uncertainty.residuals import Residuals
from tensornet_jax.train.evaluation.reliability import (
    binned,
    miscalibration_area,
    reliability_rows,
    render_reliability,
    write_reliability,
)
from tensornet_jax.train.reporting.reliability_plot import Reliability


def drawn(factor: float = 1.0, count: int = 20_000) -> Residuals:
    """Normal errors whose deviations are stated a factor too large."""
    rng = np.random.default_rng(0)
    true = rng.lognormal(sigma=0.7, size=count)
    return Residuals(true * rng.normal(size=count), factor * true)


def test_right_deviations_are_found_right():
    right = drawn()
    (row,) = reliability_rows("set", {"forces": right})
    assert miscalibration_area(right) < 0.01
    assert abs(row.coverage_68 - 0.6827) < 0.01
    assert abs(row.coverage_95 - 0.95) < 0.01
    assert abs(row.rmse / row.sharpness - 1) < 0.05
    # Of |σ z| with σ: what such numbers have, by another sample.
    rng = np.random.default_rng(1)
    sigma = rng.lognormal(sigma=0.7, size=20_000)
    sizes = np.abs(sigma * rng.normal(size=20_000))
    ranks = [np.argsort(np.argsort(values)) for values in (sizes, sigma)]
    assert abs(row.rank_correlation - np.corrcoef(ranks[0], ranks[1])[0, 1]) < 0.03
    expected, found = binned(right)
    np.testing.assert_allclose(found, expected, rtol=0.1)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_wrong_deviations_are_found_wrong(factor):
    (right,) = reliability_rows("set", {"forces": drawn()})
    (wrong,) = reliability_rows("set", {"forces": drawn(factor)})
    assert wrong.miscalibration_area > 0.1
    assert wrong.nll > right.nll + 0.1
    assert (wrong.coverage_68 > right.coverage_68) == (factor > 1)
    assert abs(wrong.rank_correlation - right.rank_correlation) < 1e-12


def test_the_area_is_that_of_a_brute_force_count():
    residuals = Residuals(np.array([0.1, -2.0, 0.7]), np.array([1.0, 1.0, 1.0]))
    # Shares of |z| below the quantiles of a normal distribution, by counting samples of it.
    samples = np.sort(np.abs(np.random.default_rng(0).normal(size=400_000)))
    shares = np.linspace(0, 1, 2001)
    edges = np.quantile(samples, shares)
    observed = np.mean(np.abs(residuals.errors)[:, None] <= edges, axis=0)
    expected = np.trapezoid(np.abs(observed - shares), shares)
    assert abs(miscalibration_area(residuals) - expected) < 0.01


def test_tables_and_diagrams_are_written(tmp_path):
    found = {"energy": drawn(count=30), "forces": drawn(2.0, 400)}
    rows = reliability_rows("test", found)
    assert [row.property for row in rows] == ["energy_per_atom", "forces"]
    table = render_reliability(rows)
    assert len(table) == 4
    assert "energy per atom" in table[2]
    assert "meV/atom" in table[2]
    write_reliability(tmp_path / "table.csv", rows)
    assert len((tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()) == 3
    told = Reliability("test", found | {"dipole": Residuals(np.ones(3), np.zeros(3))})
    assert told.rows == rows
    assert len(told.picture) > 10_000
    assert told.picture is told.picture, "drawn once"


def test_deviations_of_zero_or_of_one_value_have_no_rank():
    rows = reliability_rows("set", {"forces": Residuals(np.ones(3), np.zeros(3))})
    assert rows == []
    (row,) = reliability_rows("set", {"forces": Residuals(np.arange(3.0), np.ones(3))})
    assert np.isnan(row.rank_correlation)
