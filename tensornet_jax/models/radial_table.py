"""The radial functions of a compressed model: few splines of the distance."""

import flax.linen as nn
from jax import Array
from jaxtyping import Float

from tensornet_jax.models.config import Compression
from tensornet_jax.ops.spline import ORDER, evaluate_spline


class RadialTable(nn.Module):
    """Splines of the distance that a compressed model's radial functions are combined from.

    compression: how many, and of how many pieces.
    cutoff: Å, where they end.
    """

    compression: Compression
    cutoff: float
    dtype: str

    @nn.compact
    def __call__(self, distances: Float[Array, " pairs"]) -> Float[Array, "pairs rank"]:
        """Return functions of distances in Å, the cutoff function contained."""
        shape = (ORDER * self.compression.intervals, self.compression.rank)
        table = self.param("table", nn.initializers.normal(1.0), shape, self.dtype)
        return evaluate_spline(table, distances, self.cutoff)
