"""Screened repulsion of nuclei."""

import jax.numpy as jnp
import numpy as np
import pytest
from ase import units

from tensornet_jax.ops.interactions.zbl import screening_lengths, zbl_energies

pytestmark = pytest.mark.usefixtures("x64")

UNIVERSAL = (0.8854, 0.23)
"""Prefactor and exponent of the screening length, Eq. 9 of Ziegler, Biersack and Littmark."""


def test_close_nuclei_repel_as_bare_charges_and_distant_ones_do_not():
    (length,) = screening_lengths(np.array([6, 8]), *UNIVERSAL)[:1, 1]
    energies = zbl_energies(
        jnp.array([1e-6, 10.0]), jnp.array([6.0, 6.0]), jnp.array([8.0, 8.0]), length
    )
    # The amplitudes of the universal function sum to 1.00007.
    np.testing.assert_allclose(energies[0], 48e6, rtol=2e-4)
    assert energies[1] < 1e-5 * 4.8


def test_argon_at_one_screening_length():
    """φ(1) is a number on paper; a is 0.8854 Bohr over twice 18^0.23."""
    (length,) = screening_lengths(np.array([18]), *UNIVERSAL)[0]
    assert length == pytest.approx(0.8854 * units.Bohr / (2 * 18**0.23))
    phi = 0.1818 * np.exp(-3.2) + 0.5099 * np.exp(-0.9423) + 0.2802 * np.exp(-0.4029)
    phi += 0.02817 * np.exp(-0.2016)
    found = zbl_energies(jnp.array([length]), jnp.array([18.0]), jnp.array([18.0]), length)
    np.testing.assert_allclose(found, 324 / length * phi, rtol=1e-12)


def test_float32_lengths_are_those_of_float64_to_float32():
    numbers = np.arange(100)
    exact, rounded = (
        screening_lengths(numbers, *UNIVERSAL, float32=flag) for flag in (False, True)
    )
    deviation = abs(rounded / exact - 1)
    assert 1e-9 < deviation.max() < 3e-7
    np.testing.assert_array_equal(exact[0], exact[1])
