"""Which cells a stress is defined in, and which may change under a pressure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ase
import numpy as np
from jaxtyping import Bool, Float

if TYPE_CHECKING:
    from tensornet_jax.md.ensembles.ensemble import Ensemble


def check_cells(
    structures: Sequence[ase.Atoms],
    mobile: Sequence[Bool[np.ndarray, " atoms"]],
    ensemble: "Ensemble",
    stress: bool,
) -> None:
    """Raise ValueError unless every structure is what its ensemble and its stress need.

    Args:
        structures: at the start.
        mobile: of each, False for fixed atoms.
        ensemble: what is sampled.
        stress: whether the stress is asked for.
    """
    for index, atoms in enumerate(structures):
        try:
            ensemble.check_structure(atoms, mobile[index])
        except ValueError as error:
            raise ValueError(f"structure {index} {error}") from None
        if (stress or ensemble.needs_volume) and atoms.cell.rank != 3:
            raise ValueError(
                f"structure {index} has no volume, to which stress and pressure refer: set a cell "
                "with three vectors, also along open directions, or do not ask for its stress"
            )


def check_periodic(atoms: ase.Atoms, shape: str) -> None:
    """Raise ValueError unless a cell may change in a way under a pressure.

    Args:
        atoms: the structure.
        shape: "in_plane", which needs two periodic directions, or any other, which needs three.
    """
    periodic = int(atoms.pbc.sum())
    found = f"(pbc {atoms.pbc.tolist()})"
    if shape == "in_plane":
        if periodic < 2:
            raise ValueError(
                f"is not periodic in two directions {found}, which shape: in_plane needs: use an "
                "ensemble of constant volume"
            )
    elif periodic < 3:
        slab = "shape: in_plane, or " if periodic == 2 else ""
        raise ValueError(
            f"is not periodic in three directions {found}: constant pressure with shape: {shape} "
            f"needs that; use {slab}another ensemble"
        )


def planes_of(structures: Sequence[ase.Atoms]) -> Float[np.ndarray, "structures 3 3"]:
    """Return the projector on the plane of each slab.

    The plane is that of the two periodic lattice vectors, or of the first two.
    """
    projectors = []
    for atoms in structures:
        periodic = np.flatnonzero(atoms.pbc)[:2]
        normal = np.cross(*atoms.cell.array[periodic])
        normal /= np.linalg.norm(normal)
        # What rounding leaves would tilt a plane that lies along the axes.
        normal[abs(normal) < 1e-14] = 0.0
        projectors.append(np.eye(3) - np.outer(normal, normal))
    return np.stack(projectors)
