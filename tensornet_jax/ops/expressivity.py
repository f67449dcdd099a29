"""What a tensor product can express, computed from the product itself.

By Wigner and Eckart an equivariant bilinear map is, on each path (l1, l2, l3), one number times
the Clebsch–Gordan coefficients. These numbers are the coordinates of a map, and there are as many
as paths. A product with free weights reaches some set of maps; its dimension is the rank of the
derivative of the coordinates with respect to the weights at a generic point. Nothing here uses
what a product says about itself: the coordinates are found by calling it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan, is_triangle
from tensornet_jax.ops.tensor_products.protocol import Path, TensorProduct

Regime = Literal["siso", "simo", "mimo"]

RANK_TOLERANCE = 1e-10
"""Singular values below this fraction of the largest count as zero."""

RANK_GAP = 1e3
"""How many times the smallest singular value kept must exceed the largest one dropped."""

EQUIVARIANCE_TOLERANCE = 1e-9
"""How much of a product may lie outside the paths, relative to its largest component."""


class IndeterminateRankError(ArithmeticError):
    """Singular values without a clear gap between those that are zero and those that aren't."""


@dataclass(frozen=True)
class Expressivity:
    """What one product can express.

    Attributes:
        all_paths: the dimension of the space of all equivariant bilinear maps between its degrees,
            the number of triangles l1, l2, l3.
        coupled: the triples the product couples, that is whose coordinate is not zero.
        dimension: of the set of maps that one product reaches with its weights.
        even_dimension, odd_dimension: the same for the part with l1 + l2 + l3 even, or odd.
        copies: how many products, each with its own weights, have sums that fill the maps on the
            coupled triples, that is reach a set of full dimension there; None where more than
            asked for are needed.
    """

    all_paths: int
    coupled: tuple[Path, ...]
    dimension: int
    even_dimension: int
    odd_dimension: int
    copies: int | None

    @property
    def even_coupled(self) -> int:
        """The number of coupled triples with an even sum."""
        return sum(1 for path in self.coupled if sum(path) % 2 == 0)

    @property
    def odd_coupled(self) -> int:
        """The number of coupled triples with an odd sum."""
        return len(self.coupled) - self.even_coupled


@dataclass(frozen=True)
class ExpressivityRow:
    """The expressivity of one product in one regime, for the table."""

    product: str
    regime: Regime
    l_max: int
    expressivity: Expressivity


def triangles(product: TensorProduct) -> tuple[Path, ...]:
    """All the triples l1, l2, l3 of the product's degrees that can couple."""
    first, second, third = product.degrees
    return tuple(
        Path(l1, l2, l3) for l1 in first for l2 in second for l3 in third if is_triangle(l1, l2, l3)
    )


def path_coordinates(
    product: TensorProduct, weights: Float[Array, " num_weights"] | None = None
) -> Float[Array, " triangles"]:
    """The factors of the Clebsch–Gordan coefficients on all triangles, by calling the product.

    For each pair l1, l2 the product is probed with two random features of these degrees alone;
    the output of degree l3 is projected on what Clebsch–Gordan's coefficients make of them.

    Args:
        product: any family.
        weights: (num_weights,), None for the plain contraction.

    Returns:
        (number of `triangles`,), differentiable with respect to the weights.
    """
    x, y, projections, _ = _probes(product)
    z = product(jnp.asarray(x), jnp.asarray(y), weights)
    numbers, rows = projections
    return jnp.sum(z[numbers] * rows, axis=-1)


