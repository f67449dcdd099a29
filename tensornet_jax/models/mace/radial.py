"""The radial functions that MACE's weights of distances are made of."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from ase.data import covalent_radii
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.models.spherical.geometry import radial_basis
from tensornet_jax.ops import radial
from tensornet_jax.ops.radial import polynomial_envelope

STEEPNESS = 4.0


def envelope(config: MACEConfig, distances: Float[Array, " pairs"]) -> Float[Array, "pairs 1"]:
    """Cutoff function of distances in Å."""
    return polynomial_envelope(distances, config.cutoff, config.envelope_exponent)[:, None]


class RadialBasis(nn.Module):
    """Radial functions of a distance, times the cutoff function where that belongs to them.

    Their constants stand among the buffers where they may come from mace-torch, whose files have
    them rounded to their own precision.

    config: of the model.
    numbers: element table.
    """

    config: MACEConfig
    numbers: tuple[int, ...]
    dtype: str

    @nn.compact
    def __call__(
        self,
        distances: Float[Array, " pairs"],
        species: tuple[Int[Array, " pairs"], Int[Array, " pairs"]] | None = None,
    ) -> Float[Array, "pairs radial"]:
        """Return functions of distances in Å between atoms of two species."""
        c = self.config
        plain = c.radial == "bessel" and c.distance_transform is None
        if c.parametrization == "own" and plain and c.cutoff_function == "basis":
            return radial_basis(distances, c)
        seen = distances
        if c.distance_transform is not None:
            assert species is not None
            seen = self._transformed(distances, species)
        values = self._functions(seen)
        return values if c.cutoff_function == "messages" else values * envelope(c, distances)

    def _functions(self, distances: Array) -> Array:
        c = self.config
        if c.radial == "gaussian":
            centers = self._buffer("centers", np.linspace(0, c.cutoff, c.num_radial))
            width = c.cutoff / max(c.num_radial - 1, 1)
            return radial.gaussian(distances, centers, jnp.asarray(-0.5 / width**2, self.dtype))
        if c.radial == "chebyshev":
            return radial.chebyshev(distances, c.num_radial)
        waves = np.pi / c.cutoff * np.arange(1, c.num_radial + 1)
        frequencies = self._buffer("frequencies", waves)
        factor = self._buffer("prefactor", np.asarray(np.sqrt(2 / c.cutoff)))
        # sin(ωd)/d, by sinc(x) = sin(πx)/(πx).
        values = frequencies * jnp.sinc(frequencies * distances[:, None] / np.pi)
        return factor * values

    def _transformed(self, distances: Array, species: tuple[Array, Array]) -> Array:
        radii = self._buffer("radii", covalent_radii[np.asarray(self.numbers)])
        lengths = radii[species[0]] + radii[species[1]]
        if self.config.distance_transform == "soft":
            steepness = self._buffer("steepness", np.asarray(STEEPNESS))
            return radial.soft_transform(distances, lengths, steepness)
        constants = self._buffer("agnesi", np.asarray(radial.AGNESI))
        return radial.agnesi_transform(distances, 0.5 * lengths, constants)

    def _buffer(self, name: str, start: np.ndarray) -> Array:
        return self.variable("buffers", name, lambda: jnp.asarray(start, self.dtype)).value
