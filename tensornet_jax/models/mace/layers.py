"""MACE's layers: messages of the neighbors, and products of many of them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.models.layers import Perceptron
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.models.spherical.features import DegreeLinear, split_degrees
from tensornet_jax.models.spherical.geometry import EdgeGeometry
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.messages.edge_products import edge_product
from tensornet_jax.ops.messages.message import EdgeIndex
from tensornet_jax.ops.tensor_products.chain import ProductChain
from tensornet_jax.ops.tensor_products.many_body import GauntManyBody
from tensornet_jax.ops.tensor_products.symmetric_contraction import SymmetricContraction


class Interaction(nn.Module):
    """Messages of the neighbors, summed and mixed: the features A of the atoms."""

    config: MACEConfig
    dtype: str

    @nn.compact
    def __call__(
        self,
        features: Float[Array, "atoms components channels"],
        geometry: EdgeGeometry,
        edges: EdgeIndex,
    ) -> list[Float[Array, "atoms _ channels"]]:
        """Return by degree 0 … l_max, 2l + 1 components each, what the neighbors send."""
        c = self.config
        parts = split_degrees(features)
        product = edge_product(c.products[0], len(parts) - 1, c.l_max, c.parity)
        features = jnp.concatenate(
            DegreeLinear(c.num_channels, self.dtype, name="before")(parts), axis=1
        )
        shape = (-1, product.num_weights, c.num_channels)
        # Tabulated functions are what the network would have made: only the matrix is left.
        widths = () if c.compression else c.radial_widths
        weights = Perceptron(
            widths, product.num_weights * c.num_channels, self.dtype, name="radial"
        )(geometry.basis).reshape(shape)
        summed = product(features, geometry.harmonics, weights, edges)
        summed = [part * c.message_scale for part in summed]
        return DegreeLinear(c.num_channels, self.dtype, name="after")(summed)


class ManyBody(nn.Module):
    """Products of 1 … ν factors of the atoms' features, with weights of their elements."""

    config: MACEConfig
    num_species: int
    l_out_max: int
    dtype: str

    @nn.compact
    def __call__(
        self, parts: list[Float[Array, "atoms _ channels"]], species: Int[Array, " atoms"]
    ) -> list[Float[Array, "atoms _ channels"]]:
        """By degree, 2l + 1 components each: 0 … l_max → 0 … l_out_max."""
        c = self.config
        features = jnp.concatenate(parts, axis=1)
        if c.products[1] == "clebsch_gordan":
            return split_degrees(self._contract(features, species))
        return split_degrees(self._multiply(features, species))

    def _contract(self, features: Array, species: Array) -> Array:
        c = self.config
        contraction = SymmetricContraction(c.l_max, self.l_out_max, c.correlation, c.parity)

        def init(key: Array, shape: tuple[int, ...], dtype: str) -> Array:
            # Each order and degree starts with variance 1 over its number of paths.
            scales = [
                jnp.full(paths, paths**-0.5)
                for paths in (len(block.factors) for block in contraction.contractions)
            ]
            return jax.random.normal(key, shape, dtype) * jnp.concatenate(scales)[:, None]

        shape = (self.num_species, contraction.num_weights, c.num_channels)
        weights = self.param("weights", init, shape, self.dtype)
        return contraction(features, weights, species)

    def _multiply(self, features: Array, species: Array) -> Array:
        c = self.config
        order, channels = c.correlation, c.num_channels
        shape = (self.num_species, order, channels, c.l_max + 1)
        of_factors = self.param("factors", nn.initializers.ones, shape, self.dtype)
        shape = (self.num_species, order, channels, self.l_out_max + 1)
        of_results = self.param("results", nn.initializers.normal(1.0), shape, self.dtype)
        inputs = features.mT
        own = of_factors[species][..., Degrees(0, c.l_max).of_components]
        factors = [inputs * own[:, index] for index in range(order)]
        product = (
            GauntManyBody(c.l_max, self.l_out_max, order)
            if c.products[1] == "gaunt_grid"
            else ProductChain(c.products[1], c.l_max, self.l_out_max, order, parity=c.parity)
        )
        powers = product.partial_products(factors)
        own = of_results[species][..., Degrees(0, self.l_out_max).of_components]
        return jnp.einsum("nckm,nkcm->nmc", powers, own)
