"""Which cells a stress is defined in, and which may change under a pressure."""

from collections.abc import Sequence

import ase
import numpy as np

from tensornet_jax.md.config import NPT, Ensemble


def check_cells(
    structures: Sequence[ase.Atoms], mobile: Sequence[np.ndarray], ensemble: Ensemble, stress: bool
) -> None:
    """Raise ValueError unless every structure has the cell that its ensemble and stress need.

    Args:
        structures: at the start.
        mobile: (n,) bool of each, False for fixed atoms.
        ensemble: what is sampled.
        stress: whether the stress is asked for.
    """
    for index, atoms in enumerate(structures):
        where = f"structure {index}"
        if isinstance(ensemble, NPT):
            _check_periodic(atoms, ensemble, where)
            if not mobile[index].all():
                raise ValueError(
                    f"{where} has fixed atoms, which a changing cell would move: remove the "
                    "constraint, or use another ensemble"
                )
        if (stress or isinstance(ensemble, NPT)) and atoms.cell.rank != 3:
            raise ValueError(
                f"{where} has no volume, to which stress and pressure refer: set a cell with three "
                "vectors, also along open directions, or do not ask for its stress"
            )


def _check_periodic(atoms: ase.Atoms, ensemble: NPT, where: str) -> None:
    periodic = int(atoms.pbc.sum())
    found = f"(pbc {atoms.pbc.tolist()})"
    if ensemble.shape == "in_plane":
        if periodic < 2:
            raise ValueError(
                f"{where} is not periodic in two directions {found}, which shape: in_plane needs: "
                "use an ensemble of constant volume"
            )
    elif periodic < 3:
        slab = "shape: in_plane, or " if periodic == 2 else ""
        raise ValueError(
            f"{where} is not periodic in three directions {found}: constant pressure with shape: "
            f"{ensemble.shape} needs that; use {slab}another ensemble"
        )


def planes_of(structures: Sequence[ase.Atoms]) -> np.ndarray:
    """Return the projector on the plane of each slab, (B, 3, 3).

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
