"""Energies of parts of a structure, for engines that divide space over processes.

A process asks for the energies of the atoms that it owns. Their derivatives by the positions of
ghosts are forces that belong to the ghosts' owners: summed over all processes they are the forces
of the whole structure. The virial of a part is Σ r_i ⊗ f_i over its atoms, ghosts included, less
Σ_k a_k ⊗ ∂E/∂a_k over the lattice vectors; it does not depend on the origin, since the forces of a
part sum to zero.
"""

from dataclasses import dataclass
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from tensornet_jax.graph.atom_graph import (
    COARSE,
    FINE,
    AtomGraph,
    batch_structures,
    to_device,
)
from tensornet_jax.graph.capacity_ladder import CapacityLadder
from tensornet_jax.graph.edges import EdgeList
from tensornet_jax.graph.part import NO_LATTICE, Lattice, Part, Reach
from tensornet_jax.graph.verlet_list import (
    OneStructure,
    VerletSkin,
    exact_stretch,
    periodic_inverse,
)
from tensornet_jax.ops.messages.message import on_both_edges, sum_at_receivers
from tensornet_jax.potential.part_deviations import PartDeviations, add_to_deviations
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.prediction import Outputs, Variables, outputs_in_eV
from tensornet_jax.potential.uncertainty.deviations import COLLECTION, NO_UNCERTAINTY

# Factor on pairs and slots of arrays for lists that will grow.
HEADROOM = 1.1


@dataclass(frozen=True)
class PartResults:
    """What follows from the energies of the owned atoms.

    energies: of the owned atoms with E0, eV.
    forces: on all atoms that were given, owned and ghosts, eV/Å: minus the derivatives of the
        owned atoms' energy.
    virial: −∂E/∂ε of the owned atoms' energy, eV; compression makes its trace positive.
    virials: the virial's shares at all atoms that were given, which sum to it, eV; a pair's is
        half at either atom. None unless asked for.
    """

    energies: Float[np.ndarray, " owned"]
    forces: Float[np.ndarray, "atoms 3"]
    virial: Float[np.ndarray, "3 3"]
    virials: Float[np.ndarray, "atoms 3 3"] | None


def reach_of(potential: Potential) -> Reach:
    """Return how far the energies of a potential's atoms look.

    Raises:
        ValueError: it predicts no energy, has several heads, or energies that depend on all atoms
            at once.
    """
    config = potential.config
    config.require_energy()
    config.require_one_level()
    config.require_local()
    return Reach(config.cutoff, config.num_hops, config.long_cutoff)


