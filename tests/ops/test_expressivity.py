import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops.expressivity import (
    IndeterminateRankError,
    compare_products,
    expressivity,
    format_table,
    matrix_rank,
    path_coordinates,
    regime_degrees,
    triangles,
)
from tensornet_jax.ops.tensor_products.coupling import ClebschGordan
from tensornet_jax.ops.tensor_products.gaunt_fourier import GauntFourier
from tensornet_jax.ops.tensor_products.gaunt_grid import GauntGrid
from tensornet_jax.ops.tensor_products.matrix import MatrixProduct
from tensornet_jax.ops.tensor_products.protocol import DegreeWeightedProduct
from tensornet_jax.ops.tensor_products.vector_signal import VectorSignal
from tests.tolerances import OP

FAMILIES = [ClebschGordan, GauntFourier, GauntGrid, MatrixProduct, VectorSignal]


def mimo(family, l_max, **fields):
    return family(l_max, l_max, 2 * l_max, **fields)


class MisstatedGaunt(GauntGrid):
    """A Gaunt product that claims to be Clebsch–Gordan's."""

    def path_coefficient(self, l1, l2, l3):
        return 1.0


class ComponentwiseProduct(DegreeWeightedProduct):
    """Not equivariant."""

    def path_coefficient(self, l1, l2, l3):
        return 1.0

    def _contract(self, x, y):
        return x * y


@pytest.mark.parametrize(("l_max", "count"), [(1, 6), (2, 19), (3, 44)])
def test_clebsch_gordan_reaches_every_equivariant_map(l_max, count):
    found = expressivity(mimo(ClebschGordan, l_max))
    assert found.all_paths == found.dimension == len(found.coupled) == count
    assert found.copies == 1


@pytest.mark.parametrize(
    ("family", "l_max", "dimension", "copies"),
    [
        (GauntGrid, 1, 5, 1),
        (GauntGrid, 2, 9, 2),
        (GauntGrid, 3, 13, 3),
        (GauntFourier, 2, 9, 2),
    ],
)
def test_gaunt_has_even_paths_alone_and_needs_copies_to_reach_them(
    family, l_max, dimension, copies
):
    found = expressivity(mimo(family, l_max))
    even = [path for path in triangles(mimo(family, l_max)) if sum(path) % 2 == 0]
    assert list(found.coupled) == even
    assert found.even_coupled == len(even)
    assert found.odd_coupled == 0
    assert found.dimension == found.even_dimension == dimension
    assert found.odd_dimension == 0
    assert found.copies == copies


@pytest.mark.parametrize("l_max", [1, 2])
def test_a_weight_a_degree_reaches_no_more_than_the_weights_less_two_scales(l_max):
    # Only products of weights of x, y and z matter: two of the scales between them are idle.
    for family in (GauntGrid, MatrixProduct):
        product = mimo(family, l_max)
        assert expressivity(product).dimension == product.num_weights - 2


def test_matrix_and_vector_signal_couple_both_parities():
    for family, dimension in ((MatrixProduct, 9), (VectorSignal, 14)):
        found = expressivity(mimo(family, 2))
        assert (found.even_coupled, found.odd_coupled) == (14, 5)
        assert found.dimension == dimension
        assert found.even_dimension == 9
        assert found.odd_dimension == 5


def test_a_parity_that_is_not_kept_is_not_expressed():
    found = expressivity(mimo(MatrixProduct, 2, parity="even"))
    assert (found.even_coupled, found.odd_coupled) == (14, 0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("family", FAMILIES)
def test_coordinates_measured_are_the_path_factors(family):
    product = family(2, 3, 3, "component")
    factors = {path: product.path_factor(path) for path in product.paths}
    expected = np.array([factors.get(path, 0) for path in triangles(product)])
    np.testing.assert_allclose(path_coordinates(product), expected, rtol=0, atol=10 * OP)


@pytest.mark.usefixtures("x64")
def test_coordinates_of_weights_are_those_of_the_weighted_map():
    product = ClebschGordan(1, 2, 2)
    weights = np.random.default_rng(0).normal(size=product.num_weights)
    np.testing.assert_allclose(path_coordinates(product, jnp.asarray(weights)), weights, rtol=OP)


def test_the_product_is_measured_and_not_asked():
    honest, misstated = expressivity(GauntGrid(1, 1, 2)), expressivity(MisstatedGaunt(1, 1, 2))
    assert len(MisstatedGaunt(1, 1, 2).paths) > len(GauntGrid(1, 1, 2).paths)
    assert honest == misstated


def test_a_product_that_is_not_equivariant_is_refused():
    with pytest.raises(ValueError, match="not equivariant"):
        expressivity(ComponentwiseProduct(1, 1, 1))


def test_copies_beyond_those_asked_for_are_not_guessed():
    found = expressivity(mimo(GauntGrid, 2), max_copies=1)
    assert found.copies is None
    assert found.dimension == 9


def test_double_precision_is_used_whatever_the_session_has():
    assert jnp.zeros(1).dtype == jnp.float32
    assert expressivity(GauntGrid(1, 1, 2)).dimension == 5
    assert jnp.zeros(1).dtype == jnp.float32


def test_regimes_take_one_degree_or_all_of_them():
    rows = compare_products({"gaunt": GauntGrid, "full": ClebschGordan}, l_max=2)
    found = {(row.regime, row.product, row.l_max): row.expressivity for row in rows}
    assert len(rows) == len(found) == 3 * 2 * 2
    # 1 ⊗ 1 → 1 is the cross product, which a product of functions has not.
    assert found["siso", "gaunt", 1].coupled == ()
    assert found["siso", "gaunt", 1].all_paths == found["siso", "full", 1].dimension == 1
    assert found["siso", "gaunt", 2].coupled == ((2, 2, 2),)
    assert [path[2] for path in found["simo", "full", 2].coupled] == [0, 1, 2, 3, 4]
    assert [path[2] for path in found["simo", "gaunt", 2].coupled] == [0, 2, 4]
    assert found["mimo", "gaunt", 2].dimension == 9
    with pytest.raises(ValueError, match="unknown regime 'miso'"):
        regime_degrees("miso", 1)  # type: ignore[arg-type]


def test_table_states_dimension_copies_and_parities():
    rows = compare_products({"gaunt": GauntGrid}, l_max=2, regimes=["siso", "mimo"])
    lines = [line.split() for line in format_table(rows).splitlines()]
    assert lines[0] == ["siso", "L=1", "L=2"]
    assert lines[2] == ["gaunt", "0", "1/1", "×1", "(1+0)"]
    assert lines[4] == ["mimo", "L=1", "L=2"]
    assert lines[5] == ["all", "equivariant", "maps", "6", "19"]
    assert lines[6] == ["gaunt", "5/5", "×1", "(5+0)", "9/14", "×2", "(14+0)"]


def test_rank_needs_a_gap_between_zero_and_what_is_not():
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(5, 5)))[0] for _ in range(2))
    assert matrix_rank(left * [1, 1e-3, 1e-5, 1e-17, 0] @ right) == 3
    assert matrix_rank(np.zeros((3, 2))) == matrix_rank(np.zeros((3, 0))) == 0
    with pytest.raises(IndeterminateRankError, match="too close to tell its rank"):
        matrix_rank(left * [1, 1e-3, 2e-10, 9e-11, 0] @ right)
