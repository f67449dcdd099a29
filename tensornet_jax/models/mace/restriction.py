"""A MACE with Gaunt products is a MACE with Clebsch–Gordan products and restricted weights.

The library's Gaunt products are Clebsch–Gordan products whose path weights are fixed but for one
factor a degree. So every Gaunt model has a Clebsch–Gordan model that is the same function, and
`clebsch_gordan_from_gaunt` writes it down: the upper bound of what the exchange of the product can
cost in accuracy, and a start for training on with all the weights.
"""

from itertools import permutations

import numpy as np
from flax.typing import Collection
from jaxtyping import Float

from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.ops.harmonics.angular_momentum import gaunt_ratio
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.harmonics.quadrature import lebedev
from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics
from tensornet_jax.ops.messages.edge_products import PathProduct
from tensornet_jax.ops.tensor_products.equivariant_polynomials import Contraction
from tensornet_jax.ops.tensor_products.symmetric_contraction import SymmetricContraction

GAUNT = ("gaunt_grid", "gaunt_fourier")


def clebsch_gordan_from_gaunt(
    config: MACEConfig, params: Collection
) -> tuple[MACEConfig, Collection]:
    """Return the Clebsch–Gordan model that is the same function as a Gaunt model.

    Args:
        config: of a model whose two products are Gaunt products.
        params: its parameters.

    Returns:
        configuration and parameters, to be put into `Potential.replace`.

    Raises:
        ValueError: a product is not a Gaunt product.
    """
    if not set(config.products) <= set(GAUNT):
        raise ValueError(
            f"products {config.products} of this model: only {' and '.join(GAUNT)} are "
            "restrictions of clebsch_gordan with known weights"
        )
    found = dict(params)
    for layer in range(config.num_layers):
        l_out_max = config.hidden_l_max if layer < config.num_layers - 1 else 0
        name = f"interaction_{layer}"
        found[name] = _paths_of_messages(config, layer, params[name])
        name = f"many_body_{layer}"
        found[name] = {"weights": _contraction_weights(config, l_out_max, params[name])}
    changes = {
        "product": "clebsch_gordan",
        "interaction_product": None,
        "many_body_product": None,
    }
    return config.model_copy(update=changes), found


def _paths_of_messages(config: MACEConfig, layer: int, params: Collection) -> Collection:
    """Each path gets the weight of its filter's degree times Gaunt's ratio on it."""
    channels, l_in_max = config.sent_in_layer(layer)
    paths = PathProduct(l_in_max, config.l_max, config.parity).product.paths
    last = f"kernel_{len(config.radial_widths)}"
    kernel = np.asarray(params["radial"][last])
    kernel = kernel.reshape(len(kernel), config.l_max + 1, channels)
    ratios = np.array([gaunt_ratio(*path) for path in paths])
    kernel = kernel[:, [path.l2 for path in paths]] * ratios[:, None]
    after = {}
    for degree in range(config.l_max + 1):
        copies = sum(path.l3 == degree for path in paths)
        after[f"kernel_{degree}"] = np.tile(params["after"][f"kernel_{degree}"], (copies, 1))
    radial = {**params["radial"], last: kernel.reshape(len(kernel), -1)}
    return {**params, "radial": radial, "after": after}


def _contraction_weights(
    config: MACEConfig, l_out_max: int, params: Collection
) -> Float[np.ndarray, "species paths channels"]:
    """Weights that make the symmetric contraction the product of weighted signals."""
    factors, results = np.asarray(params["factors"]), np.asarray(params["results"])
    contraction = SymmetricContraction(config.l_max, l_out_max, config.correlation, config.parity)
    weights = []
    for block in contraction.contractions:
        shares = _share_of_gaunt(config.l_max, block)
        for degrees, share in zip(block.factors, shares, strict=True):
            # Which factor brings which degree does not matter to a symmetric tensor.
            orders = list(permutations(degrees))
            of_factors = sum(
                np.prod([factors[:, t, :, degree] for t, degree in enumerate(order)], axis=0)
                for order in orders
            )
            of_result = results[:, block.order - 1, :, block.degree]
            weights.append(share * of_factors * of_result / len(orders))
    return np.stack(weights, axis=1)


def _share_of_gaunt(l_max: int, block: Contraction) -> Float[np.ndarray, " paths"]:
    """How much of each path there is in ∫ Y_m (Σ x_a Y_a)^ν."""
    grid = lebedev(block.order * l_max + block.degree)
    harmonics = solid_harmonics(grid.points, max(l_max, block.degree))
    results = harmonics[:, Degrees(0, block.degree).slice(block.degree)]
    values = grid.weights[:, None]
    monomials = np.zeros((1, 0), int)
    for _ in range(block.order):
        size = (l_max + 1) ** 2
        lowest = monomials[:, -1] if monomials.shape[1] else np.zeros(len(monomials), int)
        rows = np.repeat(np.arange(len(monomials)), size - lowest)
        added = np.concatenate([np.arange(low, size) for low in lowest])
        monomials = np.column_stack([monomials[rows], added])
        values = values[:, rows] * harmonics[:, added]
    integrals = values.T @ results
    return np.einsum("kmp,km->p", block.polynomials, integrals) / (2 * block.degree + 1)
