from itertools import combinations_with_replacement
from itertools import product as every
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.tensor_products.symmetric_contraction import SymmetricContraction
from tests.ops.tensor_products import sphere
from tests.tolerances import OP, OP_FLOAT32

pytestmark = pytest.mark.usefixtures("x64")


def inputs(contraction, num_species=3, num_atoms=5, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num_atoms, (contraction.l_max + 1) ** 2, channels))
    weights = rng.normal(size=(num_species, contraction.num_weights, channels))
    return jnp.asarray(x), jnp.asarray(weights), jnp.asarray(rng.integers(num_species, size=5))


def count_by_characters(l_max, degree, order, parity):
    """Multiplicity of a degree in the symmetric power, from characters of O(3) alone."""
    nodes, node_weights = np.polynomial.legendre.leggauss(200)
    angles = (nodes + 1) * np.pi / 2
    measure = node_weights * np.pi / 2 * (1 - np.cos(angles)) / np.pi

    def character(multiple, inverted):
        total = 0
        for l in range(l_max + 1):  # noqa: E741
            sign = (-1) ** (l * multiple) if inverted else 1
            orders = np.arange(-l, l + 1)
            total = total + sign * np.cos(np.multiply.outer(angles * multiple, orders)).sum(-1)
        return total

    def symmetric(inverted):
        # Newton's identities give the character of the symmetric power from those of multiples.
        powers: list[Any] = [np.ones_like(angles)]
        for n in range(1, order + 1):
            terms = (character(k, inverted) * powers[n - k] for k in range(1, n + 1))
            powers.append(sum(terms) / n)
        return powers[order]

    of_degree = np.cos(np.multiply.outer(angles, np.arange(-degree, degree + 1))).sum(-1)
    plain = np.sum(measure * symmetric(False) * of_degree)
    if parity == "both":
        return round(plain)
    inverted = np.sum(measure * symmetric(True) * of_degree * (-1) ** degree)
    return round((plain + inverted) / 2)


@pytest.mark.parametrize("parity", ["even", "both"])
@pytest.mark.parametrize(("l_max", "order"), [(1, 4), (2, 3), (3, 2), (3, 3)])
def test_paths_are_as_many_as_characters_count(l_max, order, parity):
    contraction = SymmetricContraction(l_max, 2, order, parity)
    found = {(b.order, b.degree): len(b.factors) for b in contraction.contractions}
    for degree, nu in every(range(3), range(1, order + 1)):
        assert found.get((nu, degree), 0) == count_by_characters(l_max, degree, nu, parity)


@pytest.mark.parametrize("parity", ["even", "both"])
@pytest.mark.parametrize("inversion", [1, -1])
def test_result_turns_with_the_features(parity, inversion):
    contraction = SymmetricContraction(2, 2, 3, parity)
    x, weights, species = inputs(contraction)
    matrix = sphere.rotation_of_features(sphere.random_rotation(), 2)
    signs = inversion ** Degrees(0, 2).of_components
    matrix = matrix * signs[:, None]
    turned = contraction(jnp.einsum("ab,nbc->nac", matrix, x), weights, species)
    expected = np.einsum("ab,nbc->nac", matrix, contraction(x, weights, species))
    equal = sphere.relative_error(turned, expected) < OP
    assert equal == (inversion == 1 or parity == "even")


@pytest.mark.parametrize(("l_max", "order"), [(3, 3), (2, 4), (2, 3), (1, 4), (2, 2), (2, 1)])
def test_both_ways_to_compute_are_the_polynomials(l_max, order):
    contraction = SymmetricContraction(l_max, 1, order)
    x, weights, species = inputs(contraction)
    few = contraction(x, weights, species)
    repeated = jnp.concatenate([weights] * 20)
    many = contraction(x, repeated, species + 3 * 7)
    expected = np.zeros(few.shape)
    degrees, number = Degrees(0, 1), 0
    for block in contraction.contractions:
        chosen = combinations_with_replacement(range(x.shape[1]), block.order)
        monomials = np.stack([np.prod(x[:, list(each)], axis=1) for each in chosen])
        own = np.asarray(weights)[species, number : number + len(block.factors)]
        expected[:, degrees.slice(block.degree)] += np.einsum(
            "kmp,knc,npc->nmc", block.polynomials, monomials, own
        )
        number += len(block.factors)
    assert sphere.relative_error(few, expected) < OP
    assert sphere.relative_error(many, expected) < OP


def test_second_order_is_the_clebsch_gordan_product_of_the_features_with_themselves():
    """Every coupling l1 ⊗ l2 → 1 of two features is a combination of the paths, and only it."""
    contraction = SymmetricContraction(2, 1, 2)
    (block,) = (b for b in contraction.contractions if (b.order, b.degree) == (2, 1))
    assert set(block.factors) == {(0, 1), (1, 2)}
    degrees = Degrees(0, 2)
    x = np.random.default_rng(0).normal(size=9)
    first, second = np.triu_indices(9)
    values = np.einsum("k,kmp->pm", x[first] * x[second], block.polynomials)
    for (l1, l2), value in zip(block.factors, values, strict=True):
        coupled = np.einsum(
            "a,b,abm->m", x[degrees.slice(l1)], x[degrees.slice(l2)], clebsch_gordan(l1, l2, 1)
        )
        # Coefficients of norm 1, against norm √3 as a symmetric tensor, which has two halves.
        assert sphere.relative_error(value, np.sqrt(2 * 3) * coupled) < OP


def test_float32_has_the_digits_of_float32():
    contraction = SymmetricContraction(3, 1, 3)
    x, weights, species = inputs(contraction)
    found = contraction(x.astype("float32"), weights.astype("float32"), species)
    assert found.dtype == np.float32
    expected = np.asarray(contraction(x, weights, species))
    assert sphere.relative_error(found, expected) < OP_FLOAT32


@pytest.mark.parametrize("arguments", [(-1, 0, 1), (1, -1, 1), (1, 1, 0), (1, 1, 5)])
def test_impossible_contractions_are_refused(arguments):
    with pytest.raises(ValueError, match="order of 1 to 4"):
        SymmetricContraction(*arguments)
