"""From invariant features of the atoms to the properties a model predicts."""

import ase.data
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.common import dense
from tensornet_jax.ops.activations import ACTIVATIONS
from tensornet_jax.ops.safe import divide


class ScalarReadout(nn.Module):
    """Two-layer perceptron from features (N, F) to one number per atom, (N,).

    Xavier-uniform weights and zero biases.
    """

    num_channels: int
    activation: str
    dtype: str

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """Return (N,) without unit: the potential multiplies by its scale."""

        def layer(width: int, name: str) -> nn.Dense:
            return nn.Dense(
                width,
                dtype=self.dtype,
                param_dtype=self.dtype,
                kernel_init=nn.initializers.xavier_uniform(),
                name=name,
            )

        hidden = layer(self.num_channels // 2, "hidden")(features)
        return layer(1, "output")(ACTIVATIONS[self.activation](hidden))[:, 0]


class GatedReadout(nn.Module):
    """MatGL's read-out: a perceptron times a gate, from features (N, F) to one number, (N,).

    Both have `DEPTH` linear layers of F channels with SiLU between them; the gate is the sigmoid of
    the second one's last layer.
    """

    DEPTH = 4

    num_channels: int
    dtype: str

    def setup(self) -> None:
        """Create the layers."""
        width = self.num_channels
        widths = [width] * (self.DEPTH - 1) + [1]
        self.layers = [dense(width, w, self.dtype) for w in widths]
        self.gates = [dense(width, w, self.dtype) for w in widths]

    def __call__(self, features: Array) -> Array:
        """Return (N,) without unit: the potential multiplies by its scale."""
        value, gate = features, features
        for layer in self.layers[:-1]:
            value = nn.silu(layer(value))
        for layer in self.gates[:-1]:
            gate = nn.silu(layer(gate))
        return (self.layers[-1](value) * nn.sigmoid(self.gates[-1](gate)))[:, 0]


def centred_dipole(charges: Array, graph: AtomGraph, numbers: tuple[int, ...]) -> Array:
    """Dipole moment Σ_i q_i (r_i − R) about the centre of mass R (Sec. 2.4, arXiv:2402.17660).

    Args:
        charges: (N,) e.
        graph: structures; not periodic, where a dipole moment has no meaning.
        numbers: element table, for the atomic masses.

    Returns:
        (B, 3) e·Å.
    """
    table = jnp.asarray(ase.data.atomic_masses[np.asarray(numbers)], graph.positions.dtype)
    masses = jnp.where(graph.node_mask, table[graph.species], 0)

    def total(values: Array) -> Array:
        return jax.ops.segment_sum(values, graph.node_graph, graph.num_graphs)

    centre = divide(total(masses[:, None] * graph.positions), total(masses)[:, None])
    charges = jnp.where(graph.node_mask, charges, 0)
    return total(charges[:, None] * (graph.positions - centre[graph.node_graph]))
