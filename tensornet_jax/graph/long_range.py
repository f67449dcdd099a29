"""What energies beyond a network's cutoff need of a structure: farther pairs, and waves.

A Coulomb energy counts every pair of a molecule. In a crystal it is an Ewald sum: pairs within a
cutoff, and k vectors of the reciprocal lattice, by a sum or by a mesh.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int32

from tensornet_jax.graph.neighbors import Pairs, all_pairs, neighbor_pairs
from tensornet_jax.ops.interactions.reciprocal_space import (
    MeshShape,
    mesh_shape,
    reciprocal_indices,
)

EwaldMethod = Literal["auto", "sum", "mesh"]

STRETCH = 1.05
"""How far a cell may stretch in any direction before it needs more k vectors; the volume may
grow, and pressure be exact, up to there."""

NEUTRAL = 0.01
"""Total charge in e up to which a cell is taken for neutral: charges of atoms are often rounded."""

LARGEST_SUM = 20_000
"""Atoms times k vectors up to which the sum over k vectors is preferred to the mesh; on two cores
it took 0.6 ms there, as the mesh did."""


@dataclass(frozen=True)
class KVectors:
    """How fine an Ewald sum has to resolve the reciprocal space.

    cutoff: Å⁻¹, of the sum over reciprocal lattice vectors.
    spacing: Å, of the mesh.
    method: sum, mesh, or the faster of both.
    background: whether a charged cell is neutralized by a uniform charge, or refused.
    """

    cutoff: float
    spacing: float
    method: EwaldMethod = "auto"
    background: bool = False

    def of(
        self, cell: Float[np.ndarray, "3 3"], num_atoms: int
    ) -> tuple[Int32[np.ndarray, "k_vectors 3"], MeshShape | None]:
        """Return integers of the k vectors to sum, and the mesh if there is one instead.

        Args:
            cell: rows are lattice vectors, Å.
            num_atoms: of the structure.
        """
        # A stretched cell's k vectors are longer, more of them fall below the cutoff.
        cutoff = STRETCH * self.cutoff
        k_vectors = abs(np.linalg.det(cell)) * cutoff**3 / (12 * np.pi**2)
        few = num_atoms * k_vectors <= LARGEST_SUM
        if self.method == "sum" or (self.method == "auto" and few):
            return reciprocal_indices(cell, cutoff), None
        return np.zeros((0, 3), np.int32), mesh_shape(cell, self.spacing / STRETCH)


class FarField(NamedTuple):
    """What of a structure lies beyond the network's cutoff.

    pairs: pairs of the long list.
    k_vectors: integers of reciprocal lattice vectors; None for a molecule.
    mesh: points of a mesh in their place.
    """

    pairs: Pairs
    k_vectors: Int32[np.ndarray, "k_vectors 3"] | None = None
    mesh: MeshShape | None = None


@dataclass(frozen=True)
class LongRange:
    """What a potential's energies need of structures beyond its network's cutoff.

    molecule: Å, reach of pairs in a structure that is not periodic; may be infinite.
    periodic: Å, reach of pairs in one that is.
    k_vectors: of an Ewald sum over periodic structures; None without.
    """

    molecule: float
    periodic: float
    k_vectors: KVectors | None = None

    def reach(self, pbc: Bool[np.ndarray, "3"]) -> float:
        """Reach of pairs in Å, given which directions are periodic."""
        return self.periodic if np.any(pbc) else self.molecule

    def field(
        self,
        near: Pairs,
        positions: Float[np.ndarray, "atoms 3"],
        cell: Float[np.ndarray, "3 3"],
        pbc: Bool[np.ndarray, "3"],
        cutoff: float,
        skin: float = 0.0,
    ) -> FarField:
        """Find the far field of a structure.

        Args:
            near: its pairs within cutoff and skin.
            positions: Å.
            cell: Å.
            pbc: which directions repeat.
            cutoff: of the network, Å.
            skin: Å the lists reach farther.

        Raises:
            ValueError: an Ewald sum of a structure that is periodic in one or two directions.
        """
        reach = self.reach(pbc)
        if np.isinf(reach):
            pairs = all_pairs(len(positions))
        elif reach <= cutoff:
            pairs = near
        else:
            pairs = neighbor_pairs(positions, cell, pbc, reach + skin)
        if self.k_vectors is None or not np.any(pbc):
            return FarField(pairs)
        return FarField(pairs, *self.reciprocal(cell, pbc, len(positions)))

    def reciprocal(
        self, cell: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"], num_atoms: int
    ) -> tuple[Int32[np.ndarray, "k_vectors 3"] | None, MeshShape | None]:
        """Return k vectors and mesh of a periodic structure, as `FarField` has them."""
        if self.k_vectors is None:
            return None, None
        if not np.all(pbc):
            raise ValueError(
                f"a Coulomb energy of all images needs three periodic directions or none, not pbc "
                f"{np.asarray(pbc).tolist()}: set atoms.pbc to True with a vacuum along the open "
                "ones, or give the model's Coulomb section a cutoff, 12 Å say"
            )
        return self.k_vectors.of(cell, num_atoms)

    def check_neutral(self, pbc: Bool[np.ndarray, "3"], total: float) -> None:
        """Refuse a total charge, in e, that an Ewald sum would repeat without end.

        Raises:
            ValueError: the structure is periodic and charged, and there is to be no background.
        """
        if self.k_vectors is None or self.k_vectors.background or not np.any(pbc):
            return
        if abs(total) > NEUTRAL:
            raise ValueError(
                f"the charges of a periodic cell must sum to zero, not to {total:g} e: its images "
                "have no finite energy. Correct the charges, or give the model's Coulomb section "
                "ewald: {background: true} for a uniform neutralizing charge"
            )
