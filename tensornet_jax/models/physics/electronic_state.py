"""Total charge and spin as inputs: features of the atoms that say in what state the electrons are.

The electronic embedding of SpookyNet (arXiv:2105.00304, doi:10.1038/s41467-021-27504-0): charge
and unpaired electrons are shared out to the atoms by an attention over the whole structure, which
is then part of every atom's first features. Shares depend on the elements alone, and however far
apart atoms are: where charge or spin should be, the network finds out by itself if it can.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.layers import Perceptron
from tensornet_jax.ops.safe import divide
from tensornet_jax.ops.segments import sum_of_segments


class ElectronicState(nn.Module):
    """Features of the atoms from total charge and spin; 0 for a neutral singlet.

    With Ψ the total charge, or the number of unpaired electrons, keys k and values v for either
    sign of Ψ, and queries q of the elements, atom i gets

        e_i = v a_i + MLP(v a_i),   a_i = Ψ w_i / Σ_j w_j,   w_i = ln(1 + exp(q_i · k / √F)),

    where layers have no biases. Two copies of a structure with twice the charge and twice the
    unpaired electrons have the features of one.

    inputs: what enters, of "charge" and "spin".
    num_species: elements of the model.
    features: numbers an atom gets.
    """

    inputs: tuple[Literal["charge", "spin"], ...]
    num_species: int
    features: int
    dtype: str

    @nn.compact
    def __call__(self, graph: AtomGraph) -> Float[Array, "atoms features"]:
        """Return features of the atoms, 0 for padding."""
        amounts = {"charge": graph.charge, "spin": unpaired_electrons(graph.spin)}
        width = self.features

        def table(name: str, *shape: int) -> Array:
            return self.param(name, nn.initializers.normal(1.0), shape, self.dtype)

        queries = table("queries", self.num_species, width)
        features = jnp.zeros((graph.species.shape[0], width), self.dtype)
        for name in self.inputs:
            # Unpaired electrons have no sign.
            signs = 2 if name == "charge" else 1
            keys = table(f"{name}_keys", width, signs)
            values = table(f"{name}_values", signs, width)
            sign = (amounts[name] < 0).astype(int)[graph.node_graph] * (signs - 1)
            weights = jax.nn.softplus(queries @ keys * width**-0.5)[graph.species, sign]
            shares = _shared_out(amounts[name], jnp.where(graph.node_mask, weights, 0), graph)
            own = shares[:, None] * values[sign]
            features += own + Perceptron((width,), width, self.dtype, name=name)(own)
        return features


def is_table(path: str) -> bool:
    """Return whether a parameter is a table with a row for each charge or spin, or sign of it.

    They are those of `ElectronicState`, and of MACE's joint embedding.

    Args:
        path: of the parameter, its module's name the last but one: "state/charge_keys".
    """
    kinds = ("keys", "values", "table")
    names = [f"{name}_{kind}" for name in ("charge", "spin") for kind in kinds]
    return path.split("/")[-1] in names


def unpaired_electrons(spin: Float[Array, " structures"]) -> Float[Array, " structures"]:
    """Return 2S of multiplicities 2S + 1; 0 where there is none."""
    return jnp.maximum(spin - 1, 0)


def _shared_out(
    amounts: Float[Array, " structures"], weights: Float[Array, " atoms"], graph: AtomGraph
) -> Float[Array, " atoms"]:
    """Share amounts out to the atoms in proportion to weights."""
    totals = sum_of_segments(weights, graph.node_graph, graph.num_graphs)
    return weights * divide(amounts, totals)[graph.node_graph]
