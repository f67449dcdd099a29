"""One structure on the host, prepared for a model: species, wrapped positions and pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal, NamedTuple

import ase
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Bool, Float, Int, Int32

from tensornet_jax.graph.electrons import fixed_charges, spin_multiplicity, total_charge
from tensornet_jax.graph.long_range import FarField, LongRange
from tensornet_jax.graph.neighbors import Pairs, neighbor_pairs


class Input(NamedTuple):
    """How a field of `Structure` lies in the field of `AtomGraph` that has the same name.

    per: what it has a row for.
    row: shape of a row.
    dtype: of the array; None for the precision of the graph.
    optional: None in structures of a potential that does not take it; a graph has it if all of
        its structures do.
    """

    per: Literal["atom", "structure"]
    row: tuple[int, ...] = ()
    dtype: type[np.generic] | None = None
    optional: bool = False


@dataclass(frozen=True)
class Structure:
    """One structure on the host, with the neighbor pairs it needs.

    A field with an `Input` is what a model takes of every atom or structure: whoever packs
    structures goes through `INPUTS`, and whoever changes one takes it by `dataclasses.replace`,
    so that none is left behind.

    positions: Å, wrapped into the cell along periodic directions.
    species: index into the element table.
    cell: Å, rows are lattice vectors.
    pbc: which directions repeat.
    charge: total charge, e.
    pairs: neighbor pairs; their shifts refer to ``positions``.
    far: of a potential that reaches farther than its network; None without.
    initial_charges: e, of a potential with fixed charges; None without.
    spin: multiplicity 2S + 1, of a potential that depends on it; 0 without.
    head: place of its level of theory among those of a potential that has several; None without.
    """

    positions: Float[np.ndarray, "atoms 3"] = field(metadata={"input": Input("atom", (3,))})
    species: Int32[np.ndarray, " atoms"] = field(metadata={"input": Input("atom", (), np.int32)})
    cell: Float[np.ndarray, "3 3"] = field(metadata={"input": Input("structure", (3, 3))})
    pbc: Bool[np.ndarray, "3"] = field(metadata={"input": Input("structure", (3,), np.bool_)})
    charge: float = field(metadata={"input": Input("structure")})
    pairs: Pairs
    far: FarField | None = None
    initial_charges: Float[np.ndarray, " atoms"] | None = field(
        default=None, metadata={"input": Input("atom", optional=True)}
    )
    spin: int = field(default=0, metadata={"input": Input("structure")})
    head: int | None = field(
        default=None, metadata={"input": Input("structure", (), np.int32, optional=True)}
    )

    def __len__(self) -> int:
        return len(self.species)


INPUTS: dict[str, Input] = {
    each.name: each.metadata["input"] for each in fields(Structure) if "input" in each.metadata
}
"""What a model takes of a structure, by the name of the field."""


def species_of(
    numbers: Int[np.ndarray, " atoms"], elements: Sequence[int], where: str = ""
) -> Int32[np.ndarray, " atoms"]:
    """Index of each atomic number in the element table.

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


def make_structure(
    atoms: ase.Atoms,
    elements: Sequence[int],
    cutoff: float,
    where: str = "",
    *,
    long_range: LongRange | None = None,
    charged: bool = False,
    with_spin: bool = False,
    head: int | None = None,
    skin: float = 0.0,
) -> Structure:
    """Prepare a structure: species, neighbor pairs, positions wrapped into the cell.

    Args:
        atoms: the structure; not changed.
        elements: atomic numbers of the element table.
        cutoff: Å.
        where: how messages name the structure, e.g. ``" (structure 17)"``.
        long_range: what there is beyond the cutoff; None for nothing.
        charged: take over the charges of the atoms, which must have some.
        with_spin: take over the spin multiplicity, which must be given.
        head: place of its level of theory, for a potential that has several.
        skin: Å the lists reach beyond their cutoffs.

    Raises:
        ValueError: unknown element, coincident atoms, a cell that cannot be periodic, an Ewald sum
            with pbc in one or two directions or of a charged cell, no charges or no possible
            spin where they are needed.
    """
    positions = np.array(atoms.positions, np.float64)
    cell = np.array(atoms.cell.array, np.float64)
    pbc = np.array(atoms.pbc, bool)
    try:
        species = species_of(atoms.numbers, elements, where)
        pairs, far = neighbor_pairs(positions, cell, pbc, cutoff + skin), None
        if long_range is not None:
            far = long_range.field(pairs, positions, cell, pbc, cutoff, skin)
        charges = fixed_charges(atoms) if charged else None
        if long_range is not None:
            total = total_charge(atoms) if charges is None else charges.sum()
            long_range.check_neutral(pbc, total)
        spin = spin_multiplicity(atoms) if with_spin else 0
    except ValueError as error:
        if where and where not in str(error):
            raise ValueError(f"{error}{where}") from error
        raise
    images = _images(positions, cell, pbc)
    return Structure(
        positions=positions - images @ cell,
        species=species,
        cell=cell,
        pbc=pbc,
        charge=total_charge(atoms),
        pairs=_between_images(pairs, images),
        far=None if far is None else far._replace(pairs=_between_images(far.pairs, images)),
        initial_charges=charges,
        spin=spin,
        head=head,
    )


def _images(
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, "3"],
) -> Int32[np.ndarray, "atoms 3"]:
    """Lattice vectors to take off the positions so that they lie in the cell."""
    # An atom that has diffused far away would lose digits in float32; its image has not.
    images = np.zeros((len(positions), 3), np.int32)
    if pbc.any():
        images[:, pbc] = np.floor(positions @ np.linalg.pinv(cell[pbc])).astype(np.int32)
    return images


def _between_images(pairs: Pairs, images: Int32[np.ndarray, "atoms 3"]) -> Pairs:
    return replace(pairs, shifts=pairs.shifts + images[pairs.second] - images[pairs.first])