def expressivity(product: TensorProduct, *, max_copies: int = 12, seed: int = 0) -> Expressivity:
    """Compute what a product can express, in float64.

    Args:
        product: any family, with its weights free.
        max_copies: how many weighted copies to try.
        seed: of the random weights.

    Raises:
        ValueError: the product is not equivariant: part of it lies on no path.
        IndeterminateRankError: rounding blurs a rank.
    """
    with jax.enable_x64(True):
        _check_equivariance(product)
        paths = triangles(product)
        plain = np.asarray(path_coordinates(product))
        live = np.abs(plain) > RANK_TOLERANCE * np.abs(plain).max()
        even = np.array([sum(path) % 2 == 0 for path in paths])
        derivative = jax.jit(jax.jacrev(lambda weights: path_coordinates(product, weights)))
        rng = np.random.default_rng(seed)
        copies, rows = None, np.zeros((0, live.sum()))
        dimension = even_dimension = odd_dimension = 0
        for count in range(1, max_copies + 1):
            weights = rng.uniform(0.5, 1.5, product.num_weights)
            weights *= rng.choice([-1, 1], product.num_weights)
            # Coordinates relative to the plain ones, so that ranks don't depend on their sizes.
            jacobian = np.asarray(derivative(jnp.asarray(weights))).T[:, live] / plain[live]
            rows = np.concatenate([rows, jacobian])
            if count == 1:
                dimension = matrix_rank(jacobian)
                even_dimension = matrix_rank(jacobian[:, even[live]])
                odd_dimension = matrix_rank(jacobian[:, ~even[live]])
            if matrix_rank(rows) == live.sum():
                copies = count
                break
        coupled = tuple(path for path, there in zip(paths, live, strict=True) if there)
        return Expressivity(len(paths), coupled, dimension, even_dimension, odd_dimension, copies)


def matrix_rank(matrix: Float[np.ndarray, "rows columns"]) -> int:
    """The number of singular values that are not zero.

    Args:
        matrix: (rows, columns) float64, no axis need be longer than zero.

    Raises:
        IndeterminateRankError: the singular values have no gap at `RANK_TOLERANCE`.
    """
    if not matrix.size or not matrix.any():
        return 0
    values = np.linalg.svd(matrix, compute_uv=False)
    rank = int((values > RANK_TOLERANCE * values[0]).sum())
    if rank < values.size and values[rank - 1] < RANK_GAP * values[rank]:
        raise IndeterminateRankError(
            f"singular values {values[rank - 1]:.1e} and {values[rank]:.1e} of a matrix "
            f"{matrix.shape} of norm {values[0]:.1e} are too close to tell its rank: "
            "try another seed"
        )
    return rank


def regime_degrees(regime: Regime, l_max: int) -> tuple[dict[str, int], tuple[int, int, int]]:
    """The lowest degrees, by field name, and the highest, of a regime at one L.

    ``siso``: one degree each, (L, L, L). ``simo``: L and L to all of 0 … 2L. ``mimo``: all degrees
    to L, to all of 0 … 2L.

    Raises:
        ValueError: the regime is unknown.
    """
    if regime == "siso":
        return {"l1_min": l_max, "l2_min": l_max, "l3_min": l_max}, (l_max, l_max, l_max)
    if regime == "simo":
        return {"l1_min": l_max, "l2_min": l_max}, (l_max, l_max, 2 * l_max)
    if regime == "mimo":
        return {}, (l_max, l_max, 2 * l_max)
    raise ValueError(f"unknown regime {regime!r}: use one of {', '.join(get_args(Regime))}")


def compare_products(
    products: Mapping[str, type[TensorProduct]],
    *,
    l_max: int = 6,
    regimes: Iterable[Regime] = get_args(Regime),
) -> list[ExpressivityRow]:
    """The expressivity of product families in all regimes for L = 1 … l_max.

    Args:
        products: families by name, such as `tensor_products.PRODUCTS`.
        l_max: the highest L.
        regimes: which of them.

    Returns:
        Rows by regime, then product, then L. A family that couples nothing in a regime (Gaunt's
        with one odd degree) has a row of zeros.
    """
    return [
        ExpressivityRow(name, regime, degree, _of_family(family, regime, degree))
        for regime in regimes
        for name, family in products.items()
        for degree in range(1, l_max + 1)
    ]


