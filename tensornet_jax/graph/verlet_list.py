"""How long a neighbor list with a skin holds: the one criterion of calculator and dynamics.

With F the deformation of the lattice and u what atoms moved besides, a vector v became
vF + u_j − u_i. One that is not in the list was at least cutoff + reach long, and is now at least
σ_min(F)(cutoff + reach) − 2 max|u| long: the list holds while this is not below the cutoff. u
leaves out what all atoms of a structure moved together. k vectors of an Ewald sum are enough while
σ_max(F) does not exceed a certain stretch.

All of it takes numpy's arrays, or JAX's under jit.
"""

from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from tensornet_jax.graph.arrays import ArrayT, library_of
from tensornet_jax.graph.long_range import STRETCH


class Stretch(NamedTuple, Generic[ArrayT]):
    """How much a deformed lattice may have changed the lengths of vectors.

    strain: F − 1.
    shrinking: at least 1 − σ_min(F).
    growing: at least σ_max(F) − 1.
    """

    strain: Float[ArrayT, "structures 3 3"]
    shrinking: Float[ArrayT, " structures"]
    growing: Float[ArrayT, " structures"]


class Left(NamedTuple, Generic[ArrayT]):
    """What a list has left.

    skin: Å; the list holds while this is ≥ 0. NaN where a position is not a number.
    drift: Å that all atoms moved together.
    """

    skin: Float[ArrayT, " structures"]
    drift: Float[ArrayT, "structures 3"]


class Members(Protocol[ArrayT]):
    """Which atoms belong to which structure."""

    def mean(self, values: Float[ArrayT, "atoms 3"]) -> Float[ArrayT, "structures 3"]:
        """Mean over the atoms of each structure, padding left out."""
        ...

    def largest(self, values: Float[ArrayT, " atoms"]) -> Float[ArrayT, " structures"]:
        """Largest of values ≥ 0 over the atoms of each structure, padding left out."""
        ...

    def of_atoms(self, values: Float[ArrayT, "structures 3"]) -> Float[ArrayT, "#atoms 3"]:
        """Row of its structure for each atom, or one for all."""
        ...

    def times(
        self, vectors: Float[ArrayT, "atoms 3"], matrices: Float[ArrayT, "structures 3 3"]
    ) -> Float[ArrayT, "atoms 3"]:
        """Vector of each atom times the matrix of its structure."""
        ...


class OneStructure:
    """All atoms are those of one structure, on the host."""

    # numpy's ufuncs are called directly: a step of dynamics comes by after the model has emptied
    # the processor's caches, when every layer of Python in between costs several times what it
    # does in a tight loop.
    def mean(self, values: Float[np.ndarray, "atoms 3"]) -> Float[np.ndarray, "1 3"]:
        """Mean over the atoms; 0 if there is none."""
        return np.add.reduce(values, axis=0, keepdims=True) / max(len(values), 1)

    def largest(self, values: Float[np.ndarray, " atoms"]) -> Float[np.ndarray, "1"]:
        """Largest of values ≥ 0."""
        return np.maximum.reduce(values, axis=0, keepdims=True, initial=0.0)

    def of_atoms(self, values: Float[np.ndarray, "1 3"]) -> Float[np.ndarray, "1 3"]:
        """Row of the structure."""
        return values

    def times(
        self, vectors: Float[np.ndarray, "atoms 3"], matrices: Float[np.ndarray, "1 3 3"]
    ) -> Float[np.ndarray, "atoms 3"]:
        """Vector of each atom times the matrix of the structure."""
        return vectors @ matrices[0]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class VerletSkin(Generic[ArrayT]):
    """What a neighbor list was made for, and how far it reaches beyond the cutoff.

    positions: Å.
    cell: Å.
    inverse: 1/Å, as `periodic_inverse` has it.
    reach: Å beyond the cutoff; infinite if the list holds all pairs.
    """

    positions: Float[ArrayT, "atoms 3"]
    cell: Float[ArrayT, "structures 3 3"]
    inverse: Float[ArrayT, "structures 3 3"]
    reach: Float[ArrayT, " structures"]

    def to_device(self: "VerletSkin[np.ndarray]") -> "VerletSkin":
        """Copy the arrays to the default device."""
        place = jnp.asarray(self.positions), jnp.asarray(self.cell)
        return VerletSkin(*place, jnp.asarray(self.inverse), jnp.asarray(self.reach))

    def strain(self, cell: Float[ArrayT, "structures 3 3"]) -> Float[ArrayT, "structures 3 3"]:
        """Return F − 1 for the lattice in Å that there is now."""
        return self.inverse @ (cell - self.cell)

    def left(
        self,
        members: Members[ArrayT],
        positions: Float[ArrayT, "atoms 3"],
        cutoff: float,
        stretch: Stretch[ArrayT] | None = None,
        *,
        k_vectors: bool = False,
    ) -> Left[ArrayT]:
        """Return by how much the list of each structure holds.

        Args:
            members: the structures' atoms.
            positions: of the atoms now, Å.
            cutoff: Å.
            stretch: of the cell, by one of the functions below; None promises that it is that of
                the list.
            k_vectors: whether there is an Ewald sum, whose k vectors a stretched cell may use up.
        """
        xp = library_of(self.reach)
        length, before = 1.0, self.positions
        if stretch is not None:
            length = 1 - stretch.shrinking
            before = before + members.times(before, stretch.strain)
        moved = xp.subtract(positions, before)
        drift = members.mean(moved)
        moved = moved - members.of_atoms(drift)
        farthest = xp.sqrt(members.largest((moved**2).sum(axis=-1)))
        skin = length * (cutoff + self.reach) - 2 * farthest - cutoff
        if stretch is not None and k_vectors:
            skin = xp.where(stretch.growing > STRETCH - 1, -1.0, skin)
        return Left(skin, drift)


def bounded_stretch(strain: Float[ArrayT, "structures 3 3"]) -> Stretch[ArrayT]:
    """Bound the stretch by the norm of the strain: σ(F) − 1 is within ±‖F − 1‖. Made for jit."""
    xp = library_of(strain)
    norm = xp.sqrt(xp.sum(strain**2, axis=(-2, -1)))
    return Stretch(strain, norm, norm)


def exact_stretch(strain: Float[np.ndarray, "structures 3 3"]) -> Stretch[np.ndarray]:
    """Compute the singular values of F, by which lists last longer, on the host."""
    values = np.linalg.svd(np.eye(3) + strain, compute_uv=False)
    return Stretch(strain, 1 - values[:, -1], values[:, 0] - 1)


def periodic_inverse(
    cell: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]
) -> Float[np.ndarray, "3 3"]:
    """Pseudo-inverse of the periodic lattice vectors (rows of `cell`, Å), 0 along open ones, 1/Å.

    Positions times this are their fractions of the periodic vectors.
    """
    inverse = np.zeros((3, 3))
    inverse[:, pbc] = np.linalg.pinv(cell[pbc])
    return inverse
