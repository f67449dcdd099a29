"""The padded graph of one or more structures that a jitted model sees.

Shapes are static: structures are packed one after the other into arrays of a `Capacity`, and
capacities come from a coarse ladder of sizes, so that a run compiles a handful of times.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import ase
import jax
import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols

from tensornet_jax.graph.neighbours import Pairs, neighbour_pairs
from tensornet_jax.ops.message import SLOT_BLOCK, EdgeIndex, at_receivers


@dataclass(frozen=True)
class Structure:
    """One structure on the host, with the neighbour pairs it needs.

    positions: (N, 3) float64 Å, wrapped into the cell along periodic directions.
    species: (N,) int32 index into the element table.
    cell: (3, 3) Å, rows are lattice vectors.
    pbc: (3,) bool.
    charge: total charge, e.
    pairs: neighbour pairs; their shifts refer to ``positions``.
    """

    positions: np.ndarray
    species: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    charge: float
    pairs: Pairs

    def __len__(self) -> int:
        return len(self.species)


def species_of(numbers: np.ndarray, elements: Sequence[int], where: str = "") -> np.ndarray:
    """Index of each atomic number in the element table, (N,) int32.

    Raises:
        ValueError: an element is not in the table. A gather under jit would clamp the index and
            compute another element's energy.
    """
    table = {number: index for index, number in enumerate(elements)}
    unknown = sorted(set(np.asarray(numbers).tolist()) - set(table))
    if unknown:
        names = ", ".join(chemical_symbols[number] for number in unknown)
        known = ", ".join(chemical_symbols[number] for number in elements)
        raise ValueError(
            f"element {names}{where} is not in the model [{known}]: "
            "use a model trained with it, or leave these structures out"
        )
    return np.array([table[number] for number in np.asarray(numbers).tolist()], np.int32)


def total_charge(atoms: ase.Atoms) -> float:
    """Total charge of a structure in e, from ``atoms.info["charge"]``; 0 if absent."""
    if "charge" not in atoms.info:
        return 0.0
    charge = atoms.info["charge"]
    if np.ndim(charge) != 0 or not np.isfinite(float(charge)):
        raise ValueError(f'atoms.info["charge"] must be one finite number, not {charge!r}')
    return float(charge)


def make_structure(
    atoms: ase.Atoms, elements: Sequence[int], cutoff: float, where: str = ""
) -> Structure:
    """Prepare a structure: species, neighbour pairs, positions wrapped into the cell.

    Args:
        atoms: the structure; not changed.
        elements: atomic numbers of the element table.
        cutoff: Å.
        where: how messages name the structure, e.g. ``" (structure 17)"``.

    Raises:
        ValueError: unknown element, coincident atoms, a cell that cannot be periodic.
    """
    positions = np.array(atoms.positions, np.float64)
    cell = np.array(atoms.cell.array, np.float64)
    pbc = np.array(atoms.pbc, bool)
    try:
        species = species_of(atoms.numbers, elements, where)
        pairs = neighbour_pairs(positions, cell, pbc, cutoff)
    except ValueError as error:
        if where and where not in str(error):
            raise ValueError(f"{error}{where}") from error
        raise
    positions, pairs = _wrap(positions, cell, pbc, pairs)
    return Structure(positions, species, cell, pbc, total_charge(atoms), pairs)


def _wrap(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, pairs: Pairs
) -> tuple[np.ndarray, Pairs]:
    # An atom that has diffused far away would lose digits in float32; its image has not.
    if not pbc.any() or len(positions) == 0:
        return positions, pairs
    periodic = cell[pbc]
    images = np.zeros((len(positions), 3), np.int32)
    images[:, pbc] = np.floor(positions @ np.linalg.pinv(periodic)).astype(np.int32)
    shifts = pairs.shifts + images[pairs.second] - images[pairs.first]
    return positions - images @ cell, replace(pairs, shifts=shifts)


class Capacity(NamedTuple):
    """Static sizes of an `AtomGraph`: graphs, atoms, neighbour pairs, edge slots per atom.

    One atom and one pair are always padding: padding edges connect the padding atom to itself.
    """

    graphs: int
    atoms: int
    pairs: int
    slots: int

    @classmethod
    def holding(cls, structures: Sequence[Structure], headroom: float = 1.0) -> "Capacity":
        """Return the smallest rung of the ladder that holds these structures in one graph.

        Args:
            structures: what must fit.
            headroom: factor on pairs and slots, for lists that will grow.
        """
        atoms, pairs, slots = _sizes(structures)
        return cls(
            max(len(structures), 1),
            rung(atoms + 1),
            rung(int(pairs * headroom) + 1),
            -(-rung(int(slots * headroom)) // SLOT_BLOCK) * SLOT_BLOCK,
        )

    def holds(self, structures: Sequence[Structure]) -> bool:
        """Tell whether these structures fit."""
        atoms, pairs, slots = _sizes(structures)
        return (
            len(structures) <= self.graphs
            and atoms < self.atoms
            and pairs < self.pairs
            and slots <= self.slots
        )


def rung(size: int) -> int:
    """Round up to 4, 5, 6 or 7 times a power of two: at most a quarter is padding."""
    if size <= 4:
        return 4
    step = 1 << (int(size - 1).bit_length() - 3)
    return -(-size // step) * step


def _sizes(structures: Sequence[Structure]) -> tuple[int, int, int]:
    atoms = sum(len(s) for s in structures)
    pairs = sum(len(s.pairs) for s in structures)
    slots = max((_degrees(s).max(initial=0) for s in structures), default=0)
    return atoms, pairs, int(slots)


def _degrees(structure: Structure) -> np.ndarray:
    receivers, _, _ = structure.pairs.directed()
    return np.bincount(receivers, minlength=len(structure))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AtomGraph:
    """Structures packed into arrays of static shape: N atoms, E edges, B graphs, K slots.

    Atoms of a structure are contiguous and in their order; padding comes last. Edge e + E/2 is
    the reverse of edge e, so a pair's two edges share what depends on the distance alone.

    positions: (N, 3) Å.
    species: (N,) int32.
    node_graph: (N,) int32 structure of each atom.
    node_mask: (N,) bool, False for padding.
    receivers: (E,) int32 centre i.
    senders: (E,) int32 neighbour j; the vector is r_j + shifts @ cell − r_i.
    shifts: (E, 3) int32.
    edge_mask: (E,) bool.
    slots: (N, K) int32 edges arriving at each atom, padded with the last (masked) edge.
    cell: (B, 3, 3) Å.
    pbc: (B, 3) bool.
    charge: (B,) e.
    graph_mask: (B,) bool.
    """

    positions: Any
    species: Any
    node_graph: Any
    node_mask: Any
    receivers: Any
    senders: Any
    shifts: Any
    edge_mask: Any
    slots: Any
    cell: Any
    pbc: Any
    charge: Any
    graph_mask: Any

    @property
    def edges(self) -> EdgeIndex:
        """Connectivity in the form `ops.message` takes."""
        return EdgeIndex(self.receivers, self.senders, self.slots)

    @property
    def num_graphs(self) -> int:
        """Number of structures, padding included (static)."""
        return self.cell.shape[0]

    def pair_vectors(self) -> jax.Array:
        """r_j + shift·cell − r_i of the first edge of each pair, (E/2, 3) Å; 0 for padding."""
        edges = self.edges
        half = edges.num_pairs
        cells = self.cell[self.node_graph[self.receivers[:half]]]
        offsets = jnp.einsum("pa,pab->pb", self.shifts[:half].astype(cells.dtype), cells)
        centres = at_receivers(self.positions, edges)
        vectors = centres[half:] + offsets - centres[:half]
        return jnp.where(self.edge_mask[:half, None], vectors, 0)

    def replace(self, **changes: Any) -> "AtomGraph":
        """Return a copy with some fields replaced."""
        return replace(self, **changes)


def batch_structures(
    structures: Sequence[Structure], capacity: Capacity, dtype: str = "float32"
) -> AtomGraph:
    """Pack structures into one padded graph of numpy arrays.

    Positions are taken relative to the centre of each structure before they are rounded to
    ``dtype``: a molecule far from the origin keeps its digits.

    Raises:
        ValueError: the structures do not fit; nothing is ever truncated.
    """
    if not capacity.holds(structures):
        raise ValueError(
            f"{len(structures)} structures with (atoms, pairs, slots) = {_sizes(structures)} do "
            f"not fit {capacity}: use Capacity.holding(structures)"
        )
    graphs, atoms, pairs, slots = capacity
    positions = np.zeros((atoms, 3), dtype)
    species = np.zeros(atoms, np.int32)
    node_graph = np.full(atoms, graphs - 1, np.int32)
    node_mask = np.zeros(atoms, bool)
    first = np.full(pairs, atoms - 1, np.int32)
    second = np.full(pairs, atoms - 1, np.int32)
    shifts = np.zeros((pairs, 3), np.int32)
    pair_mask = np.zeros(pairs, bool)
    cell = np.zeros((graphs, 3, 3), dtype)
    pbc = np.zeros((graphs, 3), bool)
    charge = np.zeros(graphs, dtype)
    graph_mask = np.zeros(graphs, bool)
    atom, pair = 0, 0
    for index, structure in enumerate(structures):
        here, there = slice(atom, atom + len(structure)), slice(pair, pair + len(structure.pairs))
        if len(structure):
            positions[here] = structure.positions - structure.positions.mean(axis=0)
        species[here] = structure.species
        node_graph[here] = index
        node_mask[here] = True
        first[there] = structure.pairs.first + atom
        second[there] = structure.pairs.second + atom
        shifts[there] = structure.pairs.shifts
        pair_mask[there] = True
        cell[index] = structure.cell
        pbc[index] = structure.pbc
        charge[index] = structure.charge
        graph_mask[index] = True
        atom, pair = here.stop, there.stop
    receivers = np.concatenate([first, second])
    return AtomGraph(
        positions=positions,
        species=species,
        node_graph=node_graph,
        node_mask=node_mask,
        receivers=receivers,
        senders=np.concatenate([second, first]),
        shifts=np.concatenate([shifts, -shifts]),
        edge_mask=np.concatenate([pair_mask, pair_mask]),
        slots=slot_table(receivers, np.concatenate([pair_mask, pair_mask]), atoms, slots),
        cell=cell,
        pbc=pbc,
        charge=charge,
        graph_mask=graph_mask,
    )


def slot_table(
    receivers: np.ndarray, edge_mask: np.ndarray, num_atoms: int, num_slots: int
) -> np.ndarray:
    """Edges arriving at each atom, (N, K) int32; unused slots name the last edge."""
    table = np.full((num_atoms, num_slots), len(receivers) - 1, np.int32)
    edges = np.flatnonzero(edge_mask)
    edges = edges[np.argsort(receivers[edges], kind="stable")]
    owners = receivers[edges]
    starts = np.searchsorted(owners, np.arange(num_atoms))
    table[owners, np.arange(len(owners)) - starts[owners]] = edges
    return table


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Targets:
    """Labels of a padded graph; NaN where a label is missing and in padding.

    energy: (B,) eV, the sum of the isolated atoms' energies taken off.
    forces: (N, 3) eV/Å.
    stress: (B, 3, 3) eV/Å³.
    dipole: (B, 3) e·Å.
    """

    energy: Any
    forces: Any
    stress: Any
    dipole: Any


def batch_targets(labels: Sequence["Targets"], capacity: Capacity, dtype: str) -> Targets:
    """Pack per-structure labels (energy (), forces (n, 3), …) to match `batch_structures`."""
    graphs, atoms, _, _ = capacity
    packed = Targets(
        np.full(graphs, np.nan, dtype),
        np.full((atoms, 3), np.nan, dtype),
        np.full((graphs, 3, 3), np.nan, dtype),
        np.full((graphs, 3), np.nan, dtype),
    )
    atom = 0
    for index, label in enumerate(labels):
        packed.energy[index] = label.energy
        packed.forces[atom : atom + len(label.forces)] = label.forces
        packed.stress[index] = label.stress
        packed.dipole[index] = label.dipole
        atom += len(label.forces)
    return packed


def to_device(tree: Any) -> Any:
    """Copy the arrays of a graph or of targets to the default device."""
    return jax.tree.map(jnp.asarray, tree)
