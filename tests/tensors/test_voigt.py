"""Voigt and Mandel form against the energies and stresses that they stand for."""

import numpy as np
import pytest

from tensornet_jax.tensors import (
    directional_stiffness,
    from_mandel,
    from_voigt,
    hill_moduli,
    smallest_eigenvalues,
    tensor_symmetry,
    to_mandel,
    to_voigt,
)
from tests.tolerances import OP

RNG = np.random.default_rng(1)
STIFFNESS = tensor_symmetry("ijkl=jikl=klij").from_irreps(RNG.normal(size=(4, 21)))


def test_voigt_has_ases_order():
    stress = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
    np.testing.assert_array_equal(to_voigt(stress), [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(from_voigt(np.arange(1.0, 7)), stress)
    np.testing.assert_array_equal(to_voigt(stress, kind="strain"), [1, 2, 3, 8, 10, 12])


def test_hookes_law_is_the_same_in_every_form():
    strain = RNG.normal(size=(3, 3))
    strain = strain + strain.T
    stress = np.einsum("nijkl,kl->nij", STIFFNESS, strain)
    voigt = to_voigt(STIFFNESS, 2) @ to_voigt(strain, kind="strain")
    np.testing.assert_allclose(voigt, to_voigt(stress), atol=1e-13)
    mandel = to_mandel(STIFFNESS, 2) @ to_mandel(strain)
    np.testing.assert_allclose(mandel, to_mandel(stress), atol=1e-13)


@pytest.mark.parametrize("back_and_forth", [(to_voigt, from_voigt), (to_mandel, from_mandel)])
def test_round_trips(back_and_forth):
    to, back = back_and_forth
    np.testing.assert_allclose(back(to(STIFFNESS, 2), 2), STIFFNESS, atol=OP)


def test_mandel_keeps_the_norm():
    norm = np.linalg.norm(to_mandel(STIFFNESS, 2), axis=(1, 2))
    np.testing.assert_allclose(norm, np.linalg.norm(STIFFNESS.reshape(4, -1), axis=1), rtol=1e-14)


def test_moduli_of_copper():
    # C11, C12, C44 of copper in GPa (Overton and Gaffney, Phys. Rev. 98, 969 (1955)), and its
    # Hill moduli by the formulas for cubic crystals.
    c11, c12, c44 = 168.4, 121.4, 75.4
    voigt = np.zeros((6, 6))
    voigt[:3, :3] = c12
    voigt[np.arange(3), np.arange(3)] = c11
    voigt[np.arange(3, 6), np.arange(3, 6)] = c44
    copper = from_voigt(voigt, 2)
    bulk, shear = hill_moduli(copper)
    upper = (c11 - c12 + 3 * c44) / 5
    lower = 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12))
    np.testing.assert_allclose(bulk, (c11 + 2 * c12) / 3, rtol=1e-13)
    np.testing.assert_allclose(shear, (upper + lower) / 2, rtol=1e-13)
    along = directional_stiffness(copper, np.array([[1, 0, 0], [3**-0.5] * 3]))
    np.testing.assert_allclose(along, [c11, (c11 + 2 * c12 + 4 * c44) / 3], rtol=1e-13)
    np.testing.assert_allclose(smallest_eigenvalues(copper), c11 - c12, rtol=1e-13)