def format_table(rows: Iterable[ExpressivityRow]) -> str:
    """The rows as text, a line for each product and a column for each L, regime by regime.

    An entry is the dimension that one product reaches / the triples it couples, × the copies that
    fill them, and in brackets the coupled triples with even + odd sums.
    """
    by_regime: dict[Regime, dict[str, dict[int, Expressivity]]] = {}
    for row in rows:
        lines = by_regime.setdefault(row.regime, {})
        lines.setdefault(row.product, {})[row.l_max] = row.expressivity
    blocks = []
    for regime, lines in by_regime.items():
        degrees = sorted({degree for line in lines.values() for degree in line})
        everything = {d: line[d].all_paths for line in lines.values() for d in line}
        table = [[regime, *(f"L={degree}" for degree in degrees)]]
        table.append(["all equivariant maps", *(str(everything[degree]) for degree in degrees)])
        for name, line in lines.items():
            table.append([name, *(_entry(line.get(degree)) for degree in degrees)])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        blocks.append(
            "\n".join(
                "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
                for line in table
            )
        )
    return "\n\n".join(blocks)


def _entry(found: Expressivity | None) -> str:
    if found is None:
        return ""
    if not found.coupled:
        return "0"
    copies = "?" if found.copies is None else found.copies
    parity = f"{found.even_coupled}+{found.odd_coupled}"
    return f"{found.dimension}/{len(found.coupled)} ×{copies} ({parity})"


def _of_family(family: type[TensorProduct], regime: Regime, l_max: int) -> Expressivity:
    lowest, highest = regime_degrees(regime, l_max)
    try:
        product = family(*highest, **lowest)  # type: ignore[arg-type]
    except ValueError:
        # These degrees are legal, so what a family refuses is to couple nothing.
        first, second, third = (lowest.get(f"l{i}_min", 0) for i in (1, 2, 3))
        count = sum(
            is_triangle(l1, l2, l3)
            for l1 in range(first, highest[0] + 1)
            for l2 in range(second, highest[1] + 1)
            for l3 in range(third, highest[2] + 1)
        )
        return Expressivity(count, (), 0, 0, 0, 0)
    return expressivity(product)


def _probes(product: TensorProduct):
    """Random features of one pair of degrees each, and how to read the coordinates.

    Returns:
        x (pairs, size), y (pairs, size), (number of the pair (paths,), projection (paths, size of
        z)), and the outputs that unit coordinates give (paths, size of z).
    """
    first, second, third = product.degrees
    rng = np.random.default_rng(0)
    pairs = [(l1, l2) for l1 in first for l2 in second]
    x, y = np.zeros((len(pairs), first.size)), np.zeros((len(pairs), second.size))
    for number, (l1, l2) in enumerate(pairs):
        for features, degrees, degree in ((x, first, l1), (y, second, l2)):
            direction = rng.normal(size=2 * degree + 1)
            features[number, degrees.slice(degree)] = direction / np.linalg.norm(direction)
    paths = triangles(product)
    numbers = np.array([pairs.index((l1, l2)) for l1, l2, _ in paths])
    units = np.zeros((len(paths), third.size))
    for row, number, (l1, l2, l3) in zip(units, numbers, paths, strict=True):
        of_x, of_y = x[number, first.slice(l1)], y[number, second.slice(l2)]
        row[third.slice(l3)] = np.einsum("abc,a,b->c", clebsch_gordan(l1, l2, l3), of_x, of_y)
    rows = units / np.sum(units**2, axis=-1, keepdims=True)
    return x, y, (numbers, rows), units


def _check_equivariance(product: TensorProduct) -> None:
    x, y, (numbers, _), units = _probes(product)
    z = np.asarray(product(jnp.asarray(x), jnp.asarray(y)))
    of_paths = np.zeros_like(z)
    np.add.at(of_paths, numbers, np.asarray(path_coordinates(product))[:, None] * units)
    outside = np.abs(z - of_paths).max() / np.abs(z).max()
    if outside > EQUIVARIANCE_TOLERANCE:
        raise ValueError(
            f"{product} is not equivariant: a fraction {outside:.1e} of it lies on no path"
        )
