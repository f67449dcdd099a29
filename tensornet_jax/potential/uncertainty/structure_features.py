"""Features of the last layer, structure by structure: where a potential sees structures."""

from collections.abc import Iterator, Sequence
from functools import partial

import ase
import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph, batch_structures, to_device
from tensornet_jax.graph.capacity_ladder import CapacityLadder, packs
from tensornet_jax.ops.segments import sum_of_segments
from tensornet_jax.potential.potential import ATOMS_PER_BATCH, Potential
from tensornet_jax.potential.uncertainty.last_layer import uncertain_features
from tensornet_jax.potential.variables import Variables


def features_per_atom(
    potential: Potential, structures: Sequence[ase.Atoms], batch_size: int | None
) -> Iterator[tuple[list[int], Float[np.ndarray, "structures features"]]]:
    """Yield indices of structures, and f_A = Σ_i φ_i / N_A of each, without unit.

    Of a committee φ_i are the energies its members give an atom; see `uncertain_features`.

    Args:
        potential: with a last layer that `require_last_layer` knows, or a committee.
        structures: which come by size, not in their order.
        batch_size: structures at a time; None for as many as fill `ATOMS_PER_BATCH` atoms.

    Raises:
        ValueError: an element that the potential does not know.
    """
    ladder = CapacityLadder()
    for pack in packs([len(atoms) for atoms in structures], batch_size, ATOMS_PER_BATCH):
        chosen = [potential.structure(structures[k], f" (structure {k})") for k in pack]
        capacity = ladder.choose(chosen)
        with potential.precision():
            graph = to_device(batch_structures(chosen, capacity, potential.dtype))
            sums = _features_of_structures(potential.module, potential.variables, graph)
        sizes = np.array([max(len(each), 1) for each in chosen])
        yield pack, np.asarray(sums, np.float64)[: len(pack)] / sizes[:, None]


@partial(jax.jit, static_argnames="module")
def _features_of_structures(
    module: nn.Module, variables: Variables, graph: AtomGraph
) -> Float[jax.Array, "structures features"]:
    features = uncertain_features(module, variables, graph)
    return sum_of_segments(features, graph.node_graph, graph.num_graphs)
