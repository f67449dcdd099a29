"""TensorNet's interaction layer: messages between atoms and products of tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.models.layers import dense, in_one_product
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.models.tensornet.layers import (
    Matrix,
    Mixing,
    normalized,
    normalized_product,
    updated,
)
from tensornet_jax.models.tensornet.radial import AtDistances, RadialValues
from tensornet_jax.ops.activations import ACTIVATIONS
from tensornet_jax.ops.by_atoms import Deferred, by_atoms, deferred
from tensornet_jax.ops.cartesian import RankTwo
from tensornet_jax.ops.kernels.choice import for_gpu
from tensornet_jax.ops.messages.combined_filters import convolve_combined
from tensornet_jax.ops.messages.message import (
    EdgeIndex,
    PairParts,
    on_both_edges,
    sum_at_receivers,
)
from tensornet_jax.ops.messages.pair_filters import convolve_filtered


class Interaction(nn.Module):
    """One round of messages and tensor products (Eqs. 11–13)."""

    config: TensorNetConfig
    dtype: str

    def setup(self) -> None:
        """Create the layers."""
        c, dtype = self.config, self.dtype
        width = c.num_channels
        if c.compression:
            self.filters = [Matrix(c.basis_size, width, dtype, False) for _ in range(3)]
        else:
            self.filter_hidden = [dense(c.num_radial, width, dtype), dense(width, 2 * width, dtype)]
            self.filters = [dense(2 * width, width, dtype) for _ in range(3)]
        self.mixing_before = Mixing(width, dtype)
        self.mixing_after = Mixing(width, dtype)

    def __call__(
        self,
        tensor: RankTwo | Deferred,
        edges: EdgeIndex,
        radial: RadialValues,
        charge_factor: Float[Array, "atoms 1 1"],
    ) -> RankTwo | Deferred:
        """Return updated tensors; arguments as `Embedding`, the factor multiplies products."""
        scaled: RankTwo = by_atoms(normalized, tensor)
        scaled, y = self.mixing_before.beside(scaled)
        y, message = self._with_messages(y, edges, radial.pairs)
        own = None if radial.origin is None else self._of_origin(radial.origin)
        product = partial(normalized_product, self.config.group)
        update = self.mixing_after(by_atoms(product, y, message, own, charge_factor))
        return deferred(updated, scaled, update, charge_factor)

    def _with_messages(
        self, features: RankTwo, edges: EdgeIndex, values: AtDistances
    ) -> tuple[RankTwo, RankTwo]:
        """Return what atoms send, and the sum of what reaches each."""
        if self.config.messages != "neighbours":
            filters = [on_both_edges(each) for each in self.filters_of(values)]
            around = [sum_at_receivers(each, edges) for each in filters]
            return features, features.scaled_by_part(around)
        basis, envelope = values
        if self.config.compression:
            matrices = tuple(layer.matrix() for layer in self.filters)
            both = convolve_combined(basis * envelope[:, None], matrices, features, edges)
        else:
            inner = self._before_activation(basis)
            both = convolve_filtered(self._activated, inner, envelope, features, edges)
        sent, received = (RankTwo(*parts) for parts in both)
        return sent, received

    def filters_of(self, values: AtDistances) -> list[Float[Array, "pairs 1 channels"]]:
        """Filters of I, A and S with the cutoff function."""
        basis, envelope = values
        if self.config.compression:
            rows = basis * envelope[:, None]
            return [(rows @ layer.matrix())[:, None] for layer in self.filters]
        filters = self._before_activation(basis)
        if not isinstance(filters, tuple):
            filters = jnp.split(filters, 3, axis=1)
        return [self._activated(each, envelope[:, None, None]) for each in filters]

    def _of_origin(self, values: AtDistances) -> Sequence[Array] | Float[Array, "1 3 channels"]:
        """Filters at distance 0, by part, or for kernels side by side."""
        if not for_gpu():
            return self.filters_of(values)
        basis, envelope = values
        if self.config.compression:
            matrices = jnp.stack([layer.matrix() for layer in self.filters])
            return jnp.einsum("er,prf->epf", basis * envelope[:, None], matrices)
        before = self._before_activation(basis)
        before = jnp.concatenate(before, axis=1) if isinstance(before, tuple) else before
        return self._activated(before, envelope[:, None, None])

    @property
    def _activated(self) -> "ActivatedFilter":
        return ActivatedFilter(self.config.activation)

    def _before_activation(
        self, basis: Float[Array, "pairs radial"]
    ) -> PairParts | Float[Array, "pairs 3 channels"]:
        """What the radial network makes before its last activation, by part or side by side."""
        act = ACTIVATIONS[self.config.activation]
        for layer in self.filter_hidden:
            basis = act(layer(basis))
        layers = cast(Sequence[nn.Dense], self.filters)
        if not for_gpu() or self.is_initializing():
            values = basis[:, None]
            return tuple(layer(values) for layer in layers)
        return in_one_product(layers, basis).reshape(basis.shape[0], 3, -1)


@dataclass(frozen=True)
class ActivatedFilter:
    """A filter as a function of what comes before the last activation, and the cutoff function.

    activation: its name.
    """

    activation: str

    def __call__(self, values: Array, envelope: Array) -> Array:
        """Return the filter, arrays of equal or broadcastable shapes."""
        return ACTIVATIONS[self.activation](values) * envelope
