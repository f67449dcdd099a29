import numpy as np
import pytest
from scipy.special import gamma

from tensornet_jax.ops.harmonics.quadrature import (
    LEBEDEV_DEGREES,
    gauss_legendre,
    lebedev,
    product_grid,
    sphere_quadrature,
)
from tests.tolerances import OP, ROUNDING

RULES = [gauss_legendre, lebedev]


def monomials_of(degree):
    """Exponents (i, j, k) of x^i y^j z^k with i + j + k = degree."""
    return np.array(
        [(i, j, degree - i - j) for i in range(degree + 1) for j in range(degree - i + 1)]
    )


def exact_integrals(exponents):
    """∫ x^i y^j z^k dΩ = 2 Γ((i+1)/2) Γ((j+1)/2) Γ((k+1)/2) / Γ((i+j+k+3)/2), all even."""
    integrals = 2 * gamma((exponents + 1) / 2).prod(1) / gamma((exponents.sum(1) + 3) / 2)
    return np.where((exponents % 2).any(1), 0.0, integrals)


def worst_error(rule, degree):
    exponents = monomials_of(degree)
    values = (rule.points[:, None] ** exponents).prod(2)
    return np.abs(rule.weights @ values - exact_integrals(exponents)).max()


@pytest.mark.parametrize("make", RULES)
@pytest.mark.parametrize("degree", [0, 1, 2, 5, 9, 12, 13, 18, 25, 26])
def test_polynomials_up_to_the_degree_are_integrated_exactly(make, degree):
    rule = make(degree)
    assert rule.degree >= degree
    for lower in range(rule.degree + 1):
        assert worst_error(rule, lower) < OP


@pytest.mark.parametrize("make", RULES)
@pytest.mark.parametrize("degree", [3, 5, 9, 13, 17])
def test_the_next_even_degree_is_not_integrated_exactly(make, degree):
    assert worst_error(make(degree), degree + 1) > 1e-6


@pytest.mark.parametrize("degree", LEBEDEV_DEGREES)
def test_every_listed_lebedev_rule_is_there(degree):
    rule = lebedev(degree)
    assert rule.degree == degree
    np.testing.assert_allclose(np.linalg.norm(rule.points, axis=1), 1, rtol=10 * ROUNDING)
    np.testing.assert_allclose(rule.weights.sum(), 4 * np.pi, rtol=OP)


def test_rounding_grows_little_in_the_rules_with_negative_weights():
    growth = {d: np.abs(lebedev(d).weights).sum() / (4 * np.pi) for d in LEBEDEV_DEGREES}
    assert {d for d, g in growth.items() if g > 1 + OP} == {13, 25, 27}
    assert max(growth.values()) < 1.7


def test_numbers_of_points_are_those_of_the_literature():
    degrees = [4, 8, 12, 16, 20, 24]
    assert [len(lebedev(d).weights) for d in degrees] == [14, 38, 74, 110, 170, 230]
    assert [len(gauss_legendre(d).weights) for d in degrees] == [15, 45, 91, 153, 231, 325]


def test_padding_to_whole_registers_changes_no_integral():
    padded, rule = product_grid("lebedev", 7), lebedev(7)
    assert (len(rule.weights), len(padded.weights)) == (26, 32)
    np.testing.assert_array_equal(padded.points[:26], rule.points)
    np.testing.assert_array_equal(padded.weights, [*rule.weights, *np.zeros(6)])


def test_too_small_a_grid_is_refused_with_the_degree_needed():
    with pytest.raises(ValueError, match=r"degree 5 is too small.*degree 6 is needed"):
        sphere_quadrature("lebedev", 6, 5)
    assert sphere_quadrature("gauss_legendre", 6, 8).degree == 8


def test_errors_name_what_there_is():
    with pytest.raises(ValueError, match=r"degree 132.*3, 5, .*125, 131: use gauss_legendre"):
        lebedev(132)
    with pytest.raises(ValueError, match=r"unknown quadrature 'healpix'.*gauss_legendre, lebedev"):
        sphere_quadrature("healpix", 3)  # pyright: ignore[reportArgumentType]
    for make in RULES:
        with pytest.raises(ValueError, match="degree -1"):
            make(-1)


def test_rules_are_shared_and_so_not_to_be_written():
    with pytest.raises(ValueError, match="read-only"):
        lebedev(3).weights[0] = 1
