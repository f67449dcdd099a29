"""Rows of a few slots, several for an atom with many neighbors.

Every atom has as many slots as the fullest one needs. In a cluster or a large molecule the atoms of
the interior have two or three times as many neighbors as the mean, and more than half of all slots
are empty. Cut into rows of B slots, of which those that hold nothing are left out, E edges of N
atoms need no more than (E + N (B − 1))/B rows, whatever atoms they arrive at.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.ops.messages.edge_index import EdgeIndex
from tensornet_jax.ops.messages.message import rows_or_zero, set_transposes

WIDTH = 8
"""Slots of a row."""

# Of the slots of all atoms, what rows have to save to be worth the sums over them.
_SAVING = 0.2


class SlotRows(NamedTuple):
    """The slots of all atoms in rows.

    edges: the connections, with a row in the place of an atom.
    owners: (R,) the atoms that the rows belong to; N for a row of none.
    rows_of_atoms: (N, M) rows of each atom; R for none.
    """

    edges: EdgeIndex
    owners: Int[Array, " rows"]
    rows_of_atoms: Int[Array, "atoms most"]


def slot_rows(edges: EdgeIndex) -> SlotRows | None:
    """Cut the slots of atoms into rows; None where that saves little, or sizes are symbols.

    Args:
        edges: connectivity; used slots of an atom come before unused ones.
    """
    sizes = (*edges.slots.shape, edges.receivers.shape[0])
    if not all(isinstance(size, int) for size in sizes):
        return None
    num_atoms, num_slots, num_edges = sizes
    num_rows = (num_edges + num_atoms * (WIDTH - 1)) // WIDTH
    if num_rows * WIDTH > (1 - _SAVING) * num_atoms * num_slots:
        return None
    padding = num_edges - 1
    used = jnp.sum(edges.slots != padding, axis=1)
    counts = -(-used // WIDTH)
    ends = jnp.cumsum(counts)
    starts = ends - counts
    numbers = jnp.arange(num_rows)
    owners = jnp.searchsorted(ends, numbers, side="right")
    first = (numbers - rows_or_zero(starts, owners)) * WIDTH
    places = first[:, None] + np.arange(WIDTH)
    slots = edges.slots.at[owners[:, None], places].get(mode="fill", fill_value=padding)
    most = np.arange(-(-num_slots // WIDTH))
    rows_of_atoms = jnp.where(most < counts[:, None], starts[:, None] + most, num_rows)
    return SlotRows(edges._replace(slots=slots), owners, rows_of_atoms)


@jax.custom_vjp
def sum_of_rows(values: Float[Array, "rows ..."], rows: SlotRows) -> Float[Array, "atoms ..."]:
    """Sum the rows of every atom: (R, ...) → (N, ...)."""
    total = rows_or_zero(values, rows.rows_of_atoms[:, 0])
    for number in range(1, rows.rows_of_atoms.shape[1]):
        total += rows_or_zero(values, rows.rows_of_atoms[:, number])
    return total


@jax.custom_vjp
def at_rows(values: Float[Array, "atoms ..."], rows: SlotRows) -> Float[Array, "rows ..."]:
    """The value of the atom that a row belongs to, 0 for rows of none: (N, ...) → (R, ...)."""
    return rows_or_zero(values, rows.owners)


set_transposes(sum_of_rows, at_rows)
