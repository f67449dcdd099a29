"""Our tensor products on e3nn-jax's IrrepsArray, with the parity of every output said."""

from collections.abc import Sequence
from dataclasses import replace

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.tensor_products import TensorProduct
from tensornet_jax.runtime.quiet_imports import e3nn_jax


def tensor_product(
    product: TensorProduct,
    x: e3nn_jax.IrrepsArray,
    y: e3nn_jax.IrrepsArray,
    weights: Float[Array, "... channels num_weights"] | None = None,
) -> e3nn_jax.IrrepsArray:
    """Multiply IrrepsArrays, channel by channel.

    Inputs carry each degree of the product once with one multiplicity, the channels, such as
    ``32x0e + 32x1o + 32x2e``; all degrees have natural parity (−1)^l, or all the opposite one. A
    multiplicity of one is shared by the channels of the other input. Paths of even and of odd
    l1 + l2 + l3 give outputs of opposite parity, so a product with ``parity="both"`` returns both,
    each with the degrees it reaches, where the array protocol adds them up.

    Args:
        product: any of `tensor_products.PRODUCTS`.
        x: (..., irreps) first features.
        y: (..., irreps) second features.
        weights: (..., channels or 1, num_weights) weights of the product.

    Returns:
        (..., irreps), the degrees of even paths first.

    Raises:
        ValueError: irreps that don't fit the product; weights for a product with ``both``, whose
            kinds of paths each take their own: choose ``even`` and ``odd`` one after the other.
    """
    if product.parity == "both" and weights is not None:
        raise ValueError(
            "weights belong to one kind of path: call with parity='even' and with parity='odd'"
        )
    first, sign_x = _channels(x, product.degrees[0], "x")
    second, sign_y = _channels(y, product.degrees[1], "y")
    kinds = ("even", "odd") if product.parity == "both" else (product.parity,)
    parts = []
    for kind in kinds:
        degrees = sorted({path.l3 for path in product.paths if _kind(path) == kind})
        if degrees:
            natural = sign_x * sign_y * (1 if kind == "even" else -1)
            z = replace(product, parity=kind)(first, second, weights)
            parts.append(_irreps_array(z, product.degrees[2], degrees, natural))
    return e3nn_jax.concatenate(parts)


def _kind(path: Sequence[int]) -> str:
    return "odd" if sum(path) % 2 else "even"


def _channels(features: e3nn_jax.IrrepsArray, degrees: Degrees, name: str) -> tuple[Array, int]:
    """Features as (..., channels, size) and +1 for natural parity, −1 for the opposite."""
    irreps = features.irreps
    multiplicities = {mul for mul, _ in irreps}
    signs = {ir.p * (-1) ** ir.l for _, ir in irreps}
    if [ir.l for _, ir in irreps] != list(degrees) or len(multiplicities) != 1 or len(signs) != 1:
        raise ValueError(
            f"irreps {irreps} of {name}: the product needs each degree from {degrees.first} to "
            f"{degrees.last} once, in order, with one multiplicity, and all of natural parity "
            "(0e, 1o, 2e, …) or all of the opposite one; split, sort and regroup the features"
        )
    return features.mul_to_axis().array, signs.pop()


def _irreps_array(
    z: Array, stored: Degrees, degrees: list[int], natural: int
) -> e3nn_jax.IrrepsArray:
    """Pick degrees of (..., channels, size) and make the channels multiplicities."""
    irreps = e3nn_jax.Irreps([(1, (degree, natural * (-1) ** degree)) for degree in degrees])
    array = jnp.concatenate([z[..., stored.slice(degree)] for degree in degrees], axis=-1)
    return e3nn_jax.IrrepsArray(irreps, array).axis_to_mul()
