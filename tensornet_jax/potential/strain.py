"""Structures under a homogeneous strain, and what derivatives by it are divided by."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph


def strained(
    graph: AtomGraph,
    positions: Float[Array, "atoms 3"],
    strain: Float[Array, "structures 3 3"] | None,
) -> AtomGraph:
    """Return a graph with other positions, and these and its cells strained by ½(ε + εᵀ).

    Args:
        graph: padded structures.
        positions: Å, before the strain.
        strain: ε; None for none.
    """
    if strain is None:
        return graph.replace(positions=positions)
    symmetric = 0.5 * (strain + strain.mT)
    moved = positions + jnp.einsum("na,nab->nb", positions, symmetric[graph.node_graph])
    return graph.replace(positions=moved, cell=graph.cell + graph.cell @ symmetric)


def per_volume(
    graph: AtomGraph, values: Float[Array, "structures 3 3"]
) -> Float[Array, "structures 3 3"]:
    """Values over V = |det cell|, Å³; 0 where there is no volume."""
    volume = jnp.abs(jnp.linalg.det(graph.cell))[:, None, None]
    has_volume = volume > 0
    return jnp.where(has_volume, values / jnp.where(has_volume, volume, 1), 0)
