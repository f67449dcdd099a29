"""Thermal conductivities of fluxes whose correlations are known."""

import numpy as np
import pytest
from ase import units

from tensornet_jax.spectra import thermal_conductivity
from tests.spectra.signals import autoregression

# J/eV over m/Å and s/fs: eV/(Å fs K) in W/(m K).
WATTS = 1.602176634e-19 / 1e-25


def test_the_integral_is_that_of_a_correlation_function_added_up_by_hand():
    fluxes = np.random.default_rng(0).normal(size=(2, 9, 3))
    found = thermal_conductivity(fluxes, 5.0, 40.0, 250.0)
    np.testing.assert_array_equal(found.times, [0, 5, 10, 15])
    each = []
    for rows in fluxes:
        correlation = [np.mean([rows[t] @ rows[t + k] for t in range(9 - k)]) for k in range(4)]
        integral = [np.trapezoid(correlation[: k + 1], dx=5.0) for k in range(4)]
        each.append(np.array(integral) * WATTS / (3 * 40.0 * 8.617333e-5 * 250.0**2))
    np.testing.assert_allclose(found.values, np.mean(each, axis=0), rtol=1e-6)
    assert found.error is not None
    scatter = np.abs(each[0] - each[1]) / 2
    np.testing.assert_allclose(found.error, scatter, rtol=1e-6, atol=1e-6 * scatter.max())


def test_the_plateau_is_that_of_an_exponential_correlation():
    """x_t = a x_{t−1} + noise has ⟨x x_t⟩ = a^t / (1 − a²)."""
    a, interval = 0.8, 4.0
    fluxes = autoregression([a], 20_000, 48).reshape(16, 3, -1).transpose(0, 2, 1)
    found = thermal_conductivity(fluxes, interval, 100.0, 300.0)
    integral = 3 * interval / (1 - a * a) * (0.5 + a / (1 - a))
    expected = WATTS * integral / (3 * 100.0 * units.kB * 300.0**2)
    plateau = 40
    assert found.error is not None
    assert found.error[plateau] < 0.03 * expected
    assert abs(found.values[plateau] - expected) < 4 * found.error[plateau]


def test_one_replica_has_no_error_and_what_has_no_volume_no_conductivity():
    fluxes = np.random.default_rng(0).normal(size=(1, 9, 3))
    assert thermal_conductivity(fluxes, 5.0, 40.0, 250.0).error is None
    with pytest.raises(ValueError, match="without a volume"):
        thermal_conductivity(fluxes, 5.0, 0.0, 250.0)
    with pytest.raises(ValueError, match="3 heat fluxes are too few"):
        thermal_conductivity(fluxes[:, :3], 5.0, 40.0, 250.0)
