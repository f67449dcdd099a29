"""mace-torch's couplings, as its files have them, and polynomials in their place."""

import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops.tensor_products.mace_couplings import (
    all_couplings,
    as_couplings,
    change_of_basis,
    matrices_of_all_couplings,
)
from tensornet_jax.ops.tensor_products.symmetric_contraction import SymmetricContraction
from tests.interop.mace.reference_cases import Reference
from tests.tolerances import OP

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize(
    ("l_max", "degree", "order", "count"),
    [(3, 0, 1, 1), (3, 0, 2, 4), (3, 0, 3, 23), (3, 1, 2, 6), (3, 1, 3, 51), (1, 1, 4, 12)],
)
def test_there_are_as_many_as_in_mace_torch(l_max, degree, order, count):
    assert all_couplings(l_max, degree, order).shape[-1] == count


def test_they_are_mace_torchs_with_its_signs(small_reference):
    state = Reference(small_reference("mace/all_couplings.npz")).state
    for degree in (0, 1):
        for order in (1, 2, 3):
            name = f"products.0.symmetric_contractions.contractions.{degree}.U_matrix_{order}"
            expected = state[name] if degree else state[name][None]
            np.testing.assert_allclose(all_couplings(2, degree, order), expected, atol=1e-14)


def test_polynomials_with_changed_weights_are_the_same_function():
    contraction = SymmetricContraction(2, 1, 3)
    matrices = matrices_of_all_couplings(contraction)
    rng = np.random.default_rng(0)
    x, weights, expected = rng.normal(size=9), [], np.zeros(4)
    for block, matrix in zip(contraction.contractions, matrices, strict=True):
        own = rng.normal(size=len(matrix))
        weights.append(own @ matrix)
        value = all_couplings(2, block.degree, block.order) @ own
        for _ in range(block.order):
            value = value @ x
        start = block.degree**2
        expected[start : start + 2 * block.degree + 1] += value
    found = contraction(
        jnp.asarray(x[None, :, None]),
        jnp.asarray(np.concatenate(weights)[None, :, None]),
        jnp.zeros(1, int),
    )
    np.testing.assert_allclose(found[0, :, 0], expected, rtol=OP, atol=OP)


def test_symmetric_couplings_have_the_same_change_of_basis():
    for block in SymmetricContraction(2, 1, 3).contractions:
        matrix = change_of_basis(block, all_couplings(2, block.degree, block.order))
        again = change_of_basis(block, as_couplings(block, matrix))
        np.testing.assert_allclose(again, matrix, atol=1e-13)


def test_what_is_not_equivariant_is_refused():
    block = SymmetricContraction(1, 0, 2).contractions[1]
    couplings = np.array(all_couplings(1, 0, 2))
    couplings[0, 1, 2] += 1
    with pytest.raises(ValueError, match="not equivariant"):
        change_of_basis(block, couplings)
