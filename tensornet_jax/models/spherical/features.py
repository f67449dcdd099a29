"""Linear maps of spherical features.

Features are (N, (l_max + 1)², C) in e3nn's order, channels last: a linear map of one degree is one
matrix product over atoms and components together.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.models.layers import kernel_of, scale_of_species
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.kernels.channel_blocks import can_be_split
from tensornet_jax.ops.kernels.choice import choose
from tensornet_jax.ops.kernels.degree_linear import degree_linear


class DegreeLinear(nn.Module):
    """A linear map of the channels for each degree, without bias.

    features: channels that come out, of all degrees or of each.
    num_species: with more than 0, one matrix for each species too.
    unit: as in `kernel_of`.
    """

    features: int | tuple[int, ...]
    dtype: str
    num_species: int = 0
    unit: bool = False

    @nn.compact
    def __call__(
        self,
        parts: list[Float[Array, "atoms components _"]],
        species: Int[Array, " atoms"] | None = None,
    ) -> list[Float[Array, "atoms components channels"]]:
        """By degree, 2l + 1 components; channels may differ from degree to degree."""
        scale = 1.0
        if self.unit and self.num_species:
            scale = scale_of_species(self, self.num_species, self.dtype)
        kernels = []
        for degree, part in enumerate(parts):
            width = self.features if isinstance(self.features, int) else self.features[degree]
            shape = (part.shape[-1], width)
            shape = (self.num_species, *shape) if self.num_species else shape
            name = f"kernel_{degree}"
            kernels.append(scale * kernel_of(self, name, shape, self.dtype, unit=self.unit))
        return list(
            choose(
                degree_linear,
                _each_degree,
                tuple(parts),
                tuple(kernels),
                species if self.num_species else None,
                # A single matrix product is what libraries are best at.
                fits=(len(parts) > 1 or self.num_species > 0) and can_be_split(*parts, *kernels),
            )
        )


def _each_degree(
    parts: tuple[Array, ...], kernels: tuple[Array, ...], species: Array | None
) -> tuple[Array, ...]:
    found = []
    for part, kernel in zip(parts, kernels, strict=True):
        if species is None:
            found.append(part @ kernel)
            continue
        every = jnp.einsum("nmc,scd->snmd", part, kernel)
        own = species == jnp.arange(len(kernel))[:, None]
        found.append(jnp.sum(jnp.where(own[:, :, None, None], every, 0), axis=0))
    return tuple(found)


def split_degrees(
    features: Float[Array, "atoms components channels"],
) -> list[Float[Array, "atoms _ channels"]]:
    """Components of degrees 0 … l_max by degree, 2l + 1 each."""
    degrees = Degrees(0, round(np.sqrt(features.shape[1])) - 1)
    return [features[:, degrees.slice(degree)] for degree in degrees]