class PartEvaluator:
    """Evaluates parts one after the other, with lists that are kept while they hold.

    Args:
        potential: whose energies of atoms depend on what lies around them.
        charge: total charge of the whole structure, e.
        skin: Å that lists reach beyond the cutoff.

    Raises:
        ValueError: the potential predicts no energy, or one that depends on all atoms at once.
    """

    def __init__(self, potential: Potential, *, charge: float = 0.0, skin: float = 0.5) -> None:
        self.potential, self.reach = potential, reach_of(potential)
        self._charge, self._skin = charge, skin
        with potential.precision():
            self._scale = jnp.asarray(potential.energy_scale, potential.dtype)
        self._ladder = CapacityLadder()
        self._listed: _Listed | None = None

    def evaluate(
        self,
        positions: Float[np.ndarray, "atoms 3"],
        species: Int[np.ndarray, " atoms"],
        num_owned: int,
        *,
        same: bool,
        lattice: Lattice = NO_LATTICE,
        virials: bool = False,
    ) -> PartResults:
        """Return energies, forces and virials.

        Args:
            positions: of owned atoms and then ghosts, Å.
            species: index into the element table.
            num_owned: how many are owned.
            same: whether these are the atoms of the call before, in the same order.
            lattice: in which the atoms repeat, each of which is then given once. Without one,
                images are given as atoms.
            virials: whether shares of atoms in the virial are wanted.

        Raises:
            ValueError: two atoms coincide, or positions are not finite.
        """
        potential = self.potential
        listed = self._listed
        if listed is None or not same or not listed.holds(positions, lattice):
            listed = self._list(positions, species, num_owned, lattice)
        around, padded = listed.placed(positions, potential.dtype)
        with potential.precision():
            outputs = predict_part(
                potential.module,
                potential.variables,
                listed.graph,
                padded,
                np.asarray(lattice.cell[None], potential.dtype),
                listed.owned,
                self._scale,
                virials,
            )
        by_cell = np.asarray(outputs.pop("by_cell"), np.float64)[0]
        found = {name: np.asarray(v, np.float64)[: len(around)] for name, v in outputs.items()}
        structure = listed.part.structure
        references = potential.assembly.elements.reference_energies[structure.species[:num_owned]]
        return PartResults(
            found["energies"][:num_owned] + references,
            listed.at_all(found["forces"], len(positions)),
            around.T @ found["forces"] - lattice.cell.T @ by_cell,
            listed.at_all(found["virials"], len(positions)) if virials else None,
        )

    def deviations(
        self, positions: Float[np.ndarray, "atoms 3"], lattice: Lattice = NO_LATTICE
    ) -> PartDeviations:
        """Return what the owned atoms add to standard deviations.

        Args:
            positions: those of the last call of `evaluate`, Å.
            lattice: of that call.

        Raises:
            ValueError: the potential does not know how sure it is, or nothing was evaluated yet.
        """
        potential, listed = self.potential, self._listed
        if COLLECTION not in potential.variables:
            raise ValueError(NO_UNCERTAINTY)
        if listed is None:
            raise ValueError("evaluate a part first: its lists serve its deviations too")
        around, padded = listed.placed(positions, potential.dtype)
        with potential.precision():
            found = add_to_deviations(
                potential.module,
                potential.variables,
                listed.graph,
                padded,
                np.asarray(lattice.cell[None], potential.dtype),
                listed.owned,
                self._scale,
            )
        forces = np.asarray(found["forces"], np.float64)[: len(around)]
        return PartDeviations(
            np.asarray(found["energy"], np.float64), listed.at_all(forces, len(positions))
        )

    @property
    def lists(self) -> "_Listed | None":
        """The lists of the last call, which change only where they had to be made anew."""
        return self._listed

    def _list(
        self,
        positions: Float[np.ndarray, "atoms 3"],
        species: Int[np.ndarray, " atoms"],
        num_owned: int,
        lattice: Lattice,
    ) -> "_Listed":
        part = Part.around(
            positions,
            species,
            num_owned,
            self.reach,
            lattice=lattice,
            charge=self._charge,
            skin=self._skin,
        )
        structures = [part.structure]
        # Atoms come and go where there are others' too.
        rungs = FINE if len(part.chosen) == num_owned == len(positions) else COARSE
        capacity = self._ladder.choose(structures, HEADROOM, rungs)
        with self.potential.precision():
            graph = to_device(batch_structures(structures, capacity, self.potential.dtype))
        owned = np.arange(capacity.atoms) < num_owned
        inverse = periodic_inverse(*lattice)[None]
        reach = np.array([self._skin])
        skin = VerletSkin(positions.copy(), lattice.cell[None], inverse, reach)
        longest = max(self.reach.cutoff, self.reach.far or 0.0)
        self._listed = _Listed(part, graph, jnp.asarray(owned), skin, longest)
        return self._listed


