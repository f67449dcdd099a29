"""The SO(2) convolution evaluated the long way: by Clebsch–Gordan paths, without frames.

Its cost grows like L⁶ where frames need L³ (arXiv:2302.03655). It is what the short way is checked
against and compared with.
"""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from tensornet_jax.ops.messages.edge_matrices import mix
from tensornet_jax.ops.so2.convolution import SO2Weights, clebsch_gordan_weights_from_so2
from tensornet_jax.ops.tensor_products.coupling import ClebschGordan

HIGHEST = lax.Precision.HIGHEST


def convolve_by_paths(
    features: Float[Array, "edges in_components in_channels"],
    harmonics: Float[Array, "edges components"],
    weights: SO2Weights,
) -> Float[Array, "edges out_components out_channels"]:
    """`so2.edge_convolution` with mixed channels, as products with the edges' harmonics.

    Args:
        features: (E, (l_in_max + 1)², C_in) in e3nn's order, channels last, in no frame.
        harmonics: (E, (l_in_max + l_out_max + 1)²) of the edges, normalization ``component``.
        weights: (C_out, C_in, l_out_max + 1 − m, l_in_max + 1 − m), the same for all edges.

    Returns:
        (E, (l_out_max + 1)², C_out).
    """
    l_out_max, l_in_max = (size - 1 for size in weights.same[0].shape[-2:])
    product = ClebschGordan(l_in_max, l_in_max + l_out_max, l_out_max, "component")
    of_paths = clebsch_gordan_weights_from_so2(weights)
    first, second, third = product.degrees
    coefficients = product.coefficients()
    found = []
    for degree in third:
        terms, kernels = [], []
        for number, path in enumerate(product.paths):
            # Without cross weights those of odd paths are zero.
            if path.l3 != degree or (weights.cross is None and sum(path) % 2):
                continue
            place = first.slice(path.l1), second.slice(path.l2), third.slice(path.l3)
            table = jnp.asarray(coefficients[place], harmonics.dtype)
            matrices = jnp.einsum("eb,abc->eca", harmonics[:, place[1]], table, precision=HIGHEST)
            terms.append(mix(matrices, features[:, place[0]]))
            kernels.append(of_paths[..., number].T)
        found.append(jnp.concatenate(terms, axis=-1) @ jnp.concatenate(kernels))
    return jnp.concatenate(found, axis=1)
