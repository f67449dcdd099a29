"""Linear maps of spherical features.

Features are (N, (l_max + 1)², C) in e3nn's order, channels last: a linear map of one degree is one
matrix product over atoms and components together.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.models.layers import normal_kernel
from tensornet_jax.ops.harmonics.degrees import Degrees


class DegreeLinear(nn.Module):
    """A linear map of the channels for each degree, without bias.

    features: channels that come out.
    num_species: with more than 0, one matrix for each species too.
    """

    features: int
    dtype: str
    num_species: int = 0

    @nn.compact
    def __call__(
        self,
        parts: list[Float[Array, "atoms components _"]],
        species: Int[Array, " atoms"] | None = None,
    ) -> list[Float[Array, "atoms components channels"]]:
        """By degree, 2l + 1 components; channels may differ from degree to degree."""
        found = []
        for degree, part in enumerate(parts):
            fan_in = part.shape[-1]
            shape = (fan_in, self.features)
            shape = (self.num_species, *shape) if self.num_species else shape
            kernel = self.param(f"kernel_{degree}", normal_kernel(fan_in), shape, self.dtype)
            if not self.num_species:
                found.append(part @ kernel)
                continue
            assert species is not None
            every = jnp.einsum("nmc,scd->snmd", part, kernel)
            own = species == jnp.arange(self.num_species)[:, None]
            found.append(jnp.sum(jnp.where(own[:, :, None, None], every, 0), axis=0))
        return found


def split_degrees(
    features: Float[Array, "atoms components channels"],
) -> list[Float[Array, "atoms _ channels"]]:
    """Components of degrees 0 … l_max by degree, 2l + 1 each."""
    degrees = Degrees(0, round(np.sqrt(features.shape[1])) - 1)
    return [features[:, degrees.slice(degree)] for degree in degrees]
