"""The SO(2) convolution against a dense Clebsch–Gordan contraction, which has no poles."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan, is_triangle
from tensornet_jax.ops.harmonics.degrees import Degrees, Normalization
from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics
from tensornet_jax.ops.rotations.edge_frames import edge_frames, order_indices
from tensornet_jax.ops.rotations.rotation import aligning_rotation, rotate, wigner_matrices
from tensornet_jax.ops.so2.convolution import (
    SO2Weights,
    clebsch_gordan_weights_from_so2,
    edge_convolution,
    so2_convolution,
    so2_weights_from_clebsch_gordan,
)
from tests.directions import AXES, special_directions
from tests.tolerances import OP


@partial(jax.jit, static_argnames=("l_max", "mix_channels"))
def convolved(features, vectors, weights, l_max, mix_channels=False):
    """The convolution about edges, as one program."""
    frames = edge_frames(vectors, l_max)
    return edge_convolution(features, frames, weights, mix_channels=mix_channels)


def all_paths(l1_max: int, l2_max: int, l3_max: int) -> list[tuple[int, int, int]]:
    return [
        (l1, l2, l3)
        for l1 in range(l1_max + 1)
        for l2 in range(l2_max + 1)
        for l3 in range(l3_max + 1)
        if is_triangle(l1, l2, l3)
    ]


def dense_tensors(degrees: tuple[int, int, int], normalization: Normalization) -> np.ndarray:
    """Coefficients of each path apart, (paths, size of x, of the harmonics, of the output)."""
    sizes = [(degree + 1) ** 2 for degree in degrees]
    paths = all_paths(*degrees)
    tensors = np.zeros((len(paths), *sizes))
    for tensor, (l1, l2, l3) in zip(tensors, paths, strict=True):
        factor = {
            "integral": 1.0,
            "component": np.sqrt(2 * l3 + 1),
            "norm": np.sqrt((2 * l1 + 1) * (2 * l2 + 1)),
        }[normalization]
        block = tuple(Degrees(0, degree).slice(degree) for degree in (l1, l2, l3))
        tensor[block] = factor * clebsch_gordan(l1, l2, l3)
    return tensors


def by_clebsch_gordan(
    features, vectors, path_weights, degrees, normalization: Normalization = "component"
):
    """Path by path: features (..., size), vectors (..., 3), weights (paths,)."""
    unit = vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    harmonics = solid_harmonics(unit, degrees[1], normalization)
    tensors = jnp.asarray(dense_tensors(degrees, normalization))
    matrix = jnp.einsum("pabc,p->abc", tensors, path_weights)
    return jnp.einsum("abc,...a,...b->...c", matrix, features, harmonics)


def by_so2(features, vectors, path_weights, degrees, normalization: Normalization = "component"):
    weights = so2_weights_from_clebsch_gordan(path_weights, *degrees, normalization=normalization)
    frames = edge_frames(vectors, max(degrees[0], degrees[2]))
    return edge_convolution(features, frames, weights)


def random_weights(rng, l_in: int, l_out: int, m_max: int, leading=(), cross=True) -> SO2Weights:
    def matrices(first):
        shapes = [(*leading, l_out + 1 - m, l_in + 1 - m) for m in range(first, m_max + 1)]
        return tuple(jnp.asarray(rng.normal(size=shape)) for shape in shapes)

    return SO2Weights(matrices(0), matrices(1) if cross else None)


def frame_matrix(weights: SO2Weights, l_in: int, l_out: int) -> np.ndarray:
    """The convolution in the frame as one dense matrix in e3nn's order, entry by entry."""
    matrix = np.zeros(((l_out + 1) ** 2, (l_in + 1) ** 2))
    to, of = Degrees(0, l_out), Degrees(0, l_in)
    for m in range(len(weights.same)):
        for l3 in range(m, l_out + 1):
            for l1 in range(m, l_in + 1):
                for sign in (1, -1) if m else (1,):
                    entry = to.index(l3, sign * m), of.index(l1, sign * m)
                    matrix[entry] = weights.same[m][l3 - m, l1 - m]
                    if m and weights.cross is not None:
                        entry = to.index(l3, -sign * m), of.index(l1, sign * m)
                        matrix[entry] = sign * weights.cross[m - 1][l3 - m, l1 - m]
    return matrix


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("degrees", "normalization"),
    [
        ((1, 1, 1), "component"),
        ((2, 3, 4), "integral"),
        ((4, 2, 3), "norm"),
        ((3, 3, 3), "component"),
        pytest.param((4, 4, 4), "component", marks=pytest.mark.slow),
        pytest.param((5, 5, 5), "component", marks=pytest.mark.slow),
        pytest.param((6, 6, 6), "component", marks=pytest.mark.slow),
    ],
)
def test_convolution_is_the_clebsch_gordan_product_with_the_edges_harmonics(degrees, normalization):
    """Values, and gradients with respect to features, edge vectors and weights."""
    rng = np.random.default_rng(0)
    poles = special_directions()[[0, 1, 2, 4, 10, 17, 29, 41]]
    vectors = jnp.asarray(np.concatenate([rng.normal(size=(4, 3)), 1.3 * poles]))
    features = jnp.asarray(rng.normal(size=(len(vectors), (degrees[0] + 1) ** 2)))
    path_weights = jnp.asarray(rng.normal(size=len(all_paths(*degrees))))
    cotangent = jnp.asarray(rng.normal(size=(len(vectors), (degrees[2] + 1) ** 2)))

    def value_and_gradients(form):
        def run(features, vectors, path_weights):
            def apply(*arguments):
                return form(*arguments, degrees, normalization)

            value, pull = jax.vjp(apply, features, vectors, path_weights)
            return value, *pull(cotangent)

        return jax.jit(run)(features, vectors, path_weights)

    names = ("value", "by features", "by vectors", "by weights")
    for name, ours, theirs in zip(
        names, value_and_gradients(by_so2), value_and_gradients(by_clebsch_gordan), strict=True
    ):
        np.testing.assert_allclose(
            ours, theirs, rtol=0, atol=OP * float(jnp.abs(theirs).max()), err_msg=name
        )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("l_in", "l_out"), [(0, 2), (3, 2), (6, 6)])
