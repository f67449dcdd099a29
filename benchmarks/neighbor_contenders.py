"""The neighbor lists that `neighbors.py` times, and the structures they are made for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matscipy.neighbours import neighbour_list

from tensornet_jax.benchmark.measure import compile_work
from tensornet_jax.graph.cell_capacity import cell_list_capacity
from tensornet_jax.graph.cell_list import DevicePairs, device_pairs
from tensornet_jax.graph.edges import slot_table
from tensornet_jax.graph.neighbors import neighbor_pairs

CUTOFF = 5.0
VOLUME_PER_ATOM = 10.0
SHAPES = {
    "cubic": np.eye(3),
    "skewed": np.array([[1.0, 0.0, 0.0], [0.3, 1.0, 0.0], [-0.2, 0.4, 1.0]]),
    "cluster": np.eye(3),
}
PEERS = {"matscipy": "matscipy", "vesin": "vesin", "jax-md": "jax_md"}
# jax-md holds the positions of all candidates at once: tens of gigabytes for a million atoms.
MOST_ATOMS_OF_JAX_MD = 100_000
LISTS_IN_A_LOOP = 5


@dataclass(frozen=True)
class Case:
    """Atoms at 0.1 Å⁻³, at random about the sites of a lattice and in random order.

    positions: Å.
    cell: Å.
    periodic: in all directions, or in none.
    """

    positions: Float[np.ndarray, "atoms 3"]
    cell: Float[np.ndarray, "3 3"]
    periodic: bool

    @property
    def pbc(self) -> tuple[bool, bool, bool]:
        """The same for each direction."""
        return (self.periodic, self.periodic, self.periodic)


ListT = TypeVar("ListT")


@dataclass(frozen=True)
class Contender(Generic[ListT]):
    """What is timed.

    Attributes:
        run: makes the list.
        count: number of its edges.
        facts: what else is known of it.
        lists: how many lists `run` makes one after the other.
    """

    run: Callable[[], ListT]
    count: Callable[[ListT], int]
    facts: dict[str, object]
    lists: int = 1


class NotTimedError(Exception):
    """Why a contender does not take part."""


def make_case(atoms: int, shape: str) -> Case:
    """Return the structure of a size and a shape; always the same one."""
    rng = np.random.default_rng(atoms)
    cell = SHAPES[shape] * np.cbrt(VOLUME_PER_ATOM * atoms / abs(np.linalg.det(SHAPES[shape])))
    side = int(np.ceil(np.cbrt(atoms)))
    sites = np.array(np.unravel_index(rng.permutation(side**3)[:atoms], (side,) * 3)).T
    fractions = (sites + 0.5 + rng.uniform(-0.25, 0.25, (atoms, 3))) / side
    return Case(fractions @ cell, cell, shape != "cluster")


def device(case: Case) -> Contender:
    """Our list on the device, as a graph has it: edges both ways, shifts, slots."""
    return _on_device(case, 0)


def device_in_a_loop(case: Case) -> Contender:
    """The same made again and again by one compiled loop, as in molecular dynamics.

    Its arrays stay where they are; those of a single call are new memory each time, which the
    system has to hand out page by page.
    """
    return _on_device(case, LISTS_IN_A_LOOP)


def _on_device(case: Case, lists: int) -> Contender:
    capacity = cell_list_capacity(case.positions, case.cell, case.pbc, CUTOFF)
    padded = jnp.asarray(np.vstack([case.positions, np.zeros(3)]), jnp.float32)
    real = jnp.arange(len(padded)) < len(case.positions)

    def once(positions: jax.Array, real: jax.Array, cell: jax.Array) -> DevicePairs:
        return device_pairs(positions, real, cell, case.pbc, CUTOFF, capacity)

    def again(positions: jax.Array, real: jax.Array, cell: jax.Array) -> DevicePairs:
        def step(_: jax.Array, found: DevicePairs) -> DevicePairs:
            # Nothing moves, but the compiler cannot know.
            moved = positions + jnp.where(found.overflow, 1.0, 0.0)
            return once(moved, real, cell)

        empty = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(once, positions, real, cell)
        )
        return jax.lax.fori_loop(0, lists, step, empty)

    cell = jnp.asarray(case.cell, jnp.float32)
    work = compile_work(again if lists else once, padded, real, cell)

    def count(found: DevicePairs) -> int:
        if found.overflow:
            raise ValueError(f"{capacity} overflows: {found.needed}")
        return int(found.edge_mask.sum())

    facts = {
        "compile_s": work.compile_s,
        "temporary_bytes": work.temporary_bytes,
        "held_bytes": work.held_bytes,
        "candidates": capacity.candidates,
        "capacity": capacity._asdict(),
    }
    return Contender(work, count, facts, max(lists, 1))


def host(case: Case) -> Contender:
    """Our list on the host with reverse edges, padding and slots, copied to the device."""
    capacity = cell_list_capacity(case.positions, case.cell, case.pbc, CUTOFF)
    last = len(case.positions)

    def run() -> list[jax.Array]:
        pairs = neighbor_pairs(case.positions, case.cell, case.pbc, CUTOFF)
        rest = (0, capacity.pairs - len(pairs))
        first = np.pad(pairs.first, rest, constant_values=last)
        second = np.pad(pairs.second, rest, constant_values=last)
        shifts = np.pad(pairs.shifts, (rest, (0, 0)))
        mask = np.tile(np.arange(capacity.pairs) < len(pairs), 2)
        receivers = np.concatenate([first, second])
        return jax.device_put(
            [
                receivers,
                np.concatenate([second, first]),
                np.concatenate([shifts, -shifts]),
                mask,
                slot_table(receivers, mask, last + 1, capacity.slots),
            ]
        )

    return Contender(run, lambda found: int(found[3].sum()), {})


def matscipy(case: Case) -> Contender:
    """Edges both ways with their shifts, float64."""
    # Without a cell it needs a box.
    cell, origin = case.cell, np.zeros(3)
    if not case.periodic:
        origin = case.positions.min(axis=0)
        cell = np.diag(np.ptp(case.positions, axis=0) + 1e-3)
    run = partial(
        neighbour_list,
        "ijS",
        positions=case.positions - origin,
        cell=cell,
        pbc=case.pbc,
        cutoff=CUTOFF,
    )
    return Contender(run, lambda found: len(found[0]), {})


def vesin(case: Case) -> Contender:
    """Edges both ways with their shifts, float64, with as many threads as it takes."""
    calculator = import_module("vesin").NeighborList(cutoff=CUTOFF, full_list=True)
    run = partial(
        calculator.compute,
        points=case.positions,
        box=case.cell,
        periodic=case.periodic,
        quantities="ijS",
    )
    return Contender(run, lambda found: len(found[0]), {})


def jax_md(case: Case) -> Contender:
    """Its dense table of neighbors by cell list, float32; without shifts and reverse edges."""
    if not case.periodic:
        raise NotTimedError("has no cell list without a box")
    if len(case.positions) > MOST_ATOMS_OF_JAX_MD:
        raise NotTimedError("needs more memory than there is")
    partition, space = import_module("jax_md.partition"), import_module("jax_md.space")
    fractional = not np.array_equal(case.cell, np.diag(np.diag(case.cell)))
    if fractional:
        box = jnp.asarray(case.cell.T, jnp.float32)
        displacement, _ = space.periodic_general(box, fractional_coordinates=True)
        positions = jnp.asarray(case.positions @ np.linalg.inv(case.cell) % 1, jnp.float32)
    else:
        box = jnp.asarray(np.diag(case.cell), jnp.float32)
        displacement, _ = space.periodic(box)
        positions = jnp.asarray(case.positions, jnp.float32)
    functions = partition.neighbor_list(
        displacement, box, CUTOFF, dr_threshold=0.0, fractional_coordinates=fractional
    )
    first = functions.allocate(positions)
    # It keeps its list while no atom has moved: move the atoms that it remembers.
    first = first.set(reference_position=first.reference_position + 1e-3)
    work = compile_work(lambda positions, old: old.update(positions), positions, first)

    def count(found: Any) -> int:
        if found.did_buffer_overflow:
            raise NotTimedError("overflows the capacity that it chose itself")
        return int((found.idx < len(case.positions)).sum())

    facts = {"compile_s": work.compile_s, "temporary_bytes": work.temporary_bytes}
    return Contender(work, count, facts)


MAKERS: dict[str, Callable[[Case], Contender[Any]]] = {
    "device": device,
    "device in a loop": device_in_a_loop,
    "host": host,
    "matscipy": matscipy,
    "vesin": vesin,
    "jax-md": jax_md,
}
