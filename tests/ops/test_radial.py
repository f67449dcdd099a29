from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops import radial
from tests.tolerances import OP

pytestmark = pytest.mark.usefixtures("x64")


def test_cosine_envelope_falls_from_one_to_exactly_zero():
    d = jnp.array([0.0, 2.5, 5.0, 5.1, 80.0])
    np.testing.assert_allclose(radial.cosine_envelope(d, 5.0), [1, 0.5, 0, 0, 0], atol=1e-15)
    assert radial.cosine_envelope(jnp.array(5.0), 5.0) == 0


def test_envelope_with_a_lower_cutoff_vanishes_at_both_ends_and_peaks_between():
    d = jnp.array([0.0, 1.0, 3.0, 5.0])
    np.testing.assert_allclose(radial.cosine_envelope(d, 5.0, 1.0), [0, 0, 1, 0], atol=1e-15)


@pytest.mark.parametrize("lower", [0.0, 1.0])
def test_envelope_has_no_kink(lower):
    slope = jax.vmap(jax.grad(lambda d: radial.cosine_envelope(d, 5.0, lower)))
    ends = np.array([lower + 1e-9, 5.0 - 1e-9, 5.0 + 1e-9])
    np.testing.assert_allclose(slope(ends), 0, atol=1e-8)


def test_polynomial_envelope_reaches_zero_with_two_derivatives():
    envelope = radial.polynomial_envelope
    d = jnp.array([0.0, 5.0 - 1e-7, 5.0, 7.0])
    np.testing.assert_allclose(envelope(d, 5.0), [1, 0, 0, 0], atol=1e-15)
    first = jax.grad(envelope)
    for derivative in (first, jax.grad(first)):
        np.testing.assert_allclose(derivative(5.0 - 1e-7, 5.0), 0, atol=1e-5)
    x = 0.7
    np.testing.assert_allclose(
        envelope(jnp.asarray(5 * x), 5.0), 1 - 28 * x**6 + 48 * x**7 - 21 * x**8, rtol=OP
    )


def test_expnorm_is_its_formula():
    means, betas = map(jnp.asarray, radial.expnorm_parameters(7, 5.0, 0.5))
    d = jnp.linspace(0.6, 4.9, 11)
    alpha = 5 / 4.5
    expected = np.exp(-betas * (np.exp(-alpha * (d[:, None] - 0.5)) - means) ** 2)
    np.testing.assert_allclose(radial.expnorm(d, means, betas, 5.0, 0.5), expected, rtol=OP)
    assert means[0] == np.exp(-4.5)
    assert means[-1] == 1


def test_smooth_bessel_functions_are_orthonormal_and_end_without_a_slope():
    size, cutoff = 5, 4.2
    functions = partial(radial.smooth_bessel, num_radial=size, cutoff=cutoff)
    # Gauss–Legendre points, exact for what is nearly a polynomial.
    nodes, weights = np.polynomial.legendre.leggauss(60)
    d = jnp.asarray(cutoff / 2 * (nodes + 1))
    values = functions(d) * d[:, None]
    overlaps = values.T @ (cutoff / 2 * weights[:, None] * values)
    np.testing.assert_allclose(overlaps, np.eye(size), atol=OP)
    slope = jax.jacfwd(functions)
    for end in (functions(jnp.asarray(cutoff)), slope(cutoff)):
        np.testing.assert_allclose(end, 0, atol=OP)
    assert np.isfinite(slope(0.0)).all()


def test_gaussians_are_centered_on_equally_spaced_distances():
    offsets, coefficient = map(jnp.asarray, radial.gaussian_parameters(6, 5.0))
    values = radial.gaussian(offsets, offsets, coefficient)
    np.testing.assert_allclose(np.diag(values), 1)
    np.testing.assert_allclose(values[0, 1], np.exp(-0.5))


def test_one_gaussian_has_no_spacing():
    with pytest.raises(ValueError, match="num_radial"):
        radial.gaussian_parameters(1, 5.0)


@pytest.mark.parametrize("exponent", [1, 3, 5, 6])
def test_polynomial_envelope_is_its_formula_for_any_exponent(exponent):
    x, p = np.linspace(0, 0.95, 9), exponent
    expected = (
        1
        - (p + 1) * (p + 2) / 2 * x**p
        + p * (p + 2) * x ** (p + 1)
        - p * (p + 1) / 2 * x ** (p + 2)
    )
    found = radial.polynomial_envelope(jnp.asarray(4 * x), 4.0, p)
    np.testing.assert_allclose(found, expected, atol=OP)


def test_bessel_functions_are_their_formula_and_orthonormal():
    d, weights = np.polynomial.legendre.leggauss(60)
    d, weights = 2.5 * (d + 1), 2.5 * weights
    found = np.asarray(radial.bessel(jnp.asarray(d), 6, 5.0))
    n = np.arange(1, 7)
    expected = np.sqrt(2 / 5) * np.sin(n * np.pi * d[:, None] / 5) / d[:, None]
    np.testing.assert_allclose(found, expected, atol=OP)
    overlap = np.einsum("g,gm,gn->mn", weights * d**2, found, found)
    np.testing.assert_allclose(overlap, np.eye(6), atol=1e-12)


def test_bessel_functions_are_finite_at_zero_with_two_derivatives():
    function = lambda d: radial.bessel(d, 4, 5.0)[3]  # noqa: E731
    assert function(jnp.asarray(0.0)) == pytest.approx(np.sqrt(2 / 5) * np.pi * 4 / 5)
    assert jax.grad(function)(0.0) == 0
    second = jax.grad(jax.grad(function))
    assert second(0.0) == pytest.approx(float(second(1e-3)), rel=1e-4)


def test_chebyshev_polynomials_are_cosines():
    x = np.linspace(0, 1, 7)
    found = radial.chebyshev(jnp.asarray(x), 5)
    expected = np.cos(np.arange(1, 6) * np.arccos(x)[:, None])
    np.testing.assert_allclose(found, expected, atol=OP)
    assert radial.chebyshev(jnp.asarray(x), 1).shape == (7, 1)


def test_the_agnesi_transform_falls_from_one_to_zero():
    d, length = jnp.linspace(0.01, 20, 50), jnp.asarray(1.3)
    found = np.asarray(radial.agnesi_transform(d, length, jnp.asarray(radial.AGNESI)))
    assert found[0] == pytest.approx(1, abs=1e-3)
    assert (np.diff(found) < 0).all()
    at_zero = jax.value_and_grad(radial.agnesi_transform)
    assert at_zero(0.0, length, jnp.asarray(radial.AGNESI)) == (1, 0)
    (at_length,) = radial.agnesi_transform(
        jnp.asarray([1.3]), length, jnp.asarray(radial.AGNESI)
    ).tolist()
    assert at_length == pytest.approx(1 / (1 + radial.AGNESI[2] / 2))


def test_the_soft_transform_keeps_large_distances_and_ends_at_three_quarters():
    length = jnp.asarray(2.0)
    near, far = radial.soft_transform(jnp.asarray([0.1, 8.0]), length, 4.0).tolist()
    assert far == pytest.approx(8.0, abs=1e-6)
    assert near == pytest.approx(1.5, abs=1e-3)
    middle = 25 / 24 * 2
    (halfway,) = radial.soft_transform(jnp.asarray([middle]), length, 4.0).tolist()
    assert halfway == pytest.approx((1.5 + middle) / 2)
