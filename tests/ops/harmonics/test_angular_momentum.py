"""Coupling coefficients against SymPy, quadrature and e3nn-jax."""

import itertools

import numpy as np
import pytest
from scipy.special import sph_harm_y
from sympy.physics import wigner

from tensornet_jax.ops.harmonics.angular_momentum import (
    clebsch_gordan,
    gaunt,
    gaunt_ratio,
    is_triangle,
    wigner_3j,
    wigner_6j,
)
from tensornet_jax.runtime.quiet_imports import e3nn_jax
from tests.tolerances import OP

TRIANGLES = [t for t in itertools.product(range(7), repeat=3) if is_triangle(*t)]


def test_triangles_are_the_couplings_of_two_angular_momenta():
    assert [l3 for l3 in range(9) if is_triangle(2, 4, l3)] == [2, 3, 4, 5, 6]


def test_3j_symbols_are_sympys():
    rng = np.random.default_rng(0)
    for number in rng.choice(len(TRIANGLES), 60, replace=False):
        l1, l2, l3 = TRIANGLES[number]
        for _ in range(4):
            m1, m2 = (int(rng.integers(-degree, degree + 1)) for degree in (l1, l2))
            m3 = -m1 - m2
            expected = float(wigner.wigner_3j(l1, l2, l3, m1, m2, m3)) if abs(m3) <= l3 else 0.0
            assert wigner_3j(l1, l2, l3, m1, m2, m3) == pytest.approx(expected, rel=OP, abs=OP)


def test_3j_symbols_obey_their_selection_rules():
    assert wigner_3j(1, 1, 3, 0, 0, 0) == 0
    assert wigner_3j(1, 1, 2, 1, 1, -1) == 0
    assert wigner_3j(1, 1, 2, 2, 0, -2) == 0
    assert wigner_3j(2, 2, 1, 0, 0, 0) == 0


def test_6j_symbols_are_sympys_and_zero_without_a_triangle():
    rng = np.random.default_rng(1)
    checked = 0
    for js in rng.integers(0, 7, size=(400, 6)).tolist():
        a, b, c, d, e, f = js
        triads = ((a, b, c), (a, e, f), (d, b, f), (d, e, c))
        if all(is_triangle(*triad) for triad in triads):
            expected = float(wigner.wigner_6j(*js))
            assert wigner_6j(a, b, c, d, e, f) == pytest.approx(expected, rel=OP, abs=OP)
            checked += 1
        else:
            assert wigner_6j(a, b, c, d, e, f) == 0
    assert checked > 20


def real_harmonics(degree: int, polar: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    rows = []
    for m in range(-degree, degree + 1):
        value = sph_harm_y(degree, abs(m), polar, azimuth)
        part = value.imag if m < 0 else value.real
        rows.append(part * (np.sqrt(2) * (-1) ** m if m else 1))
    return np.stack(rows)


def test_gaunt_coefficients_are_integrals_of_three_harmonics():
    """On a grid that is far finer than needed, with SciPy's harmonics."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    azimuths = 2 * np.pi * np.arange(48) / 48
    polar, azimuth = (
        grid.ravel() for grid in np.meshgrid(np.arccos(nodes), azimuths, indexing="ij")
    )
    area = np.repeat(weights, 48) * 2 * np.pi / 48
    harmonics = [real_harmonics(degree, polar, azimuth) for degree in range(7)]
    for l1, l2, l3 in TRIANGLES:
        if l1 <= l2:
            pairs = np.einsum("an,bn->abn", harmonics[l1] * area, harmonics[l2])
            expected = pairs @ harmonics[l3].T
            np.testing.assert_allclose(gaunt(l1, l2, l3), expected, rtol=0, atol=OP)


def test_gaunt_coefficients_are_positive_multiples_of_clebsch_gordan_ones():
    for l1, l2, l3 in TRIANGLES:
        ratio = gaunt_ratio(l1, l2, l3)
        assert (ratio > 0) == ((l1 + l2 + l3) % 2 == 0)
        np.testing.assert_allclose(
            gaunt(l1, l2, l3), ratio * clebsch_gordan(l1, l2, l3), rtol=OP, atol=OP
        )


def test_coefficients_are_e3nns_with_their_signs():
    for l1, l2, l3 in TRIANGLES:
        if max(l1, l2, l3) <= 4 or (l1, l2, l3) in ((5, 6, 6), (6, 6, 5), (6, 6, 6)):
            theirs = e3nn_jax.clebsch_gordan(l1, l2, l3)
            np.testing.assert_allclose(clebsch_gordan(l1, l2, l3), theirs, rtol=0, atol=1e-9)


def test_coefficients_are_isometries_onto_degrees_that_are_orthogonal_to_each_other():
    for l1, l2 in itertools.product(range(7), repeat=2):
        parts = [
            np.sqrt(2 * l3 + 1) * clebsch_gordan(l1, l2, l3)
            for l3 in range(abs(l1 - l2), l1 + l2 + 1)
        ]
        basis = np.concatenate(parts, axis=-1).reshape((2 * l1 + 1) * (2 * l2 + 1), -1)
        np.testing.assert_allclose(basis.T @ basis, np.eye(len(basis)), rtol=0, atol=10 * OP)


def test_coefficients_couple_only_orders_that_add_up_to_a_sign():
    for l1, l2, l3 in TRIANGLES:
        m1, m2, m3 = (
            index - degree
            for index, degree in zip(
                np.nonzero(clebsch_gordan(l1, l2, l3)), (l1, l2, l3), strict=True
            )
        )
        allowed = (abs(m3) == abs(m1) + abs(m2)) | (abs(m3) == abs(abs(m1) - abs(m2)))
        assert allowed.all()
        assert len(m1)


def test_swapping_the_first_two_degrees_changes_the_sign_of_odd_couplings():
    for l1, l2, l3 in TRIANGLES:
        swapped = clebsch_gordan(l2, l1, l3).transpose(1, 0, 2)
        sign = -1 if (l1 + l2 + l3) % 2 else 1
        np.testing.assert_allclose(clebsch_gordan(l1, l2, l3), sign * swapped, rtol=0, atol=OP)


def test_one_and_one_make_one_by_the_cross_product():
    epsilon = np.zeros((3, 3, 3))
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        epsilon[a, b, c], epsilon[b, a, c] = 1, -1
    np.testing.assert_allclose(clebsch_gordan(1, 1, 1), epsilon / np.sqrt(6), rtol=0, atol=OP)


def test_tables_cannot_be_written_to_and_do_not_couple_beyond_the_triangle():
    with pytest.raises(ValueError, match="read-only"):
        clebsch_gordan(1, 1, 2)[0, 0, 0] = 1
    assert not clebsch_gordan(1, 1, 3).any()
    assert not gaunt(1, 1, 3).any()
    with pytest.raises(ValueError, match="must not be negative"):
        clebsch_gordan(1, -1, 0)
