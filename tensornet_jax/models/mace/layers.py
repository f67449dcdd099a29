"""MACE's layers: messages of the neighbors, and products of many of them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from tensornet_jax.models.layers import (
    SILU_GAIN,
    SILU_GAIN_OF_E3NN,
    Perceptron,
    kernel_of,
)
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.models.spherical.features import DegreeLinear, split_degrees
from tensornet_jax.models.spherical.geometry import EdgeGeometry
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.messages.edge_products import edge_product
from tensornet_jax.ops.messages.message import EdgeIndex, on_both_edges, sum_at_receivers
from tensornet_jax.ops.tensor_products.chain import ProductChain
from tensornet_jax.ops.tensor_products.mace_couplings import matrices_of_all_couplings
from tensornet_jax.ops.tensor_products.many_body import GauntManyBody
from tensornet_jax.ops.tensor_products.symmetric_contraction import SymmetricContraction


class Interaction(nn.Module):
    """Messages of the neighbors, summed and mixed: the features A of the atoms."""

    config: MACEConfig
    layer: int
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
        channels, l_max = c.sent_in_layer(self.layer)
        product = edge_product(c.products[0], l_max, c.l_max, c.parity)
        before = self._linear("before", channels)
        features = jnp.concatenate(before(parts[: l_max + 1]), axis=1)
        shape = (-1, product.num_weights, channels)
        # Tabulated functions are what the network would have made: only the matrix is left.
        widths = () if c.compression else c.radial_widths
        size = product.num_weights * channels
        network = Perceptron(widths, size, self.dtype, c.unit_weights, name="radial")
        weights = network(geometry.basis)
        if geometry.envelope is not None:
            weights = weights * geometry.envelope[:, None]
        weights = weights.reshape(shape)
        summed = product(features, geometry.harmonics, weights, edges)
        scale = self._scale(geometry, edges)
        return self._linear("after", c.num_channels)([part * scale for part in summed])

    def _linear(self, name: str, channels: int) -> DegreeLinear:
        return DegreeLinear(channels, self.dtype, unit=self.config.unit_weights, name=name)

    def _scale(self, geometry: EdgeGeometry, edges: EdgeIndex) -> Array | float:
        """What sums over neighbors are multiplied by."""
        c = self.config
        if c.neighbor_normalization == "mean":
            return c.message_scale
        shape = (geometry.basis.shape[-1], 1)
        kernel = kernel_of(self, "density", shape, self.dtype, unit=c.unit_weights)
        of_pairs = geometry.basis @ kernel
        if not c.compression:
            of_pairs = jnp.tanh(of_pairs**2)
        if geometry.envelope is not None:
            of_pairs = of_pairs * geometry.envelope[:, None]
        return 1 / (1 + sum_at_receivers(on_both_edges(of_pairs), edges))[:, None]


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
        if not c.species_in_many_body:
            species = jnp.zeros_like(species)
        weights = self._weights(contraction)
        return contraction(features, weights, species)

    def _weights(self, contraction: SymmetricContraction) -> Float[Array, "species paths channels"]:
        """Weights of the contraction's polynomials."""
        c = self.config
        num_species = self.num_species if c.species_in_many_body else 1
        own = [len(block.factors) for block in contraction.contractions]
        if c.parametrization == "own":
            # Each order and degree starts with variance 1 over its number of paths.
            return self._by_block(own, [paths**-0.5 for paths in own], num_species)
        matrices = (
            matrices_of_all_couplings(contraction)
            if c.couplings == "all"
            else [np.eye(paths) for paths in own]
        )
        couplings = [len(matrix) for matrix in matrices]
        weights = self._by_block(couplings, [1 / number for number in couplings], num_species)
        found, start = [], 0
        for index, matrix in enumerate(matrices):

            def init(matrix: np.ndarray = matrix) -> Array:
                return jnp.asarray(matrix, self.dtype)

            # Kept with the weights, whose meaning it is.
            basis = self.variable("buffers", f"basis_{index}", init).value
            block = weights[:, start : start + len(matrix)]
            found.append(jnp.einsum("skc,kp->spc", block, basis, precision=lax.Precision.HIGHEST))
            start += len(matrix)
        return jnp.concatenate(found, axis=1)

    def _by_block(self, numbers: list[int], scales: list[float], num_species: int) -> Array:
        """One parameter for all blocks, normal numbers of a scale each."""

        def init(key: Array, shape: tuple[int, ...], dtype: str) -> Array:
            each = np.repeat(scales, numbers)[:, None]
            return jax.random.normal(key, shape, dtype) * jnp.asarray(each, dtype)

        shape = (num_species, sum(numbers), self.config.num_channels)
        return self.param("weights", init, shape, self.dtype)

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


class BiasedReadOut(nn.Module):
    """Two hidden layers of silu, the second and the result with biases, as in mace-torch.

    width: of the hidden layers.
    unit: as in `kernel_of`.
    """

    width: int
    dtype: str
    unit: bool

    @nn.compact
    def __call__(self, values: Float[Array, "atoms channels"]) -> Float[Array, "atoms 1"]:
        """Return a number for each atom."""
        gain = SILU_GAIN_OF_E3NN if self.unit else SILU_GAIN
        for index, width in enumerate((self.width, self.width, 1)):
            shape = (values.shape[-1], width)
            values = values @ kernel_of(self, f"kernel_{index}", shape, self.dtype, unit=self.unit)
            if index:
                init = nn.initializers.zeros
                values = values + self.param(f"bias_{index}", init, (width,), self.dtype)
            if index < 2:
                values = gain * jax.nn.silu(values)
        return values
