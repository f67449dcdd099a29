from math import sqrt

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sympy import Integer
from sympy.physics.wigner import wigner_6j

from tensornet_jax.ops import cartesian
from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan
from tensornet_jax.ops.tensor_products.matrix import MatrixProduct
from tests.ops.tensor_products import sphere
from tests.tolerances import OP, OP_FLOAT32

LEVI_CIVITA = np.array(
    [[[(i - j) * (j - k) * (k - i) / 2 for k in range(3)] for j in range(3)] for i in range(3)]
)


def features(*sizes, batch=(3,), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(*batch, size)) for size in sizes]


def cartesian_matrices(x):
    """3×3 matrices of features to degree 2: Id/√3, ε/√2 and the forms of degree-2 harmonics."""
    points = np.random.default_rng(3).normal(size=(40, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    forms = np.linalg.lstsq(
        np.einsum("ni,nj->nij", points, points).reshape(-1, 9), sphere.harmonics(points, 2)[:, 4:]
    )[0]
    forms = forms / np.linalg.norm(forms, axis=0)
    scalar = np.eye(3).reshape(9, 1) / sqrt(3)
    vector = LEVI_CIVITA.reshape(9, 3) / sqrt(2)
    basis = np.concatenate([scalar, vector, forms], axis=1)
    np.testing.assert_allclose(basis.T @ basis, np.eye(9), atol=OP)
    return (x @ basis.T).reshape(*x.shape[:-1], 3, 3), basis


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("parity", ["both", "even", "odd"])
def test_carrier_one_is_the_algebra_of_three_by_three_matrices(parity):
    # e3nn's C(1, 1, 1) is ε/√6, of this sign.
    np.testing.assert_allclose(clebsch_gordan(1, 1, 1), LEVI_CIVITA / sqrt(6), atol=OP)
    x, y = features(9, 9)
    (a, basis), (b, _) = cartesian_matrices(x), cartesian_matrices(y)
    expected = {"both": a @ b, "even": (a @ b + b @ a) / 2, "odd": (a @ b - b @ a) / 2}[parity]
    z = MatrixProduct(2, 2, 2, parity=parity)(x, y)
    assert sphere.relative_error(z, expected.reshape(-1, 9) @ basis) < OP


@pytest.mark.usefixtures("x64")
def test_even_paths_are_tensornets_interaction_for_both_parities():
    x, y = features(9, 9)
    (a, basis), (b, _) = cartesian_matrices(x), cartesian_matrices(y)
    compact = (cartesian.from_matrix(jnp.asarray(m)[..., None]) for m in (a, b))
    expected = cartesian.to_matrix(cartesian.anticommutator(*compact))[..., 0]
    z = MatrixProduct(2, 2, 2, parity="even")(x, y)
    assert sphere.relative_error(2 * z, np.reshape(expected, (-1, 9)) @ basis) < OP


@pytest.mark.parametrize("carrier", [1, 2, 3])
def test_path_coefficients_are_six_j_symbols(carrier):
    last = 2 * carrier
    product = MatrixProduct(last, last, last)
    assert product.carrier_degree == carrier
    for l1 in range(last + 1):
        for l2 in range(last + 1):
            for l3 in range(abs(l1 - l2), min(l1 + l2, last) + 1):
                arguments = map(Integer, (l1, l2, l3, carrier, carrier, carrier))
                dimensions = (2 * l1 + 1) * (2 * l2 + 1) * (2 * l3 + 1)
                expected = (-1) ** l3 * sqrt(dimensions) * float(wigner_6j(*arguments))
                assert product.path_coefficient(l1, l2, l3) == pytest.approx(
                    expected, rel=OP, abs=OP
                )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("degrees", "fields"),
    [
        ((0, 0, 0), {}),
        ((6, 6, 6), {}),
        ((1, 2, 5), {}),
        ((3, 0, 3), {"carrier": 4}),
        ((3, 2, 4), {"parity": "even", "normalization": "norm", "l1_min": 1, "l3_min": 2}),
        ((3, 2, 4), {"parity": "odd", "normalization": "component", "l2_min": 1}),
    ],
)
def test_product_is_the_contraction_with_its_coefficients(degrees, fields):
    product = MatrixProduct(*degrees, **fields)
    first, second, third = product.degrees
    x, y, weights = features(first.size, second.size, product.num_weights)
    tensor = product.coefficients()
    assert sphere.relative_error(product(x, y), np.einsum("na,nb,abc->nc", x, y, tensor)) < OP
    parts = np.split(weights, np.cumsum([first.count, second.count]), axis=1)
    w1, w2, w3 = (
        np.repeat(part, [2 * degree + 1 for degree in one], axis=1)
        for part, one in zip(parts, (first, second, third), strict=True)
    )
    weighted = np.einsum("na,nb,abc->nc", x * w1, y * w2, tensor) * w3
    assert sphere.relative_error(product(x, y, weights), weighted) < OP


@pytest.mark.usefixtures("x64")
def test_products_with_a_common_carrier_are_associative():
    product = MatrixProduct(4, 4, 4)
    x, y, z = features(25, 25, 25)
    assert sphere.relative_error(product(product(x, y), z), product(x, product(y, z))) < OP


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("parity", "keeps"), [("even", 1), ("odd", -1)])
def test_product_turns_and_inverts_with_its_inputs(parity, keeps):
    product = jax.jit(MatrixProduct(3, 2, 4, parity=parity))
    x, y = features(16, 9)
    value = product(x, y)
    rotation = sphere.random_rotation()
    of_x, of_y, of_z = (sphere.rotation_of_features(rotation, l_max) for l_max in (3, 2, 4))
    assert sphere.relative_error(product(x @ of_x.T, y @ of_y.T), value @ of_z.T) < OP
    px, py, pz = map(sphere.inversion_of_features, (3, 2, 4))
    for sign in (1, -1):
        inverted = product(sign * px * x, py * y)
        assert sphere.relative_error(inverted, sign * keeps * pz * value) < OP


