"""Coulomb energy between predicted charges and point charges, exact in all forces.

With charges q of the ML atoms, which depend on where those are, and constant charges Q of all other
particles,

    E = k Σ_i Σ_j q_i Q_j / |r_i − r_j|,

in a periodic box with all images, by Ewald's sum:

    E = k Σ_i q_i (φ_i[Q] + ½ φ_i[q]) − ½ k Σ_{i≠j} q_i q_j / |r_i − r_j|,

φ[Q] and φ[q] the potentials of the point charges and of the ML charges, both with their images and
a uniform background. The second term and the third are the energy between an ML part and its own
images. They are left out for potentials that sum over the images of their charges themselves.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import erf
from jaxtyping import Float, Int

from tensornet_jax.graph.long_range import STRETCH, KVectors
from tensornet_jax.ops.interactions import ewald
from tensornet_jax.ops.interactions.pme import mesh_potentials
from tensornet_jax.ops.interactions.reciprocal_space import (
    MeshShape,
    mesh_spacing,
    reciprocal_cutoff,
    splitting_of,
)
from tensornet_jax.units import COULOMB


@dataclass(frozen=True)
class EwaldSum:
    """How charges and all their images are summed.

    cutoff: Å, where pairs become negligible; at most half of the box in every direction.
    accuracy: of the potential of a unit charge, e/Å.
    own_images: whether the ML charges interact with their own images.
    """

    cutoff: float
    accuracy: float
    own_images: bool

    @property
    def splitting(self) -> float:
        """α of the Ewald sum, Å⁻¹."""
        return splitting_of(self.cutoff, self.accuracy)

    def reciprocal(self, cell: Float[np.ndarray, "3 3"], num_charges: int) -> "Reciprocal":
        """Return what the sum over reciprocal lattice vectors needs of a box."""
        splitting = self.splitting
        waves = KVectors(
            reciprocal_cutoff(splitting, self.accuracy), mesh_spacing(splitting, self.accuracy)
        )
        return Reciprocal(cell.copy(), *waves.of(cell, num_charges))


class Reciprocal(NamedTuple):
    """Waves that resolve the reciprocal space of a box and of those that differ little from it.

    cell: rows are the box vectors, Å.
    k_vectors: integers of reciprocal lattice vectors.
    mesh: points of a mesh in their place.
    """

    cell: Float[np.ndarray, "3 3"]
    k_vectors: Int[np.ndarray, "k_vectors 3"]
    mesh: MeshShape | None

    def serves(self, cell: Float[np.ndarray, "3 3"]) -> bool:
        """Tell whether it is for a box, too, without many waves that are not needed."""
        stretches = np.linalg.svd(np.linalg.solve(self.cell, cell), compute_uv=False)
        return bool(stretches.max() <= STRETCH and stretches.min() >= 1 / STRETCH)


def open_energy(
    charges: Float[Array, " ml"],
    places: Float[Array, "ml 3"],
    point_charges: Float[Array, " points"],
    points: Float[Array, "points 3"],
) -> Float[Array, ""]:
    """Energy between ML charges and point charges without a box, eV.

    Args:
        charges: (n,) e.
        places: (n, 3) Å.
        point_charges: (m,) e.
        points: (m, 3) Å.
    """
    distances = _norm(points[None] - places[:, None])
    return COULOMB * jnp.einsum("i,j,ij->", charges, point_charges, 1 / distances)


def periodic_energy(
    charges: Float[Array, " ml"],
    places: Float[Array, "ml 3"],
    point_charges: Float[Array, " points"],
    points: Float[Array, "points 3"],
    cell: Float[Array, "3 3"],
    k_vectors: Int[Array, "k_vectors 3"],
    mesh: MeshShape | None,
    how: EwaldSum,
) -> Float[Array, ""]:
    """Energy between ML charges and point charges and all images of both, eV.

    Args:
        charges: (n,) e.
        places: (n, 3) Å.
        point_charges: (m,) e.
        points: (m, 3) Å.
        cell: (3, 3) box vectors in OpenMM's reduced form, Å.
        k_vectors: (K, 3) integers, as `EwaldSum.reciprocal` gives them.
        mesh: points of the mesh in their place, or None.
        how: how they are summed.
    """
    splitting = how.splitting
    distances = _norm(nearest_images(points[None] - places[:, None], cell))
    # Pairs beyond the cutoff are negligible; without them the energy would have steps.
    near = ewald.screened(distances, splitting)
    energy = jnp.einsum("i,j,ij->", charges, point_charges, near)
    # One set of charges for both potentials: half of what is counted from both ends.
    own = 0.5 * charges if how.own_images else jnp.zeros_like(charges)
    sources = jnp.concatenate([own, point_charges])
    everywhere = jnp.concatenate([places, points])
    far = _far_potentials(sources, everywhere, cell, k_vectors, mesh, splitting)
    energy += jnp.dot(charges, far[: len(charges)])
    if how.own_images:
        energy += _between_own_images(charges, places, cell, splitting)
    return COULOMB * energy


def _far_potentials(
    charges: Array,
    positions: Array,
    cell: Array,
    k_vectors: Array,
    mesh: MeshShape | None,
    splitting: float,
) -> Float[Array, " particles"]:
    """Smooth share of the potential with the background, own smeared charge included, e/Å."""
    column, owner = charges[:, None], jnp.zeros(len(charges), jnp.int32)
    if mesh is None:
        place = (column, positions, cell[None], owner, k_vectors[None])
        found = ewald.reciprocal_potentials(*place, splitting)
    else:
        everywhere = jnp.ones(1, bool)
        found = mesh_potentials(column, positions, cell[None], owner, everywhere, mesh, splitting)
    volume = jnp.abs(jnp.linalg.det(cell))
    return found[:, 0] - jnp.pi / splitting**2 * jnp.sum(charges) / volume


def _between_own_images(
    charges: Array, places: Array, cell: Array, splitting: float
) -> Float[Array, ""]:
    """What ½ q φ[q] by waves has too much: smeared charges at their own place, and near pairs."""
    vectors = nearest_images(places[None] - places[:, None], cell)
    itself = jnp.eye(len(charges), dtype=bool)
    distances = _norm(jnp.where(itself[..., None], 1.0, vectors))
    smeared = jnp.where(itself, 2 * splitting / jnp.sqrt(jnp.pi), erf(splitting * distances))
    smeared = jnp.where(itself, smeared, smeared / distances)
    return -0.5 * jnp.einsum("i,j,ij->", charges, charges, smeared)


def nearest_images(
    vectors: Float[Array, "... 3"], cell: Float[Array, "3 3"]
) -> Float[Array, "... 3"]:
    """Return vectors to the nearest image, as OpenMM has it: right up to half of the box.

    Args:
        vectors: (…, 3) Å.
        cell: (3, 3) box vectors in OpenMM's reduced form (below the diagonal), Å.
    """
    for axis in (2, 1, 0):
        turns = jnp.round(vectors[..., axis] / cell[axis, axis])
        vectors = vectors - turns[..., None] * cell[axis]
    return vectors


def _norm(vectors: Array) -> Array:
    return jnp.sqrt(jnp.sum(vectors**2, axis=-1))