@pytest.mark.parametrize("normalization", ["component", "norm"])
def test_path_weights_and_so2_weights_are_one_to_one(l_in, l_out, normalization):
    rng = np.random.default_rng(1)
    weights = random_weights(rng, l_in, l_out, min(l_in, l_out), leading=(2,))
    paths = clebsch_gordan_weights_from_so2(weights, normalization=normalization)
    assert paths.shape == (2, len(all_paths(l_in, l_in + l_out, l_out)))
    back = so2_weights_from_clebsch_gordan(
        paths, l_in, l_in + l_out, l_out, normalization=normalization
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=10 * OP), back, weights)


@pytest.mark.usefixtures("x64")
def test_even_paths_need_no_cross_weights_and_odd_paths_only_those():
    paths = all_paths(2, 2, 2)
    even = jnp.asarray([1.0 if sum(path) % 2 == 0 else 0.0 for path in paths])
    weights = so2_weights_from_clebsch_gordan(even, 2, 2, 2)
    assert weights.cross is not None
    assert all(not np.any(matrix) for matrix in weights.cross)
    restricted = so2_weights_from_clebsch_gordan(np.ones(int(even.sum())), 2, 2, 2, parity="even")
    assert restricted.cross is None
    jax.tree.map(np.testing.assert_array_equal, restricted.same, weights.same)
    odd = so2_weights_from_clebsch_gordan(1 - even, 2, 2, 2)
    assert all(not np.any(matrix) for matrix in odd.same)


@pytest.mark.usefixtures("x64")
def test_gradient_by_the_edge_is_right_on_the_axes_and_within_1e_minus_8_of_them():
    degrees, vectors = (3, 4, 3), jnp.asarray(1.1 * special_directions())
    rng = np.random.default_rng(2)
    features = jnp.asarray(rng.normal(size=(len(vectors), 16)))
    path_weights = jnp.asarray(rng.normal(size=len(all_paths(*degrees))))

    def energy(form, vectors):
        return (form(features, vectors, path_weights, degrees) ** 2).sum()

    ours = jax.jit(jax.grad(lambda v: energy(by_so2, v)))(vectors)
    theirs = jax.jit(jax.grad(lambda v: energy(by_clebsch_gordan, v)))(vectors)
    scale = float(jnp.abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=10 * OP * scale)

    @jax.jit
    def energies(vectors):
        return (by_so2(features, vectors, path_weights, degrees) ** 2).sum(-1)

    step = 1e-5
    for axis, shift in enumerate(step * np.eye(3)):
        slope = (energies(vectors + shift) - energies(vectors - shift)) / (2 * step)
        np.testing.assert_allclose(ours[:, axis], slope, rtol=0, atol=1e-6 * scale)


