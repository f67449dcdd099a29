"""The constant arrays of a simulation, from ASE structures."""

from collections.abc import Sequence

import ase
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool

from tensornet_jax.md.blocks import in_blocks
from tensornet_jax.md.lists.neighbor_lists import NeighborLists
from tensornet_jax.md.state import Rows, System, replica_keys


def make_system(
    atoms: Sequence[ase.Atoms],
    mobile: Sequence[Bool[np.ndarray, " atoms"]],
    degrees_of_freedom: Sequence[int],
    lists: NeighborLists,
    *,
    timestep: float,
    seed: int = 0,
    replicas: Sequence[int] | None = None,
) -> System:
    """Return the arrays, padded as the neighbor lists are.

    Args:
        atoms: structures.
        mobile: of each, False for fixed atoms.
        degrees_of_freedom: of each.
        lists: their neighbor lists.
        timestep: Å·√(amu/eV).
        seed: of the random numbers.
        replicas: numbers the structures have among the random numbers; 0, 1, … by default.
    """
    dtype, padded = lists.dtype, lists.padded_atoms

    def filled(parts: Sequence[np.ndarray], rest: float, kind: DTypeLike) -> Array:
        rows = np.full(padded, rest, kind)
        rows[: lists.num_atoms] = np.concatenate(parts)
        return jnp.asarray(rows)

    sizes = [len(each) for each in atoms]
    graphs = [np.full(size, index) for index, size in enumerate(sizes)]
    numbers = list(range(len(sizes)) if replicas is None else replicas)
    return System(
        masses=filled([each.get_masses() for each in atoms], 1, dtype),
        mobile=filled(mobile, False, bool),
        node_graph=filled(graphs, len(sizes) - 1, np.int32),
        atom_index=filled([np.arange(size) for size in sizes], 0, np.int32),
        node_mask=filled([np.ones(size, bool) for size in sizes], False, bool),
        degrees_of_freedom=jnp.asarray(degrees_of_freedom, dtype),
        timestep=jnp.asarray(timestep, dtype),
        keys=replica_keys(seed, jnp.asarray(numbers, jnp.int32)),
        rows=_rows_of(lists.atoms, padded) if in_blocks() else None,
    )


def _rows_of(atoms: Sequence[slice], num_rows: int) -> Rows:
    """Return the rows of each structure's atoms.

    Args:
        atoms: rows of each structure.
        num_rows: how many there are, with padding.
    """
    sizes = np.array([here.stop - here.start for here in atoms], np.int32)
    numbers = np.full((len(atoms), sizes.max()), num_rows, np.int32)
    for row, here in zip(numbers, atoms, strict=True):
        row[: here.stop - here.start] = np.arange(here.start, here.stop)
    return Rows(jnp.asarray(numbers), jnp.asarray(sizes))
