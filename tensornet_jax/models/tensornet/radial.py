"""The functions of the distance that TensorNet's filters are made of."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.tensornet.config import CartesianConfig
from tensornet_jax.ops import radial
from tensornet_jax.ops.safe import divide, norm


def envelope(
    config: CartesianConfig, distances: Float[Array, " pairs"], cutoff_lower: float
) -> Float[Array, " pairs"]:
    """Cutoff function of distances in Å, with a lower cutoff or, given as 0, without it."""
    if config.envelope == "polynomial":
        return radial.polynomial_envelope(distances, config.cutoff)
    return radial.cosine_envelope(distances, config.cutoff, cutoff_lower)


class RadialBasis(nn.Module):
    """Radial functions of a distance, with the cosine envelope where torchmd-net has it."""

    config: CartesianConfig
    dtype: str

    @nn.compact
    def __call__(self, distances: Float[Array, " pairs"]) -> Float[Array, "pairs radial"]:
        """Return functions of distances in Å."""
        c = self.config
        size, cutoff, lower = c.num_radial, c.cutoff, c.cutoff_lower
        if c.radial == "smooth_bessel":
            return radial.smooth_bessel(distances, size, cutoff)
        if c.radial == "gaussian":
            offsets, coefficient = radial.gaussian_parameters(size, cutoff, lower)
            return radial.gaussian(
                distances,
                self._constant("offsets", offsets),
                self._constant("coefficient", coefficient),
            )
        means, betas = radial.expnorm_parameters(size, cutoff, lower)
        values = radial.expnorm(
            distances, self._constant("means", means), self._constant("betas", betas), cutoff, lower
        )
        if c.cutoff_once:
            return values
        # The lower cutoff has no part in this factor.
        return values * envelope(c, distances, 0.0)[..., None]

    def _constant(self, name: str, start: np.ndarray | float) -> Array:
        # Kept with the weights even when not trained: checkpoints from elsewhere bring their own
        # values, which differ in the eighth digit.
        def init(*_: Array) -> Array:
            return jnp.asarray(start, self.dtype)

        if self.config.trainable_radial:
            return self.param(name, init)
        return self.variable("buffers", name, init).value


class AtDistances(NamedTuple):
    """Radial functions of some distances, and the cutoff function."""

    basis: Float[Array, "pairs radial"]
    envelope: Float[Array, " pairs"]


class RadialValues(NamedTuple):
    """Radial functions of the pairs, 0 for padding by their envelope, and of an edge to oneself."""

    pairs: AtDistances
    origin: AtDistances | None


def pair_geometry(
    config: CartesianConfig,
    graph: AtomGraph,
    at: Callable[[Float[Array, " pairs"]], AtDistances],
    *,
    self_edges: bool = True,
) -> tuple[Float[Array, "pairs 3"], RadialValues]:
    """Return directions of the pairs' first edges and functions of their distances.

    Args:
        config: hyperparameters.
        graph: structures.
        at: radial and cutoff functions of distances in Å.
        self_edges: give every atom an edge to itself.

    Returns:
        unit vectors, 0 for padding, and what `at` makes of the distances.
    """
    vectors = graph.pair_vectors()
    distances = norm(vectors)
    # torchmd-net points edges from neighbor to center: A changes sign, which SO(3) sees.
    sign = 1 if config.so3_convention == "warp" else -1
    pairs = at(distances)
    pairs = pairs._replace(envelope=jnp.where(graph.edges.pair_mask, pairs.envelope, 0))
    origin = at(jnp.zeros(1, distances.dtype)) if self_edges else None
    return sign * divide(vectors, distances[:, None]), RadialValues(pairs, origin)
