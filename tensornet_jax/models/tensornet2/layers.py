"""TensorNet2's layers: charges of the atoms, and messages that know them."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.layers import dense, layer_norm
from tensornet_jax.models.tensornet.layers import (
    Mixing,
    normalized,
    normalized_product,
    updated,
)
from tensornet_jax.models.tensornet.radial import RadialValues
from tensornet_jax.models.tensornet2.config import TensorNet2Config
from tensornet_jax.ops.activations import ACTIVATIONS
from tensornet_jax.ops.by_atoms import by_atoms
from tensornet_jax.ops.cartesian import RankTwo, squared_norms
from tensornet_jax.ops.interactions.coulomb import equilibrated
from tensornet_jax.ops.messages.directed_message import convolve_directed
from tensornet_jax.ops.messages.message import EdgeIndex, at_receivers, at_senders, on_both_edges


class MLP(nn.Module):
    """Linear layers with biases and an activation between them, Xavier-uniform.

    widths: of the layers, the last one's without activation.
    """

    widths: tuple[int, ...]
    activation: str
    dtype: str

    def setup(self) -> None:
        """Create the layers."""
        self.layers = [
            nn.Dense(
                width,
                dtype=self.dtype,
                param_dtype=self.dtype,
                kernel_init=nn.initializers.xavier_uniform(),
            )
            for width in self.widths
        ]

    def __call__(self, values: Float[Array, "*rows channels"]) -> Float[Array, "*rows features"]:
        """Return the last layer's numbers for each row."""
        act = ACTIVATIONS[self.activation]
        for layer in self.layers[:-1]:
            values = act(layer(values))
        return self.layers[-1](values)


class Charges(nn.Module):
    """Charges of the atoms from their tensors, with the total charge of each structure."""

    config: TensorNet2Config
    dtype: str

    def setup(self) -> None:
        """Create the layers."""
        c, dtype, width = self.config, self.dtype, self.config.num_channels
        self.norm = layer_norm(dtype)
        self.mlp = MLP((width, width, 2 * c.num_charges), c.activation, dtype)

    def __call__(self, tensor: RankTwo, graph: AtomGraph) -> Float[Array, "atoms charges"]:
        """Return sets of charges side by side, e, 0 for padding."""
        # The scalar part as it is, with its sign: tr X / 3, where the coordinate is √3 times that.
        norms = squared_norms(tensor)[:, 1:].reshape(tensor.scalar.shape[0], -1)
        features = jnp.concatenate([tensor.scalar[:, 0] * 3**-0.5, norms], axis=-1)
        found = self.mlp(self.norm(features))
        charges, softness = jnp.split(jnp.where(graph.node_mask[:, None], found, 0), 2, axis=-1)
        return equilibrated(charges, softness**2, graph.charge, graph.node_graph)


class ChargedInteraction(nn.Module):
    """One round of messages whose filters know the charges of both ends, and tensor products."""

    config: TensorNet2Config
    dtype: str

    def setup(self) -> None:
        """Create the layers."""
        c, dtype, width = self.config, self.dtype, self.config.num_channels
        # The first layer of [radial functions, q_i, q_j] in two: the former are the pairs', the
        # latter the edges'.
        fan_in = c.num_radial + 2 * c.num_charges
        self.of_radial = dense(fan_in, width, dtype)
        self.of_charges = dense(fan_in, width, dtype, use_bias=False)
        self.filter_hidden = dense(width, 2 * width, dtype)
        self.filters = [dense(2 * width, width, dtype) for _ in range(3)]
        self.mixing_before = Mixing(width, dtype)
        self.mixing_after = Mixing(width, dtype)

    def __call__(
        self,
        tensor: RankTwo,
        charges: Float[Array, "atoms charges"],
        edges: EdgeIndex,
        radial: RadialValues,
    ) -> RankTwo:
        """Return updated tensors.

        Args:
            tensor: (N, 1 | 3 | 5, F).
            charges: e.
            edges: connectivity.
            radial: functions of the pairs' distances.
        """
        ends = jnp.concatenate([at_receivers(charges, edges), at_senders(charges, edges)], axis=-1)
        of_pairs = on_both_edges(self.of_radial(radial.pairs.basis))
        filters = self._filters(of_pairs, ends, on_both_edges(radial.pairs.envelope))
        scaled: RankTwo = by_atoms(normalized, tensor)
        scaled, y = self.mixing_before.beside(scaled)
        message = RankTwo(*convolve_directed(tuple(filters), y, edges))
        own = None
        if radial.origin is not None:
            basis, envelope = radial.origin
            ends = jnp.concatenate([charges, charges], axis=-1)
            own = self._filters(self.of_radial(basis), ends, envelope)
        product = partial(normalized_product, self.config.group)
        update = self.mixing_after(by_atoms(product, y, message, own, None))
        return by_atoms(updated, scaled, update, None)

    def _filters(
        self,
        of_radial: Float[Array, "rows channels"],
        charges: Float[Array, "rows charges"],
        envelope: Float[Array, " rows"],
    ) -> list[Float[Array, "rows 1 channels"]]:
        """Filters of I, A and S with the cutoff function.

        Args:
            of_radial: what the first layer makes of radial functions.
            charges: of both ends.
            envelope: cutoff function.
        """
        act = ACTIVATIONS[self.config.activation]
        hidden = act(self.filter_hidden(act(of_radial + self.of_charges(charges))))[:, None]
        return [act(layer(hidden)) * envelope[:, None, None] for layer in self.filters]
