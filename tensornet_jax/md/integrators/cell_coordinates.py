"""Atoms and cell as one vector, so that an optimizer need not know which is which."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.md.integrators.barostat import exponential, volume
from tensornet_jax.md.state import State, System

CellChange = Literal["none", "isotropic", "lengths", "full", "in_plane"]
"""What of the cell may relax: nothing; its size; the lengths along x, y, z; size and shape; size
and shape within a plane."""


class Vector(NamedTuple):
    """A displacement, or a force, of all structures.

    atoms: the part of the positions.
    cell: the part of the cell.
    """

    atoms: Float[Array, "atoms 3"]
    cell: Float[Array, "structures 3 3"]

    def plus(self, other: "Vector", factor: Array | float = 1.0) -> "Vector":
        """Return the sum with a multiple of another vector that is the same for all structures."""
        return jax.tree.map(lambda a, b: a + factor * b, self, other)

    def scaled(self, system: System, factor: Float[Array, " structures"]) -> "Vector":
        """Return the vector times a number of each structure."""
        return Vector(
            self.atoms * factor[system.node_graph][:, None], self.cell * factor[:, None, None]
        )

    def dot(self, system: System, other: "Vector") -> Float[Array, " structures"]:
        """Return the scalar products of the structures' parts."""
        atoms = system.per_graph(jnp.sum(self.atoms * other.atoms, axis=-1))
        return atoms + jnp.sum(self.cell * other.cell, axis=(-2, -1))

    def largest(self, system: System) -> Float[Array, " structures"]:
        """Return the length of the longest row of each structure."""
        atoms = system.largest(jnp.sum(self.atoms**2, axis=-1))
        return jnp.sqrt(jnp.maximum(atoms, jnp.max(jnp.sum(self.cell**2, axis=-1), axis=-1)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CellCoordinates:
    """Positions X before the deformation exp(E), and u = n·E with n the number of atoms.

    positions = X exp(E) and cell = cell₀ exp(E) with a symmetric E. The factor n, as ASE's
    `FrechetCellFilter` has it, makes forces along u as large as those on atoms. What is minimized
    is energy + pressure × volume.

    pressure: eV/Å³.
    plane: projector on the plane of "in_plane"; None for other changes.
    change: what of the cell may relax (static).
    """

    pressure: Float[Array, " structures"]
    plane: Float[Array, "structures 3 3"] | None = None
    change: CellChange = field(default="none", metadata={"static": True})

    def moved(
        self, system: System, state: State, strain: Float[Array, "structures 3 3"], step: Vector
    ) -> tuple[
        Float[Array, "atoms 3"], Float[Array, "structures 3 3"], Float[Array, "structures 3 3"]
    ]:
        """Return positions, cell and E after a step from the E of now."""
        if self.change == "none":
            return state.positions + step.atoms, state.cell, strain
        after = strain + step.cell / self._sizes(system)
        back, forth = exponential(-strain), exponential(after)
        of_atoms = system.node_graph
        reference = jnp.einsum("na,nab->nb", state.positions, back[of_atoms])
        positions = jnp.einsum("na,nab->nb", reference + step.atoms, forth[of_atoms])
        return positions, state.cell @ back @ forth, after

    def force(self, system: System, state: State, strain: Float[Array, "structures 3 3"]) -> Vector:
        """Return the negative gradient along X and u; fixed atoms feel none."""
        atoms = jnp.where(system.mobile[:, None], state.forces, 0)
        if self.change == "none":
            return Vector(atoms, jnp.zeros_like(state.cell))
        deformation, pullback = jax.vjp(exponential, strain)
        atoms = jnp.einsum("na,nba->nb", atoms, deformation[system.node_graph])
        virial = volume(state.cell)[:, None, None] * self.total_stress(state)
        (gradient,) = pullback(exponential(-strain).mT @ virial)
        return Vector(atoms, -self._allowed(gradient) / self._sizes(system))

    def total_stress(self, state: State) -> Float[Array, "structures 3 3"]:
        """Return what has to vanish for the cell to be relaxed, eV/Å³."""
        if self.change == "none":
            return jnp.zeros_like(state.stress)
        identity = jnp.eye(3, dtype=state.stress.dtype)
        return self._allowed(state.stress + self.pressure[:, None, None] * identity)

    def _allowed(self, tensor: Float[Array, "structures 3 3"]) -> Float[Array, "structures 3 3"]:
        identity = jnp.eye(3, dtype=tensor.dtype)
        if self.change == "isotropic":
            return jnp.trace(tensor, axis1=-2, axis2=-1)[:, None, None] / 3 * identity
        if self.plane is not None:
            return self.plane @ (0.5 * (tensor + tensor.mT)) @ self.plane
        return tensor * identity if self.change == "lengths" else 0.5 * (tensor + tensor.mT)

    def _sizes(self, system: System) -> Array:
        count = system.per_graph(system.node_mask.astype(system.masses.dtype))
        return jnp.maximum(count, 1)[:, None, None]
