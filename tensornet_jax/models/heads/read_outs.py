"""From invariant features of the atoms to the properties a model predicts."""

import ase.data
import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.models.heads.features import AtomFeatures
from tensornet_jax.models.heads.tensor_config import TensorHead
from tensornet_jax.models.heads.tensors import TensorHeads, TensorReadout
from tensornet_jax.models.layers import dense
from tensornet_jax.ops.activations import ACTIVATIONS
from tensornet_jax.ops.safe import divide
from tensornet_jax.ops.segments import sum_of_segments


class ScalarReadout(nn.Module):
    """Two-layer perceptron from features of the atoms to one number each.

    Xavier-uniform weights and zero biases.
    """

    num_channels: int
    activation: str
    dtype: str

    @nn.compact
    def __call__(self, features: Float[Array, "atoms channels"]) -> Float[Array, " atoms"]:
        """Return numbers without unit: the potential multiplies by its scale."""

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
    """MatGL's read-out: a perceptron times a gate, from features of the atoms to one number each.

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

    def __call__(self, features: Float[Array, "atoms channels"]) -> Float[Array, " atoms"]:
        """Return numbers without unit: the potential multiplies by its scale."""
        value, gate = features, features
        for layer in self.layers[:-1]:
            value = nn.silu(layer(value))
        for layer in self.gates[:-1]:
            gate = nn.silu(layer(gate))
        return (self.layers[-1](value) * nn.sigmoid(self.gates[-1](gate)))[:, 0]


class OtherHeads(nn.Module):
    """Everything a model of any kind predicts from `AtomFeatures`: tensors, dipole, charges.

    config: of the model.
    num_species: size of the element table.
    dtype: "float32" or "float64".
    """

    config: ModelConfig
    num_species: int
    dtype: str

    @nn.compact
    def __call__(self, features: AtomFeatures, graph: AtomGraph) -> dict[str, Array]:
        """Return what `TensorHeads`, `DipoleReadout`, `ChargeReadout` do, as far as is asked."""
        c = self.config
        outputs = TensorHeads(c.tensors, self.num_species, self.dtype, name="tensors")(
            features, graph
        )
        if c.has_atomic_dipoles:
            outputs |= DipoleReadout(self.dtype, name="dipole")(features, graph)
        elif c.sums_predicted_charges:
            outputs["charges"] = ChargeReadout(self.dtype, name="charges")(features, graph)
        return outputs


class ChargeReadout(nn.Module):
    """Charges that sum to the total charge."""

    WIDTH = 32

    dtype: str

    @nn.compact
    def __call__(self, features: AtomFeatures, graph: AtomGraph) -> Float[Array, " atoms"]:
        """Return charges in e, 0 for padding."""
        return _predicted_charges(features.scalars, graph, self.WIDTH, self.dtype)


class DipoleReadout(nn.Module):
    """Charges that sum to the total charge, and dipoles of the atoms.

    μ = Σ_i q_i (r_i − R) + Σ_i μ_i about the mean R of the positions; of a neutral structure it is
    the same about any point.
    """

    HEAD = TensorHead(name="atomic_dipole", symmetry="i")

    dtype: str

    @nn.compact
    def __call__(self, features: AtomFeatures, graph: AtomGraph) -> dict[str, Array]:
        """Return "dipole" (B, 3) e·Å and "charges" (N,) e, 0 for padding."""
        charges = _predicted_charges(features.scalars, graph, self.HEAD.width, self.dtype)
        dipoles = TensorReadout(self.HEAD, self.dtype, name="dipoles")(features)
        inside = graph.node_mask[:, None]
        ones = inside.astype(charges.dtype)
        center = divide(_total(ones * graph.positions, graph), _total(ones, graph))
        moments = charges[:, None] * (graph.positions - center[graph.node_graph]) + dipoles
        return {"dipole": _total(jnp.where(inside, moments, 0), graph), "charges": charges}


def _predicted_charges(
    scalars: Float[Array, "atoms channels"], graph: AtomGraph, width: int, dtype: str
) -> Float[Array, " atoms"]:
    """Conserved charges in e of invariant features, by layers of the module that calls."""
    hidden = nn.silu(dense(scalars.shape[-1], width, dtype, name="hidden")(scalars))
    return conserved(dense(width, 1, dtype, name="charges")(hidden)[:, 0], graph)


def conserved(charges: Float[Array, " atoms"], graph: AtomGraph) -> Float[Array, " atoms"]:
    """Charges in e shifted, alike in all atoms, to sum to the structures' total charges."""
    charges = jnp.where(graph.node_mask, charges, 0)
    ones = graph.node_mask.astype(charges.dtype)
    shift = divide(graph.charge - _total(charges, graph), _total(ones, graph))
    return jnp.where(graph.node_mask, charges + shift[graph.node_graph], 0)


def centered_dipole(
    charges: Float[Array, " atoms"], graph: AtomGraph, numbers: tuple[int, ...]
) -> Float[Array, "structures 3"]:
    """Dipole moment Σ_i q_i (r_i − R) about the center of mass R (Sec. 2.4, arXiv:2402.17660).

    Args:
        charges: e.
        graph: structures; not periodic, where a dipole moment has no meaning.
        numbers: element table, for the atomic masses.

    Returns:
        e·Å.
    """
    table = jnp.asarray(ase.data.atomic_masses[np.asarray(numbers)], graph.positions.dtype)
    masses = jnp.where(graph.node_mask, table[graph.species], 0)

    weighted = masses[:, None] * graph.positions
    center = divide(_total(weighted, graph), _total(masses, graph)[:, None])
    charges = jnp.where(graph.node_mask, charges, 0)
    return _total(charges[:, None] * (graph.positions - center[graph.node_graph]), graph)


def _total(values: Float[Array, "atoms ..."], graph: AtomGraph) -> Float[Array, "structures ..."]:
    """Sums over the atoms of each structure."""
    return sum_of_segments(values, graph.node_graph, graph.num_graphs)
