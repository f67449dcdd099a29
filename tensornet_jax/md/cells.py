"""Which cells may change under a pressure."""

from collections.abc import Sequence

import ase
import numpy as np
from jaxtyping import Float


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
