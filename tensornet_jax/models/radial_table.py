"""The radial functions of a compressed model: few splines of the distance."""

import flax.linen as nn
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.models.config import Compression
from tensornet_jax.ops.spline import ORDER, evaluate_spline


class RadialTable(nn.Module):
    """Splines of the distance that a compressed model's radial functions are combined from.

    compression: how many, and of how many pieces.
    cutoff: Å, where they end.
    num_species: size of the element table where each two elements have splines of their own.
    """

    compression: Compression
    cutoff: float
    dtype: str
    num_species: int | None = None

    @nn.compact
    def __call__(
        self,
        distances: Float[Array, " pairs"],
        species: tuple[Int[Array, " pairs"], Int[Array, " pairs"]] | None = None,
    ) -> Float[Array, "pairs rank"]:
        """Return functions of distances in Å, the cutoff function contained.

        Args:
            distances: Å.
            species: of receivers and senders, where it matters.
        """
        shape = (ORDER * self.compression.intervals, self.compression.rank)
        count = self.num_species
        if count is None:
            table = self.param("table", nn.initializers.normal(1.0), shape, self.dtype)
            return evaluate_spline(table, distances, self.cutoff)
        assert species is not None
        shape = (count, count, *shape)
        tables = self.param("table", nn.initializers.normal(1.0), shape, self.dtype)
        which = count * species[0] + species[1]
        flat = tables.reshape(-1, shape[-1])
        return evaluate_spline(flat, distances, self.cutoff, (which, count**2))
