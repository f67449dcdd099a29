"""Atoms and cell as one vector, so that an optimizer need not know which is which."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from tensornet_jax.md.integrators.barostat import exponential, volume
from tensornet_jax.md.state import State, System

CellFreedom = Literal["none", "isotropic", "lengths", "full"]
"""What of the cell may relax: nothing; its size; the lengths along x, y, z; size and shape."""


class Vector(NamedTuple):
    """A displacement, or a force, of all structures.

    atoms: (N, 3).
    cell: (B, 3, 3).
    """

    atoms: Array
    cell: Array

    def plus(self, other: "Vector", factor: Array | float = 1.0) -> "Vector":
        """Return the sum with a multiple of another vector that is the same for all structures."""
        return jax.tree.map(lambda a, b: a + factor * b, self, other)

    def scaled(self, system: System, factor: Array) -> "Vector":
        """Return the vector times a number (B,) of each structure."""
        return Vector(
            self.atoms * factor[system.node_graph][:, None], self.cell * factor[:, None, None]
        )

    def dot(self, system: System, other: "Vector") -> Array:
        """Return the scalar products of the structures' parts, (B,)."""
        atoms = system.per_graph(jnp.sum(self.atoms * other.atoms, axis=-1))
        return atoms + jnp.sum(self.cell * other.cell, axis=(-2, -1))

    def largest(self, system: System) -> Array:
        """Return the length of the longest row of each structure, (B,)."""
        atoms = system.largest(jnp.sum(self.atoms**2, axis=-1))
        return jnp.sqrt(jnp.maximum(atoms, jnp.max(jnp.sum(self.cell**2, axis=-1), axis=-1)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CellCoordinates:
    """Positions X before the deformation exp(E), and u = n·E with n the number of atoms.

    positions = X exp(E) and cell = cell₀ exp(E) with a symmetric E. The factor n, as ASE's
    `FrechetCellFilter` has it, makes forces along u as large as those on atoms. What is minimized
    is energy + pressure × volume.

    pressure: (B,) eV/Å³.
    freedom: what of the cell may relax (static).
    """

    pressure: Any
    freedom: CellFreedom = field(default="none", metadata={"static": True})

    def moved(self, system: System, state: State, strain: Array, step: Vector) -> tuple[Any, ...]:
        """Return positions, cell and E after a step from the E of now, (B, 3, 3)."""
        if self.freedom == "none":
            return state.positions + step.atoms, state.cell, strain
        after = strain + step.cell / self._sizes(system)
        back, forth = exponential(-strain), exponential(after)
        of_atoms = system.node_graph
        reference = jnp.einsum("na,nab->nb", state.positions, back[of_atoms])
        positions = jnp.einsum("na,nab->nb", reference + step.atoms, forth[of_atoms])
        return positions, state.cell @ back @ forth, after

    def force(self, system: System, state: State, strain: Array) -> Vector:
        """Return the negative gradient along X and u; fixed atoms feel none."""
        atoms = jnp.where(system.mobile[:, None], state.forces, 0)
        if self.freedom == "none":
            return Vector(atoms, jnp.zeros_like(state.cell))
        deformation, pullback = jax.vjp(exponential, strain)
        atoms = jnp.einsum("na,nba->nb", atoms, deformation[system.node_graph])
        virial = volume(state.cell)[:, None, None] * self.total_stress(state)
        (gradient,) = pullback(exponential(-strain).mT @ virial)
        return Vector(atoms, -self._allowed(gradient) / self._sizes(system))

    def total_stress(self, state: State) -> Array:
        """Return what has to vanish for the cell to be relaxed, (B, 3, 3) eV/Å³."""
        if self.freedom == "none":
            return jnp.zeros_like(state.stress)
        identity = jnp.eye(3, dtype=state.stress.dtype)
        return self._allowed(state.stress + self.pressure[:, None, None] * identity)

    def _allowed(self, tensor: Array) -> Array:
        identity = jnp.eye(3, dtype=tensor.dtype)
        if self.freedom == "isotropic":
            return jnp.trace(tensor, axis1=-2, axis2=-1)[:, None, None] / 3 * identity
        return tensor * identity if self.freedom == "lengths" else 0.5 * (tensor + tensor.mT)

    def _sizes(self, system: System) -> Array:
        count = system.per_graph(system.node_mask.astype(system.masses.dtype))
        return jnp.maximum(count, 1)[:, None, None]
