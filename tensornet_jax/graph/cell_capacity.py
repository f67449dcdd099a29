"""The static sizes of the neighbor list on the device: chosen on the host, and grown."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from tensornet_jax.graph.atom_graph import FINE, rung
from tensornet_jax.graph.cell_grid import CellListCapacity, Periodic, choose_grid, with_headroom
from tensornet_jax.graph.cell_list import Needed, device_pairs
from tensornet_jax.graph.neighbors import neighbor_pairs
from tensornet_jax.ops.messages.message import SLOT_BLOCK

# More atoms than this are counted on the device: the host list takes longer than compiling that.
MOST_COUNTED_BY_HOST = 50_000


def cell_list_capacity(
    positions: ArrayLike, cell: ArrayLike, pbc: ArrayLike, cutoff: float, headroom: float = 1.2
) -> CellListCapacity:
    """Choose the sizes that hold a structure and what it is likely to become.

    Args:
        positions: of real atoms, (N, 3) Å.
        cell: (3, 3) rows are lattice vectors, Å; rows of open directions are ignored.
        pbc: (3,) bool, or one bool for all directions.
        cutoff: Å, the skin included.
        headroom: factor on pairs, slots and the atoms of a bin; periodic heights may shrink by its
            cube root before bins no longer reach far enough.

    Raises:
        ValueError: headroom is below 1, or `neighbor_pairs` would refuse the structure.
    """
    if not headroom >= 1:
        raise ValueError(f"headroom must be at least 1, not {headroom}")
    positions = np.asarray(positions, np.float64)
    cell = np.asarray(cell, np.float64)
    along = np.broadcast_to(np.asarray(pbc, bool), 3)
    periodic = (bool(along[0]), bool(along[1]), bool(along[2]))
    # Refuses a cell or cutoff that makes no sense.
    neighbor_pairs(positions[:0], cell, periodic, cutoff)
    grid = choose_grid(positions, cell, periodic, cutoff, headroom)
    if len(positions) > MOST_COUNTED_BY_HOST:
        return _counted_on_device(positions, cell, periodic, cutoff, grid, headroom)
    pairs = neighbor_pairs(positions, cell, periodic, cutoff)
    most = int(np.bincount(pairs.directed()[0]).max(initial=0))
    return grid._replace(pairs=_pairs(len(pairs), headroom), slots=_slots(most, headroom))


def larger_capacity(
    capacity: CellListCapacity, needed: Needed, headroom: float = 1.2
) -> CellListCapacity:
    """Grow what a search has found too small; pairs and slots perhaps once more after the bins.

    Args:
        capacity: what the search had.
        needed: what it found.
        headroom: factor on what has to grow.

    Raises:
        ValueError: no size helps: positions are not finite, the last atom is not padding, or the
            cell has shrunk so far that it needs other bins.
    """
    if not needed.positions:
        raise ValueError(
            "positions are not finite, or so far out that their precision does not resolve "
            "distances: the trajectory has blown up, or must be wrapped into the cell"
        )
    if not needed.padding:
        raise ValueError("the last atom is not padding: make room for one atom more in the graph")
    if not needed.reach:
        raise ValueError(
            f"bins {capacity.bins} no longer reach as far as the cutoff, the cell has shrunk: "
            "make a new capacity by cell_list_capacity from the present structure"
        )
    pairs, slots, per_bin = int(needed.pairs), int(needed.slots), int(needed.per_bin)
    if pairs > capacity.pairs:
        capacity = capacity._replace(pairs=_pairs(pairs - 1, headroom))
    if slots > capacity.slots:
        capacity = capacity._replace(slots=_slots(slots, headroom))
    if per_bin > capacity.per_bin:
        capacity = capacity._replace(per_bin=with_headroom(per_bin, headroom))
    return capacity


def _pairs(pairs: int, headroom: float) -> int:
    return rung(int(pairs * headroom) + 1, FINE)


def _slots(slots: int, headroom: float) -> int:
    return -(-rung(int(slots * headroom), FINE) // SLOT_BLOCK) * SLOT_BLOCK


def _counted_on_device(
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    periodic: Periodic,
    cutoff: float,
    grid: CellListCapacity,
    headroom: float,
) -> CellListCapacity:
    """Let the search itself count, with room for hardly any pairs."""
    grid = grid._replace(pairs=1, slots=SLOT_BLOCK)
    padded = jnp.asarray(np.concatenate([positions, np.zeros((1, 3))]))
    mask, lattice = jnp.arange(len(padded)) < len(positions), jnp.asarray(cell)
    while True:
        search = jax.jit(partial(device_pairs, pbc=periodic, cutoff=cutoff, capacity=grid))
        grown = larger_capacity(grid, search(padded, mask, lattice).needed, headroom)
        if grown.per_bin == grid.per_bin:
            return grown
        grid = grid._replace(per_bin=grown.per_bin)