def test_accidental_zeros_of_a_carrier_are_missing_paths():
    product = MatrixProduct(6, 6, 6)
    full = MatrixProduct(6, 6, 6, carrier=5)
    missing = {(3, 5, 5), (5, 3, 5), (5, 5, 3)}
    assert {tuple(path) for path in full.paths} - {tuple(p) for p in product.paths} == missing


def test_a_carrier_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match=r"carrier 1 holds degrees to 2, and 3 is needed: .* 2"):
        MatrixProduct(2, 3, 1, carrier=1)


@pytest.mark.usefixtures("x64")
def test_first_and_second_derivatives():
    product = MatrixProduct(2, 1, 2, parity="even")
    inputs = features(9, 4, product.num_weights, batch=(2,))
    check_grads(jax.jit(product), inputs, order=2, modes=["fwd", "rev"])


@pytest.mark.parametrize("l_max", [4, 6])
def test_float32_loses_only_its_rounding(l_max):
    product = MatrixProduct(l_max, l_max, l_max)
    x, y = features((l_max + 1) ** 2, (l_max + 1) ** 2)
    value = product(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    assert value.dtype == jnp.float32
    expected = np.einsum("na,nb,abc->nc", x, y, product.coefficients())
    assert sphere.relative_error(value, expected) < OP_FLOAT32


@pytest.mark.usefixtures("x64")
def test_leading_axes_broadcast_and_map():
    product = MatrixProduct(1, 2, 2)
    (x,), (y,) = features(4, batch=(5, 1)), features(9, batch=(3,))
    expected = np.einsum("...a,...b,abc->...c", x, y, product.coefficients())
    for mapped in (jax.jit(product), jax.vmap(product, (0, None))):
        assert sphere.relative_error(mapped(x, y), expected) < OP


def test_integers_are_features_too():
    x, y = np.eye(4, dtype=int)[1], np.eye(4, dtype=int)[0]
    np.testing.assert_allclose(MatrixProduct(1, 1, 1)(x, y), x / sqrt(3), atol=OP_FLOAT32)
