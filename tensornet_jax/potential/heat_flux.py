"""The heat flux of a potential whose messages go farther than one cutoff.

Green and Kubo's thermal conductivity is the time integral of the autocorrelation of

    J = (1/V) d/dt Σ_i r_i E_i,    E_i = U_i + m_i v_i²/2,

a sum that means nothing where space repeats, though its derivative does. With energies U_i of the
atoms of one cell as functions of the places r_j of all atoms around them, images too,

    V J = Σ_i E_i v_i − Σ_ij (r_j − r_i) (∂U_i/∂r_j · v_j)

(arXiv:2305.01401, with space unfolded). No sum over pairs is needed: the derivatives of
Σ_i U_i, and those of Σ_i r_i U_i with r_i in front held fixed, give it in four backward passes.
"""

from dataclasses import dataclass
from functools import partial

import ase
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ase import units as ase_units
from jax import Array
from jaxtyping import Bool, Float, Int

from tensornet_jax.graph.atom_graph import AtomGraph, batch_structures, to_device
from tensornet_jax.graph.capacity_ladder import CapacityLadder
from tensornet_jax.graph.neighbors import neighbor_pairs
from tensornet_jax.graph.part import Part
from tensornet_jax.graph.structure import Structure
from tensornet_jax.potential.parts import reach_of
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.prediction import outputs_in_eV
from tensornet_jax.potential.variables import Variables

# Factor on pairs and slots: the next structure of a trajectory has a few more.
_HEADROOM = 1.1


@dataclass(frozen=True)
class HeatFlux:
    """The two parts of a heat flux times the volume, eV·Å/fs.

    potential: what interactions carry; all that counts in a solid.
    convective: Σ E_i v_i, with E0 of the elements in E_i.
    """

    potential: Float[np.ndarray, "3"]
    convective: Float[np.ndarray, "3"]

    @property
    def total(self) -> Float[np.ndarray, "3"]:
        """Their sum."""
        return self.potential + self.convective


def check_flux(potential: Potential, name: str = "a heat flux") -> None:
    """Raise ValueError unless a potential has a heat flux, with what to do.

    Args:
        potential: predicts an energy, of one level of theory, that can be divided over places.
        name: of what is asked for, as the message says it.
    """
    try:
        reach_of(potential)
    except ValueError as error:
        raise ValueError(
            f"{name} needs energies of atoms that depend on what lies around them: {error}"
        ) from None


class HeatFluxEvaluator:
    """Evaluates structures one after the other.

    Args:
        potential: whose energies of atoms depend on what lies around them.

    Raises:
        ValueError: the potential predicts no energy, or one that depends on all atoms at once.
    """

    def __init__(self, potential: Potential) -> None:
        self.potential, self.reach = potential, reach_of(potential)
        self._ladder = CapacityLadder()

    def evaluate(self, atoms: ase.Atoms) -> HeatFlux:
        """Return the heat flux of a structure with velocities.

        Args:
            atoms: with velocities; periodic or not.

        Raises:
            ValueError: two atoms coincide, or positions are not finite.
        """
        potential = self.potential
        structure = potential.structure(atoms)
        part, owners = self._unfolded(structure)
        capacity = self._ladder.choose([part.structure], _HEADROOM)
        # Å and fs.
        velocities = atoms.get_velocities() * ase_units.fs
        padded = np.zeros((2, capacity.atoms, 3), potential.dtype)
        places = part.structure.positions
        padded[0, : len(places)] = places - structure.positions.mean(axis=0)
        padded[1, : len(places)] = velocities[owners]
        with potential.precision():
            graph = to_device(batch_structures([part.structure], capacity, potential.dtype))
            energies, flux = _energies_and_flux(
                potential.module,
                potential.variables,
                graph.replace(positions=jnp.asarray(padded[0])),
                padded[1],
                np.arange(capacity.atoms) < part.num_owned,
                jnp.asarray(potential.energy_scale, potential.dtype),
            )
        energies = np.asarray(energies, np.float64)[: part.num_owned]
        energies = energies + potential.reference_energies(structure) + _kinetic(atoms)
        return HeatFlux(np.asarray(flux, np.float64), energies @ velocities)

    def _unfolded(self, structure: Structure) -> tuple[Part, Int[np.ndarray, " chosen"]]:
        """The atoms and all images on which their energies depend, and whose images they are."""
        positions, cell, count = structure.positions, structure.cell, len(structure)
        reach = self.reach.distance
        _, others, shifts = neighbor_pairs(positions, cell, structure.pbc, reach).directed()
        images = np.unique(np.column_stack([others, shifts])[shifts.any(axis=1)], axis=0)
        owners = np.concatenate([np.arange(count), images[:, 0]]).astype(np.int32)
        ghosts = positions[images[:, 0]] + images[:, 1:] @ cell
        part = Part.around(
            np.concatenate([positions, ghosts]),
            structure.species[owners],
            count,
            self.reach,
            charge=structure.charge,
        )
        return part, owners[part.chosen]


def _kinetic(atoms: ase.Atoms) -> Float[np.ndarray, " atoms"]:
    """Kinetic energies of the atoms, eV."""
    return 0.5 * atoms.get_masses() * (atoms.get_velocities() ** 2).sum(axis=1)


@partial(jax.jit, static_argnames=("module",))
def _energies_and_flux(
    module: nn.Module,
    variables: Variables,
    graph: AtomGraph,
    velocities: Float[Array | np.ndarray, "atoms 3"],
    owned: Bool[Array | np.ndarray, " atoms"],
    energy_scale: Float[Array, ""],
) -> tuple[Float[Array, " atoms"], Float[Array, "3"]]:
    """Energies without E0, 0 but for owned atoms, and what interactions carry, eV·Å/fs."""

    def energies_at(positions: Array) -> Array:
        outputs = outputs_in_eV(module, variables, graph.replace(positions=positions), energy_scale)
        return jnp.where(owned, outputs["energies"], 0)

    positions = graph.positions
    energies, pullback = jax.vjp(energies_at, positions)
    weights = jnp.concatenate([jnp.ones((1, len(positions)), positions.dtype), positions.T])
    (slopes,) = jax.vmap(pullback)(weights)
    # How fast Σ_i U_i and the three components of Σ_i r_i U_i change as each atom moves.
    powers = jnp.einsum("kja,ja->kj", slopes, jnp.asarray(velocities))
    return energies, jnp.sum(powers[1:], axis=1) - powers[0] @ positions