@pytest.mark.usefixtures("x64")
def test_second_derivatives_by_the_edge_are_right_on_the_axes():
    rng = np.random.default_rng(3)
    features = jnp.asarray(rng.normal(size=9))
    path_weights = jnp.asarray(rng.normal(size=len(all_paths(2, 2, 2))))
    vectors = jnp.asarray(special_directions())

    def hessians(form):
        def energy(vector):
            return (form(features, vector, path_weights, (2, 2, 2)) ** 2).sum()

        return jax.jit(jax.vmap(jax.jacrev(jax.grad(energy))))(vectors)

    theirs = hessians(by_clebsch_gordan)
    np.testing.assert_allclose(
        hessians(by_so2), theirs, rtol=0, atol=10 * OP * float(jnp.abs(theirs).max())
    )


def test_float32_gradients_on_the_axes_are_finite_and_right_and_zero_vectors_have_none():
    vectors = np.append(special_directions(), np.zeros((1, 3)), axis=0).astype(np.float32)
    rng = np.random.default_rng(4)
    features = rng.normal(size=(len(vectors), 16)).astype(np.float32)
    path_weights = rng.normal(size=len(all_paths(3, 3, 3))).astype(np.float32)

    def energy(form, vectors):
        rows = slice(len(vectors))
        return (form(features[rows], vectors, path_weights, (3, 3, 3)) ** 2).sum()

    ours = jax.jit(jax.grad(lambda v: energy(by_so2, v)))(vectors)
    assert ours.dtype == jnp.float32
    np.testing.assert_array_equal(ours[-1], 0)
    with jax.enable_x64(True):
        exact = vectors[:-1].astype(np.float64)
        theirs = jax.jit(jax.grad(lambda v: energy(by_clebsch_gordan, v)))(exact)
    scale = float(np.abs(theirs).max())
    np.testing.assert_allclose(ours[:-1], theirs, rtol=0, atol=1e-5 * scale)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("cross", [True, False])
@pytest.mark.parametrize(("l_in", "l_out", "m_max"), [(3, 2, 2), (2, 4, 1), (3, 3, 0)])
def test_convolution_in_the_frame_is_the_banded_matrix_of_the_paper(l_in, l_out, m_max, cross):
    rng = np.random.default_rng(5)
    weights = random_weights(rng, l_in, l_out, m_max, cross=cross)
    features = jnp.asarray(rng.normal(size=(4, (l_in + 1) ** 2)))
    expected = features @ frame_matrix(weights, l_in, l_out).T
    np.testing.assert_allclose(so2_convolution(features, weights), expected, atol=10 * OP)


@pytest.mark.usefixtures("x64")
def test_truncation_drops_the_rows_above_m_max_and_the_roll_does_not_matter():
    """The convolution between explicit matrices of another roll, with the rows cut by hand."""
    rng = np.random.default_rng(6)
    weights = random_weights(rng, 4, 3, 3)
    cut = SO2Weights(weights.same[:2], (weights.cross or ())[:1])
    vectors = np.concatenate([AXES, rng.normal(size=(5, 3))])
    features = jnp.asarray(rng.normal(size=(len(vectors), 25)))
    turns = rng.uniform(0, 2 * np.pi, len(vectors))
    rolls = Rotation.from_rotvec(turns[:, None] * [0, 1, 0]).as_matrix()
    matrices = jax.jit(wigner_matrices, static_argnums=1)(
        rolls @ np.asarray(aligning_rotation(vectors)), 4
    )
    for each in (weights, cut):
        aligned = np.array(rotate(features, matrices))
        kept = np.concatenate(order_indices(4, len(each.same) - 1))
        aligned[:, np.setdiff1d(np.arange(25), kept)] = 0
        in_frame = jnp.asarray(aligned @ frame_matrix(each, 4, 3).T)
        expected = rotate(in_frame, matrices[:4], inverse=True)
        result = convolved(features, vectors, each, 4)
        np.testing.assert_allclose(result, expected, rtol=0, atol=10 * OP)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("cross", [True, False])
