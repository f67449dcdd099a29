"""The padded graph of one or more structures that a jitted model sees.

Shapes are static: structures are packed one after the other into arrays of a `Capacity`, and
capacities come from a coarse ladder of sizes, so that a run compiles a handful of times.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Int32, PyTree

from tensornet_jax.graph.arrays import ArrayT
from tensornet_jax.graph.edges import EdgeList, pack_pairs
from tensornet_jax.graph.neighbors import Pairs
from tensornet_jax.graph.structure import INPUTS, Structure
from tensornet_jax.ops.interactions.reciprocal_space import MeshShape
from tensornet_jax.ops.messages.message import SLOT_BLOCK

TreeT = TypeVar("TreeT")


COARSE, FINE = 4, 32
"""Rungs of the ladder of array sizes between powers of two: structures of many sizes compile seldom
and up to a fifth of an array is padding, or arrays for one long run are of hardly more than what is
in them."""


class Capacity(NamedTuple):
    """Static sizes of an `AtomGraph`: graphs, atoms, neighbor pairs, edge slots per atom.

    One atom and one pair of each list are always padding: padding edges connect the padding atom
    to itself. Where the long list has no room, there is none. The k vectors, and the points of the
    mesh along each lattice vector, are those of Ewald sums, and the most that any structure has.
    """

    graphs: int
    atoms: int
    pairs: int
    slots: int
    long_pairs: int = 0
    long_slots: int = 0
    k_vectors: int = 0
    mesh_a: int = 0
    mesh_b: int = 0
    mesh_c: int = 0

    @property
    def mesh(self) -> MeshShape | None:
        """Points of the mesh; None where there is none."""
        return (self.mesh_a, self.mesh_b, self.mesh_c) if self.mesh_a else None

    @classmethod
    def holding(
        cls, structures: Sequence[Structure], headroom: float = 1.0, rungs: int = COARSE
    ) -> "Capacity":
        """Return the smallest rung of the ladder that holds these structures in one graph.

        Args:
            structures: what must fit.
            headroom: factor on pairs and slots, for lists that will grow.
            rungs: of the ladder, see `rung`.
        """

        def room(needed: tuple[int, int]) -> tuple[int, int]:
            pairs, slots = needed
            blocks = -(-rung(int(slots * headroom), rungs) // SLOT_BLOCK)
            return rung(int(pairs * headroom) + 1, rungs), blocks * SLOT_BLOCK

        atoms, near, far = _sizes(structures)
        graphs = max(len(structures), 1)
        lists = *room(near), *(room(far) if far else (0, 0))
        return cls(graphs, rung(atoms + 1, rungs), *lists, *k_vectors_and_mesh(structures))

    def holds(self, structures: Sequence[Structure]) -> bool:
        """Tell whether these structures fit."""
        atoms, near, far = _sizes(structures)

        def fits(needed: tuple[int, int], pairs: int, slots: int) -> bool:
            return needed[0] < pairs and needed[1] <= slots

        return (
            len(structures) <= self.graphs
            and atoms < self.atoms
            and fits(near, self.pairs, self.slots)
            and (far is None or fits(far, self.long_pairs, self.long_slots))
            and all(
                needed <= size
                for needed, size in zip(_exact_k_vectors(structures), self[-4:], strict=True)
            )
        )


def rung(size: int, rungs: int = COARSE) -> int:
    """Round up to one of the sizes of a ladder.

    Args:
        size: of an array.
        rungs: a power of two, so many between one power of two and the next.
    """
    if size <= COARSE:
        return COARSE
    step = max(1, (1 << (int(size - 1).bit_length() - 1)) // rungs)
    return -(-size // step) * step


def k_vectors_and_mesh(structures: Sequence[Structure]) -> tuple[int, int, int, int]:
    """The most k vectors, and points of the mesh along lattice vectors, of any structure; or 0."""
    k_vectors, *mesh = _exact_k_vectors(structures)
    a, b, c = mesh
    return rung(k_vectors) if k_vectors else 0, a, b, c


def _exact_k_vectors(structures: Sequence[Structure]) -> tuple[int, int, int, int]:
    far = [s.far for s in structures if s.far is not None]
    meshes = [(0, 0, 0), *(each.mesh for each in far if each.mesh is not None)]
    a, b, c = (max(sizes) for sizes in zip(*meshes, strict=True))
    summed = [each.k_vectors for each in far if each.k_vectors is not None and each.mesh is None]
    # A cell too small for any wave has room for one, by which it is known to be an Ewald sum.
    return max((0, *(max(len(k_vectors), 1) for k_vectors in summed))), a, b, c


def _sizes(
    structures: Sequence[Structure],
) -> tuple[int, tuple[int, int], tuple[int, int] | None]:
    """Atoms, and pairs and slots of the lists; None for a long list that nobody has."""

    def of(lists: list[Pairs]) -> tuple[int, int]:
        slots = max((_degrees(pairs).max(initial=0) for pairs in lists), default=0)
        return sum(len(pairs) for pairs in lists), int(slots)

    far = [s.far.pairs for s in structures if s.far is not None]
    atoms = sum(len(s) for s in structures)
    return atoms, of([s.pairs for s in structures]), of(far) if far else None


def _degrees(pairs: Pairs) -> Int[np.ndarray, " atoms"]:
    receivers, _, _ = pairs.directed()
    return np.bincount(receivers)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AtomGraph(Generic[ArrayT]):
    """Structures packed into arrays of static shape.

    Atoms of a structure are contiguous and in their order; padding comes last.

    positions: Å.
    species: index into the element table.
    node_graph: structure of each atom.
    node_mask: False for padding.
    edges: the pairs within the cutoff.
    cell: Å, rows are lattice vectors.
    pbc: which directions repeat.
    charge: e.
    spin: multiplicity 2S + 1; 0 for padding, and where the potential does not depend on it.
    graph_mask: False for padding.
    long_edges: the pairs that energies beyond the cutoff need; None where there are none.
    initial_charges: e, of a potential with fixed charges; None without.
    head: place of each structure's level of theory among those of a model that has several, 0 for
        padding; None without.
    k_vectors: integers of the reciprocal lattice vectors of an Ewald sum, 0 for padding and in
        structures without; None where no structure has an Ewald sum.
    mesh: points along each lattice vector of the mesh of the others (static); None without.
    from_owners: gives features of atoms to their copies, where atoms are divided over processes
        that exchange them (static); None where all neighbors of an atom are known.
    """

    positions: Float[ArrayT, "atoms 3"]
    species: Int[ArrayT, " atoms"]
    node_graph: Int[ArrayT, " atoms"]
    node_mask: Bool[ArrayT, " atoms"]
    edges: EdgeList[ArrayT]
    cell: Float[ArrayT, "structures 3 3"]
    pbc: Bool[ArrayT, "structures 3"]
    charge: Float[ArrayT, " structures"]
    spin: Float[ArrayT, " structures"]
    graph_mask: Bool[ArrayT, " structures"]
    long_edges: EdgeList[ArrayT] | None = None
    initial_charges: Float[ArrayT, " atoms"] | None = None
    head: Int[ArrayT, " structures"] | None = None
    k_vectors: Int[ArrayT, "structures k_vectors 3"] | None = None
    mesh: MeshShape | None = field(default=None, metadata={"static": True})
    from_owners: Callable[[PyTree], PyTree] | None = field(default=None, metadata={"static": True})

    @property
    def num_graphs(self) -> int:
        """Number of structures, padding included (static)."""
        return self.cell.shape[0]

    def pair_vectors(
        self: "AtomGraph[Array]", edges: EdgeList | None = None
    ) -> Float[Array, "pairs 3"]:
        """r_j + shift·cell − r_i of the first edge of each pair, Å; 0 for padding.

        Of the pairs within the cutoff, or of another list of this graph.
        """
        edges = self.edges if edges is None else edges
        return edges.pair_vectors(self.positions, self.cell, self.node_graph)

    def with_copies(self, features: TreeT) -> TreeT:
        """Return features, arrays with a row for each atom, in which copies have their owners'.

        Models call it on what neighbors send, unless it depends on the neighbor alone.
        """
        return features if self.from_owners is None else self.from_owners(features)

    def replace(self, **changes: object) -> "AtomGraph[ArrayT]":
        """Return a copy with some fields replaced."""
        return replace(self, **changes)


def batch_structures(
    structures: Sequence[Structure], capacity: Capacity, dtype: str = "float32"
) -> AtomGraph[np.ndarray]:
    """Pack structures into one padded graph of numpy arrays.

    Positions are taken relative to the center of each structure before they are rounded to
    ``dtype``: a molecule far from the origin keeps its digits.

    Raises:
        ValueError: the structures do not fit; nothing is ever truncated.
    """
    if not capacity.holds(structures):
        raise ValueError(
            f"{len(structures)} structures with {_described(structures)} do not fit {capacity}: "
            "use Capacity.holding(structures)"
        )
    graphs, atoms = capacity.graphs, capacity.atoms
    ends = np.cumsum([0, *(len(s) for s in structures)])
    rows = [slice(start, end) for start, end in itertools.pairwise(ends)]
    offsets = ends[:-1].tolist()
    node_graph = np.full(atoms, graphs - 1, np.int32)
    for index, here in enumerate(rows):
        node_graph[here] = index
    near = [s.pairs for s in structures]
    far = [s.far.pairs for s in structures if s.far is not None]
    return AtomGraph(
        node_graph=node_graph,
        node_mask=np.arange(atoms) < ends[-1],
        edges=pack_pairs(near, offsets, atoms, capacity.pairs, capacity.slots),
        graph_mask=np.arange(graphs) < len(structures),
        long_edges=pack_pairs(far, offsets, atoms, capacity.long_pairs, capacity.long_slots)
        if capacity.long_pairs
        else None,
        k_vectors=_packed_k_vectors(structures, capacity),
        mesh=capacity.mesh,
        from_owners=None,
        **_packed_inputs(structures, rows, capacity, dtype),
    )


def shard_graph(
    structures: Sequence[Structure], capacity: Capacity, dtype: str, like: Structure
) -> AtomGraph[np.ndarray]:
    """Return `batch_structures`, also of no structures, with all the arrays that `like` would get.

    The shards of a batch must have the same arrays, and a small batch leaves some without any
    structure.
    """
    graph = batch_structures(structures, capacity, dtype)
    if structures:
        return graph
    rows = {"atom": capacity.atoms, "structure": capacity.graphs}
    lacking = {
        name: np.zeros((rows[kind.per], *kind.row), kind.dtype or dtype)
        for name, kind in INPUTS.items()
        if kind.optional and getattr(like, name) is not None
    }
    return graph.replace(**lacking)


def _packed_inputs(
    structures: Sequence[Structure], rows: Sequence[slice], capacity: Capacity, dtype: str
) -> dict[str, np.ndarray]:
    """Return all that a model takes of structures, by name; 0 for padding."""
    packed = {}
    for name, kind in INPUTS.items():
        values = [getattr(structure, name) for structure in structures]
        if kind.optional and (not values or any(value is None for value in values)):
            continue
        if name == "positions":
            values = [place - place.mean(axis=0) if len(place) else place for place in values]
        count = capacity.atoms if kind.per == "atom" else capacity.graphs
        packed[name] = np.zeros((count, *kind.row), kind.dtype or dtype)
        for index, value in enumerate(values):
            packed[name][rows[index] if kind.per == "atom" else index] = value
    return packed


def _packed_k_vectors(
    structures: Sequence[Structure], capacity: Capacity
) -> Int32[np.ndarray, "structures k_vectors 3"] | None:
    if not (capacity.k_vectors or capacity.mesh):
        return None
    k_vectors = np.zeros((capacity.graphs, capacity.k_vectors, 3), np.int32)
    for index, structure in enumerate(structures):
        if structure.far is not None and structure.far.k_vectors is not None:
            k_vectors[index, : len(structure.far.k_vectors)] = structure.far.k_vectors
    return k_vectors


def _described(structures: Sequence[Structure]) -> str:
    atoms, (pairs, slots), far = _sizes(structures)
    sizes = {"atoms": atoms, "pairs": pairs, "slots": slots}
    if far:
        sizes |= {"long_pairs": far[0], "long_slots": far[1]}
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


@overload
def to_device(tree: AtomGraph[np.ndarray]) -> AtomGraph: ...
@overload
def to_device(tree: TreeT) -> TreeT: ...
def to_device(tree: object) -> object:
    """Copy the arrays of a graph, of lists or of targets to the default device."""
    return jax.tree.map(jnp.asarray, tree)
