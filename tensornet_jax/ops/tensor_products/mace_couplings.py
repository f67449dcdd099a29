"""The couplings that mace-torch's symmetric contraction has weights for, and ours in their place.

mace-torch (arXiv:2206.07697) couples ν equal factors one after the other in every way there is,
each with a weight. Many of these couplings agree once the factors are equal: `SymmetricContraction`
has fewer, orthonormal polynomials. `change_of_basis` is the matrix between the two.
"""

from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement, permutations

import numpy as np
from jaxtyping import Float

from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.tensor_products.equivariant_polynomials import Contraction
from tensornet_jax.ops.tensor_products.symmetric_contraction import SymmetricContraction

_SAME = 1e-5
"""Relative to its length, what a coupling may have beside the polynomials: float32 rounding."""


@cache
def all_couplings(
    l_max: int, degree: int, order: int
) -> Float[np.ndarray, "orders *components couplings"]:
    """Return mace-torch's couplings of natural parity, in its order and normalization.

    Args:
        l_max: highest degree of the factors.
        degree: of the result.
        order: ν, the number of factors.

    Returns:
        (2l + 1, (l_max + 1)², … ν times, couplings) float64.
    """
    components = Degrees(0, l_max)
    # By degree and parity of what is coupled so far; within one, in the order of the couplings.
    found: list[tuple[int, int, np.ndarray]] = []
    for l1 in components:
        tensor = np.zeros((2 * l1 + 1, components.size))
        tensor[:, components.slice(l1)] = np.eye(2 * l1 + 1)
        found.append((l1, (-1) ** l1, tensor))
    for step in range(1, order):
        longer = []
        for l1, parity, left in found:
            for l2 in components:
                for l3 in range(abs(l1 - l2), l1 + l2 + 1):
                    new = parity * (-1) ** l2
                    # What the factors to come can't bring back to the degree wanted, and, of four
                    # factors, pseudotensors, which mace-torch leaves out there.
                    if l3 - (order - 1 - step) * l_max > degree:
                        continue
                    if order == 4 and new != (-1) ** l3:
                        continue
                    tensor = _coupled(left, l1, l2, l3, components)
                    longer.append((l3, new, tensor))
        found = sorted(longer, key=lambda each: _order_in_e3nn(each[0], each[1]))
    kept = [tensor for l3, parity, tensor in found if (l3, parity) == (degree, (-1) ** degree)]
    return np.stack(kept, axis=-1)


def _order_in_e3nn(degree: int, parity: int) -> tuple[int, int]:
    """e3nn sorts 0o, 0e, 1o, 1e, 2o, …: odd parity first."""
    return degree, parity


def _coupled(left: np.ndarray, l1: int, l2: int, l3: int, components: Degrees) -> np.ndarray:
    """One factor of degree l2 more: (2 l3 + 1, components, …, components)."""
    # e3nn's 3j symbols are Clebsch–Gordan coefficients with Σ C² = 1; ``component`` normalization.
    # With the result first: where l1 + l2 + l3 is odd, the order of the degrees decides the sign.
    sign = -1 if _is_turned_in_e3nn(l1, l2, l3) else 1
    table = sign * np.sqrt(2 * l3 + 1) * clebsch_gordan(l3, l1, l2)
    product = np.moveaxis(np.tensordot(table, left, axes=(1, 0)), 1, -1)
    tensor = np.zeros((*product.shape[:-1], components.size))
    tensor[..., components.slice(l2)] = product
    return tensor


def _is_turned_in_e3nn(*degrees: int) -> bool:
    """Whether e3nn's 3j symbol has the other sign; compared with e3nn 0.4.4 to l_max = 4."""
    low, middle, high = sorted(degrees)
    return (low == 1 and high == middle > 1) or (
        middle >= 4 and (low, high - middle) in ((3, 2), (4, 1))
    )


def as_polynomials(
    couplings: Float[np.ndarray, "orders *components couplings"],
) -> Float[np.ndarray, "monomials orders couplings"]:
    """Return what couplings are of equal factors, as `Contraction.polynomials`."""
    order, size = couplings.ndim - 2, couplings.shape[1]
    monomials = np.array(list(combinations_with_replacement(range(size), order)))
    # Each order of the factors once: of equal ones there are fewer.
    total = np.zeros((len(couplings), len(monomials), couplings.shape[-1]))
    for each in permutations(range(order)):
        total += couplings[(slice(None), *monomials[:, each].T)]
    repeated = np.array([_repetitions(monomial) for monomial in monomials.tolist()])
    return np.moveaxis(total / repeated[:, None], 0, 1)


def _repetitions(monomial: Sequence[int]) -> int:
    """How many orders of the factors look the same."""
    return int(np.prod([_factorial(monomial.count(index)) for index in set(monomial)]))


def _factorial(number: int) -> int:
    return int(np.prod(range(1, number + 1)))


def change_of_basis(
    block: Contraction, couplings: Float[np.ndarray, "orders *components couplings"]
) -> Float[np.ndarray, "couplings paths"]:
    """Return the matrix whose rows are couplings in terms of a block's polynomials.

    Weights w of the couplings are weights w @ matrix of the polynomials.

    Raises:
        ValueError: a coupling is none of the polynomials' sums.
    """
    polynomials = as_polynomials(couplings)
    size = couplings.shape[1]
    monomials = combinations_with_replacement(range(size), block.order)
    # As symmetric tensors have an entry for each order of the factors.
    multiplicity = np.array([_factorial(block.order) / _repetitions(m) for m in monomials])
    scaled = polynomials / multiplicity[:, None, None]
    matrix = np.einsum("amk,amp->kp", scaled, block.polynomials) / (2 * block.degree + 1)
    rest = polynomials - np.einsum("kp,amp->amk", matrix, block.polynomials)
    if np.abs(rest).max(initial=0) > _SAME * max(np.abs(polynomials).max(initial=0), 1):
        raise ValueError(
            f"couplings of {block.order} factors to degree {block.degree} that are not equivariant"
        )
    matrix[np.abs(matrix) < 1e-14] = 0
    return matrix


def as_couplings(
    block: Contraction, matrix: Float[np.ndarray, "couplings paths"]
) -> Float[np.ndarray, "orders *components couplings"]:
    """Return symmetric couplings that a change of basis is of; `change_of_basis` backwards."""
    monomials, size, _ = block.polynomials.shape
    components = 1
    while len(list(combinations_with_replacement(range(components), block.order))) < monomials:
        components += 1
    each = list(combinations_with_replacement(range(components), block.order))
    values = np.einsum("amp,kp->amk", block.polynomials, matrix)
    tensor = np.zeros((size, *(components,) * block.order, len(matrix)))
    for monomial, value in zip(each, values, strict=True):
        orders = set(permutations(monomial))
        for order in orders:
            tensor[(slice(None), *order)] = value / len(orders)
    return tensor


@cache
def matrices_of_all_couplings(
    contraction: SymmetricContraction,
) -> tuple[Float[np.ndarray, "couplings paths"], ...]:
    """Return the change of basis of every block of a contraction."""
    return tuple(
        change_of_basis(block, all_couplings(contraction.l_max, block.degree, block.order))
        for block in contraction.contractions
    )
