"""Energy and forces of a potential whose predicted charges feel point charges, and act on them."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.interop.openmm.embedding import (
    EwaldSum,
    Reciprocal,
    open_energy,
    periodic_energy,
)
from tensornet_jax.interop.openmm.forces import (
    ENERGY,
    LENGTH,
    MLAtoms,
    PotentialForces,
    box_of,
    positions_of,
)
from tensornet_jax.interop.openmm.types import State
from tensornet_jax.ops.interactions.reciprocal_space import MeshShape
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.prediction import Variables, outputs_in_eV

FARTHEST_ORIGIN = 20.0
"""Å between the ML atoms and the origin that positions on the device are relative to."""


class Surroundings(NamedTuple):
    """The point charges around the ML atoms.

    charges: e.
    how: how they and all images are summed; None without a box.
    """

    charges: Sequence[float]
    how: EwaldSum | None


class EmbeddedForces(PotentialForces):
    """Energy and forces for a `PythonForce` of the ML atoms and, after them, all point charges.

    The energy is that of the potential and that between its charges and the point charges. Since
    the charges depend on where the ML atoms are, so do the forces, beyond Coulomb's.
    """

    def __init__(
        self, potential: Potential, ml: MLAtoms, surroundings: Surroundings, skin: float
    ) -> None:
        super().__init__(potential, ml, skin)
        self.surroundings = surroundings
        self._forget()

    def _forget(self) -> None:
        self._reciprocal: Reciprocal | None = None
        self._origin: Float[np.ndarray, " 3"] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What OpenMM writes into a System's XML."""
        return {**super().__getstate__(), "surroundings": self.surroundings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what was written."""
        super().__setstate__(state)
        self._forget()

    def __call__(self, state: State) -> tuple[float, Float[np.ndarray, "particles 3"]]:
        """Return kJ/mol and kJ/mol/nm.

        Raises:
            ValueError: ML atoms that coincide, or positions that are not finite.
        """
        positions, count = positions_of(state), len(self.ml.numbers)
        atoms = self._placed(positions[:count], state)
        potential = self.potential
        near = self._evaluator.neighborhood_of(potential, atoms, self.skin)
        cell, dtype = atoms.cell.array, potential.dtype
        local = near.local_positions(atoms.positions, cell)
        padded = np.zeros(near.graph.positions.shape, dtype)
        padded[:count] = local
        origin = self._origin_near(positions[:count].mean(axis=0))
        waves = self._waves(box_of(state)) if self.surroundings.how is not None else None
        with potential.precision():
            energies, electrostatic, on_ml, on_points = _embedded(
                potential.module,
                potential.variables,
                near.graph,
                padded,
                cell.astype(dtype),
                np.asarray(potential.energy_scale, dtype),
                (positions[:count] - local - origin).astype(dtype),
                np.asarray(self.surroundings.charges, dtype),
                (positions[count:] - origin).astype(dtype),
                None if waves is None else waves.k_vectors,
                None if waves is None else waves.mesh,
                self.surroundings.how,
            )
        total = np.asarray(energies, np.float64) + near.reference_energies
        energy = float(total.sum()) + float(electrostatic)
        gradient = np.concatenate([np.asarray(on_ml)[:count], np.asarray(on_points)]).astype(float)
        return energy / ENERGY, gradient * (-LENGTH / ENERGY)

    def _origin_near(self, place: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
        """Return a point near a place, so that float32 keeps digits, and the same at most steps.

        A mesh is no exact function of differences of positions, and has to stay where it is.
        """
        if self._origin is None or np.linalg.norm(place - self._origin) > FARTHEST_ORIGIN:
            self._origin = place
        return self._origin

    def _waves(self, cell: Float[np.ndarray, "3 3"]) -> Reciprocal:
        how, waves = self.surroundings.how, self._reciprocal
        assert how is not None
        if waves is None or not waves.serves(cell):
            waves = how.reciprocal(cell, len(self.ml.numbers) + len(self.surroundings.charges))
            self._reciprocal = waves
        return waves


@partial(jax.jit, static_argnames=("module", "mesh", "how"))
def _embedded(
    module: nn.Module,
    variables: Variables,
    graph: AtomGraph,
    positions: Float[Array, "atoms 3"],
    cell: Float[Array, "3 3"],
    energy_scale: Float[Array, ""],
    offsets: Float[Array, "ml 3"],
    point_charges: Float[Array, " points"],
    points: Float[Array, "points 3"],
    k_vectors: Int[Array, "k_vectors 3"] | None,
    mesh: MeshShape | None,
    how: EwaldSum | None,
) -> tuple[Array, Array, Array, Array]:
    """Return energies of the ML atoms without E0, that of the embedding, and the gradient.

    Args:
        module: a model of ``MODELS``.
        variables: its parameters and buffers.
        graph: padded graph of the ML atoms.
        positions: where the graph has them, Å.
        cell: box vectors, Å.
        energy_scale: eV per unit of network output.
        offsets: from there to where the atoms are among the points, Å.
        point_charges: e.
        points: their places relative to the same origin, Å.
        k_vectors: for the sum over images.
        mesh: in their place.
        how: how images are summed; None without a box.

    Returns:
        (n,) eV, () eV, and the derivatives of their sum by positions and points, eV/Å.
    """
    count = len(offsets)

    def energy(positions: Array, points: Array) -> tuple[Array, tuple[Array, Array]]:
        now = graph.replace(positions=positions, cell=cell[None])
        outputs = outputs_in_eV(module, variables, now, energy_scale)
        charges, places = outputs["charges"][:count], positions[:count] + offsets
        if how is None or k_vectors is None:
            between = open_energy(charges, places, point_charges, points)
        else:
            between = periodic_energy(
                charges, places, point_charges, points, cell, k_vectors, mesh, how
            )
        return jnp.sum(outputs["energies"]) + between, (outputs["energies"][:count], between)

    gradient = jax.grad(energy, argnums=(0, 1), has_aux=True)
    (on_ml, on_points), (energies, between) = gradient(positions, points)
    return energies, between, on_ml, on_points