@dataclass(frozen=True)
class _Listed:
    """A part, and how long its lists hold, the longer of which has a cutoff in Å."""

    part: Part
    graph: AtomGraph
    owned: Bool[Array, " atoms"]
    skin: VerletSkin[np.ndarray]
    cutoff: float

    def placed(
        self, positions: Float[np.ndarray, "atoms 3"], dtype: DTypeLike
    ) -> tuple[Float[np.ndarray, "chosen 3"], Float[np.ndarray, "padded 3"]]:
        """Return the chosen atoms' positions about their middle, and the same with padding."""
        here = positions[self.part.chosen]
        around = here - (here.mean(axis=0) if len(here) else np.zeros(3))
        padded = np.zeros(self.graph.positions.shape, dtype)
        padded[: len(around)] = around
        return around, padded

    def at_all(
        self, values: Float[np.ndarray, "chosen ..."], count: int
    ) -> Float[np.ndarray, "atoms ..."]:
        """Return values at the chosen atoms with those of all that were given: 0 at the others."""
        found = np.zeros((count, *values.shape[1:]))
        found[self.part.chosen] = values
        return found

    def holds(self, positions: Float[np.ndarray, "atoms 3"], lattice: Lattice) -> bool:
        """Tell whether no pair within the cutoff is missing."""
        cell, stretch = lattice.cell[None], None
        if not np.array_equal(lattice.pbc, self.part.structure.pbc):
            return False
        if not np.array_equal(cell, self.skin.cell):
            stretch = exact_stretch(self.skin.strain(cell))
        # Positions that are not finite are refused where the new list is made.
        with np.errstate(invalid="ignore"):
            left = self.skin.left(OneStructure(), positions, self.cutoff, stretch)
        return bool(left.skin[0] >= 0)


@partial(jax.jit, static_argnames=("module", "virials"))
def predict_part(
    module: nn.Module,
    variables: Variables,
    graph: AtomGraph,
    positions: Float[Array | np.ndarray, "atoms 3"],
    cell: Float[Array | np.ndarray, "1 3 3"],
    owned: Bool[Array, " atoms"],
    energy_scale: Float[Array, ""],
    virials: bool,
) -> Outputs:
    """Energies of the owned atoms of a padded graph and their derivatives.

    Args:
        module: a model of ``MODELS``.
        variables: its parameters and buffers.
        graph: one structure.
        positions: Å, in place of those of the graph.
        cell: Å, in place of that of the graph.
        owned: whose energies count.
        energy_scale: eV per unit of network output.
        virials: whether shares of atoms in the virial are wanted.

    Returns:
        energies (N,) without E0, 0 but for owned atoms; forces (N, 3); by_cell (1, 3, 3), the
        derivative by the lattice vectors; virials (N, 3, 3) with [i, a, b] = −½ Σ r_a ∂E/∂r_b over
        the pairs of i.
    """

    def total(
        positions: Array, cell: Array, displacements: Array | None, far: Array | None
    ) -> tuple[Array, Array]:
        near = graph.edges.replace(displacements=displacements)
        moved = graph.replace(positions=positions, cell=cell, edges=near)
        if graph.long_edges is not None:
            moved = moved.replace(long_edges=graph.long_edges.replace(displacements=far))
        outputs = outputs_in_eV(module, variables, moved, energy_scale)
        energies = jnp.where(owned, outputs["energies"], 0)
        return jnp.sum(energies), energies

    positions, cell = jnp.asarray(positions), jnp.asarray(cell)
    if not virials:
        gradient = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)
        (_, energies), (by_position, by_cell) = gradient(positions, cell, None, None)
        return {"energies": energies, "forces": -by_position, "by_cell": by_cell}
    lists = [each for each in (graph.edges, graph.long_edges) if each is not None]
    zeros = [jnp.zeros((each.num_pairs, 3), positions.dtype) for each in lists]
    gradient = jax.value_and_grad(total, argnums=tuple(range(2 + len(lists))), has_aux=True)
    given = (positions, cell, *zeros, *[None] * (2 - len(zeros)))
    (_, energies), (by_position, by_cell, *by_pair) = gradient(*given)
    found = {"energies": energies, "forces": -by_position, "by_cell": by_cell}
    now = graph.replace(positions=positions, cell=cell)
    found["virials"] = sum(
        _shares(now, edges, slopes) for edges, slopes in zip(lists, by_pair, strict=True)
    )
    return found


def _shares(
    graph: AtomGraph, edges: EdgeList, slopes: Float[Array, "pairs 3"]
) -> Float[Array, "atoms 3 3"]:
    """Half of −r ⊗ ∂E/∂r of each pair at either atom."""
    products = -0.5 * graph.pair_vectors(edges)[:, :, None] * slopes[:, None]
    both = on_both_edges(products.reshape(-1, 9))
    return sum_at_receivers(both, edges.index).reshape(-1, 3, 3)
