"""First velocities, the motion dynamics conserves, and the atoms that do not move."""

from typing import TYPE_CHECKING

import ase
import numpy as np
from ase import units
from ase.constraints import FixAtoms
from jaxtyping import Bool, Float

if TYPE_CHECKING:
    from tensornet_jax.md.ensembles.ensemble import Ensemble

# Below this share of the largest moment of inertia, or of the momenta, a quantity is zero.
NEGLIGIBLE = 1e-6


def free_atoms(atoms: ase.Atoms) -> Bool[np.ndarray, " atoms"]:
    """Return False for atoms held by FixAtoms; other constraints do not count."""
    free = np.ones(len(atoms), bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            free[constraint.index] = False
    return free


def thermal_velocities(
    atoms: ase.Atoms, temperature: float, rng: np.random.Generator
) -> Float[np.ndarray, "atoms 3"]:
    """Draw velocities from the Maxwell–Boltzmann distribution at a temperature in K.

    They are in Å/(Å·√(amu/eV)).

    Fixed atoms are at rest.
    """
    width = np.sqrt(units.kB * temperature / atoms.get_masses())[:, None]
    velocities = width * rng.standard_normal((len(atoms), 3))
    return np.where(free_atoms(atoms)[:, None], velocities, 0.0)


def bring_to_rest(atoms: ase.Atoms) -> int:
    """Remove what constant-energy dynamics conserves: net momentum and, of a molecule, rotation.

    Velocities are not scaled up again: every other motion keeps its share of thermal energy.
    Structures with constraints conserve neither and stay as they are.

    Returns:
        the number of degrees of freedom that are now without motion.
    """
    if len(atoms) == 1 or atoms.constraints:
        return 0
    masses = atoms.get_masses()[:, None]
    velocities = atoms.get_velocities()
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    if not atoms.pbc.any():
        arms = atoms.positions - atoms.get_center_of_mass()
        momentum = np.cross(arms, masses * velocities).sum(axis=0)
        # A linear molecule has no moment of inertia about its axis.
        inverse = np.linalg.pinv(_inertia(atoms), rcond=NEGLIGIBLE, hermitian=True)
        velocities -= np.cross(inverse @ momentum, arms)
    atoms.set_velocities(velocities)
    return 3 + _rotations(atoms)


def without_conserved_motion(atoms: ase.Atoms, ensemble: "Ensemble", *, kept: bool) -> int:
    """Bring to rest what an ensemble's dynamics conserves; return those degrees of freedom.

    Where energy is conserved, velocities that shall be kept stay as they are.

    Args:
        atoms: changed.
        ensemble: what is sampled.
        kept: whether the velocities are those of the structure.
    """
    if not ensemble.conserves_momentum:
        return 0
    return motions_at_rest(atoms) if kept and ensemble.conserves_energy else bring_to_rest(atoms)


def motions_at_rest(atoms: ase.Atoms) -> int:
    """Return how many of the degrees of freedom that dynamics conserves are without motion."""
    if len(atoms) == 1 or atoms.constraints:
        return 0
    momenta = atoms.get_momenta()
    scale = np.linalg.norm(momenta, axis=1).sum()
    if np.linalg.norm(momenta.sum(axis=0)) > NEGLIGIBLE * scale:
        return 0
    arms = atoms.positions - atoms.get_center_of_mass()
    turning = np.linalg.norm(np.cross(arms, momenta).sum(axis=0))
    return 3 + (_rotations(atoms) if turning <= NEGLIGIBLE * scale * abs(arms).max() else 0)


def _inertia(atoms: ase.Atoms) -> Float[np.ndarray, "3 3"]:
    masses = atoms.get_masses()[:, None]
    arms = atoms.positions - atoms.get_center_of_mass()
    squares = (arms**2).sum(axis=1)[:, None, None] * np.eye(3)
    return (masses[..., None] * (squares - arms[:, :, None] * arms[:, None, :])).sum(axis=0)


def _rotations(atoms: ase.Atoms) -> int:
    if atoms.pbc.any():
        return 0
    moments = np.linalg.eigvalsh(_inertia(atoms))
    return int((moments > NEGLIGIBLE * moments.max()).sum())
