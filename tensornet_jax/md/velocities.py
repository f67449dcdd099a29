"""First velocities, the motion dynamics conserves, and the atoms that do not move."""

import ase
import numpy as np
from ase import units
from ase.constraints import FixAtoms

# Below this share of the largest moment of inertia, or of the momenta, a quantity is zero.
NEGLIGIBLE = 1e-6


def mobile_atoms(atoms: ase.Atoms, where: str = "") -> np.ndarray:
    """Return (N,) bool, False for atoms held by FixAtoms.

    Raises:
        ValueError: a constraint of another kind, which would be ignored otherwise.
    """
    mobile = np.ones(len(atoms), bool)
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise ValueError(
                f"constraint {type(constraint).__name__}{where} is not supported, only FixAtoms: "
                "remove it with atoms.set_constraint(), or run ASE's dynamics with the calculator"
            )
        mobile[constraint.index] = False
    return mobile


def thermal_velocities(
    atoms: ase.Atoms, temperature: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw velocities from the Maxwell–Boltzmann distribution, (N, 3) Å/(Å·√(amu/eV)).

    Fixed atoms are at rest.
    """
    width = np.sqrt(units.kB * temperature / atoms.get_masses())[:, None]
    velocities = width * rng.standard_normal((len(atoms), 3))
    return np.where(mobile_atoms(atoms)[:, None], velocities, 0.0)


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


def _inertia(atoms: ase.Atoms) -> np.ndarray:
    masses = atoms.get_masses()[:, None]
    arms = atoms.positions - atoms.get_center_of_mass()
    squares = (arms**2).sum(axis=1)[:, None, None] * np.eye(3)
    return (masses[..., None] * (squares - arms[:, :, None] * arms[:, None, :])).sum(axis=0)


def _rotations(atoms: ase.Atoms) -> int:
    if atoms.pbc.any():
        return 0
    moments = np.linalg.eigvalsh(_inertia(atoms))
    return int((moments > NEGLIGIBLE * moments.max()).sum())