def test_convolution_is_equivariant_and_under_inversion_only_without_cross_weights(cross):
    rng = np.random.default_rng(7)
    weights = random_weights(rng, 3, 4, 2, cross=cross)
    vectors, features = rng.normal(size=(6, 3)), jnp.asarray(rng.normal(size=(6, 16)))
    convolve = jax.jit(lambda x, v: edge_convolution(x, edge_frames(v, 4), weights))
    rotation = Rotation.from_rotvec([0.4, -1.1, 0.8]).as_matrix()
    for sign, holds in ((1, True), (-1, not cross)):
        matrices = wigner_matrices(sign * rotation, 4)
        turned = convolve(rotate(features, matrices[:4]), sign * vectors @ rotation.T)
        expected = rotate(convolve(features, vectors), matrices)
        error = float(jnp.abs(turned - expected).max() / jnp.abs(expected).max())
        assert (error < 10 * OP) if holds else (error > 0.1)


@pytest.mark.usefixtures("x64")
def test_weights_of_edges_and_channels_broadcast():
    rng = np.random.default_rng(8)
    features, vectors = jnp.asarray(rng.normal(size=(3, 2, 9))), rng.normal(size=(3, 1, 3))
    for leading in ((), (2,), (3, 1), (3, 2)):
        weights = random_weights(rng, 2, 1, 1, leading=leading)
        full = jax.tree.map(
            lambda matrix: jnp.broadcast_to(matrix, (3, 2, *matrix.shape[-2:])), weights
        )
        result = convolved(features, vectors, weights, 2)
        for edge in range(3):
            for channel in range(2):
                lone = jax.tree.map(lambda matrix, at=(edge, channel): matrix[at], full)
                alone = convolved(features[edge, channel], vectors[edge, 0], lone, 2)
                np.testing.assert_allclose(result[edge, channel], alone, rtol=0, atol=10 * OP)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("leading", [(), (3,)])
@pytest.mark.parametrize("cross", [True, False])
def test_mixed_channels_are_sums_over_the_input_channels(cross, leading):
    rng = np.random.default_rng(9)
    weights = random_weights(rng, 2, 3, 2, leading=(*leading, 4, 2), cross=cross)
    features = jnp.asarray(rng.normal(size=(3, 2, 9)))
    vectors = rng.normal(size=(3, 1, 3))
    result = convolved(features, vectors, weights, 3, mix_channels=True)
    assert result.shape == (3, 4, 16)
    for channel in range(4):
        row = jax.tree.map(lambda matrix, at=channel: matrix[..., at, :, :, :], weights)
        expected = convolved(features, vectors, row, 3).sum(1)
        np.testing.assert_allclose(result[:, channel], expected, rtol=0, atol=10 * OP)
    np.testing.assert_allclose(
        so2_convolution(features, weights, mix_channels=True),
        sum(
            so2_convolution(
                features[:, None, at], jax.tree.map(lambda w, at=at: w[..., at, :, :], weights)
            )
            for at in range(2)
        ),
        rtol=0,
        atol=10 * OP,
    )


def test_unfit_arguments_are_refused():
    weights = random_weights(np.random.default_rng(0), 2, 2, 1)
    features = jnp.ones((3, 9))
    with pytest.raises(ValueError, match=r"order 0 in SO2Weights\.same"):
        so2_convolution(jnp.ones((3, 4)), weights)
    with pytest.raises(ValueError, match="one fewer is needed"):
        so2_convolution(features, weights._replace(cross=()))
    with pytest.raises(ValueError, match=r"orders go up to min\(l_in_max, l_out_max\) = 1"):
        so2_convolution(jnp.ones((3, 4)), random_weights(np.random.default_rng(0), 2, 2, 2))
    with pytest.raises(ValueError, match=r"must be \(l_in_max \+ 1\)² components"):
        so2_convolution(jnp.ones((3, 5)), weights)
    with pytest.raises(ValueError, match="must end in 5, one a path"):
        so2_weights_from_clebsch_gordan(jnp.ones(4), 1, 1, 1)
    with pytest.raises(ValueError, match="m_max 2"):
        so2_weights_from_clebsch_gordan(jnp.ones(5), 1, 1, 1, m_max=2)
