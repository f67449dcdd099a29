"""TensorNet's interaction layer: messages between atoms and products of tensors."""

import flax.linen as nn
from jax import Array
from jaxtyping import Float

from tensornet_jax.models.layers import dense
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.models.tensornet.layers import LinearFilter, Mixing
from tensornet_jax.models.tensornet.radial import AtDistances, RadialValues
from tensornet_jax.ops.activations import ACTIVATIONS
from tensornet_jax.ops.cartesian import RankTwo, anticommutator, matmul, squared_norm
from tensornet_jax.ops.messages.message import EdgeIndex, convolve, on_both_edges, sum_at_receivers


class Interaction(nn.Module):
    """One round of messages and tensor products (Eqs. 11–13)."""

    config: TensorNetConfig
    dtype: str

    def setup(self) -> None:
        """Create the layers."""
        c, dtype = self.config, self.dtype
        width = c.num_channels
        if c.compression:
            self.filters = [LinearFilter(c.basis_size, width, dtype, False) for _ in range(3)]
        else:
            self.filter_hidden = [dense(c.num_radial, width, dtype), dense(width, 2 * width, dtype)]
            self.filters = [dense(2 * width, width, dtype) for _ in range(3)]
        self.mixing_before = Mixing(width, dtype)
        self.mixing_after = Mixing(width, dtype)

    def __call__(
        self,
        tensor: RankTwo,
        edges: EdgeIndex,
        radial: RadialValues,
        charge_factor: Float[Array, "atoms 1 1"],
    ) -> RankTwo:
        """Return updated tensors; arguments as `Embedding`, the factor multiplies products."""
        filters = tuple(self.filters_of(radial.pairs))
        tensor = tensor.scaled(1 / (squared_norm(tensor) + 1))
        y = self.mixing_before(tensor)
        if self.config.messages == "neighbours":
            message = RankTwo(*convolve(filters, y, edges))
        else:
            around = [sum_at_receivers(on_both_edges(f), edges) for f in filters]
            message = y.scaled_by_part(around)
        if radial.origin is not None:
            message = message + y.scaled_by_part(self.filters_of(radial.origin))
        if self.config.group == "O(3)":
            product = anticommutator(y, message).scaled(charge_factor)
        else:
            product = matmul(y, message).scaled(2.0)
        update = self.mixing_after(product.scaled(1 / (squared_norm(product) + 1)))
        # ΔX ΔX is half an anticommutator, the product that is at hand already.
        square = anticommutator(update, update).scaled(0.5)
        return tensor + update + square.scaled(charge_factor)

    def filters_of(self, values: AtDistances) -> list[Float[Array, "pairs 1 channels"]]:
        """Filters of I, A and S with the cutoff function."""
        basis, envelope = values
        if self.config.compression:
            return [
                ((basis * envelope[:, None]) @ layer.matrix())[:, None] for layer in self.filters
            ]
        act = ACTIVATIONS[self.config.activation]
        for layer in self.filter_hidden:
            basis = act(layer(basis))
        return [act(layer(basis[:, None])) * envelope[:, None, None] for layer in self.filters]
