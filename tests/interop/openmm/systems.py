"""Systems of OpenMM: ethanol alone, and among TIP3P water molecules."""

import importlib.util
import io
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import ase
import ase.build
import numpy as np
import pytest
from ase import units as ase_units

from tensornet_jax.potential.potential import Potential
from tests.builders import small_potential

openmm_is_installed = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("openmm", "openmmml")),
    reason="pip install 'tensornet_jax[openmm]'",
)

KJ = ase_units.kJ / ase_units.mol
FORCE = KJ / ase_units.nm
SPACING, GRID = 3.3, 4  # Å between water molecules

# OPLS-like: symbol, charge (e), sigma (nm), epsilon (kJ/mol), in the order of ASE's ethanol.
ETHANOL = (
    ("C", -0.18, 0.35, 0.276),
    ("C", 0.145, 0.35, 0.276),
    ("O", -0.683, 0.312, 0.711),
    ("H", 0.418, 0.05, 0.1),
    *[("H", 0.06, 0.25, 0.125)] * 5,
)
BONDS = ((1, 2), (0, 1), (2, 3), (1, 4), (1, 5), (0, 6), (0, 7), (0, 8))


def charged_potential() -> Potential:
    """Return a small potential that predicts charges beside its energy."""
    return small_potential(
        num_layers=0, heads=("energy", "dipole"), dipole_form="charges_and_dipoles"
    )


def ml_potential(potential: Potential | None = None, **options: Any) -> Any:
    """Return openmm-ml's `MLPotential` of a potential, as its entry point would give it."""
    from openmmml import MLPotential

    from tensornet_jax.interop.openmm import TensorNetFactory

    MLPotential.registerImplFactory("tensornet_jax", TensorNetFactory())
    chosen = charged_potential() if potential is None else potential
    return MLPotential("tensornet_jax", modelPath=chosen, **options)


class Mixture(NamedTuple):
    """A system by a force field.

    topology: of OpenMM.
    system: of OpenMM.
    positions: nm.
    ml: indices of the atoms of ethanol.
    """

    topology: Any
    system: Any
    positions: np.ndarray
    ml: list[int]


def ethanol() -> ase.Atoms:
    """Return ethanol off its minimum, with a mean position of zero."""
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.rattle(0.03, seed=1)
    atoms.positions -= atoms.positions.mean(axis=0)
    return atoms


def topology_of(atoms: ase.Atoms) -> Any:
    """Return the topology of one molecule, in a box if its structure is periodic."""
    from openmm import app

    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for index, number in enumerate(atoms.numbers):
        topology.addAtom(f"A{index}", app.Element.getByAtomicNumber(int(number)), residue)
    if atoms.pbc.any():
        topology.setPeriodicBoxVectors(atoms.cell.array / 10)
    return topology


def write_pdb(path: Path, topology: Any, positions: np.ndarray) -> None:
    """Write a PDB file; positions in Å."""
    from openmm import app

    with path.open("w", encoding="utf-8") as file:
        app.PDBFile.writeFile(topology, positions, file)


@cache
def ethanol_in_water(method: str) -> Mixture:
    """Return ethanol among TIP3P water molecules.

    Args:
        method: "NoCutoff" for a droplet, another nonbonded method for a periodic box.
    """
    from openmm import app

    atoms, rng = ethanol(), np.random.default_rng(0)
    topology = app.Topology()
    residue = topology.addResidue("ETH", topology.addChain())
    names = atom_names()
    own = [
        topology.addAtom(name, app.Element.getBySymbol(symbol), residue)
        for name, (symbol, *_) in zip(names, ETHANOL, strict=True)
    ]
    for first, second in BONDS:
        topology.addBond(own[first], own[second])
    places = [atoms.positions]
    grid = np.stack(np.meshgrid(*[np.arange(GRID)] * 3), -1).reshape(-1, 3)
    for corner in (grid - (GRID - 1) / 2) * SPACING:
        water = ase.build.molecule("H2O")
        water.rotate(360 * rng.random(), rng.normal(size=3))
        water.positions += corner - water.positions.mean(axis=0)
        distances = np.linalg.norm(water.positions[:, None] - atoms.positions, axis=-1)
        if distances.min() < 2.3:
            continue
        residue = topology.addResidue("HOH", topology.addChain())
        symbols = (("O", "O"), ("H1", "H"), ("H2", "H"))
        three = [topology.addAtom(n, app.Element.getBySymbol(s), residue) for n, s in symbols]
        topology.addBond(three[0], three[1])
        topology.addBond(three[0], three[2])
        places.append(water.positions)
    if method != "NoCutoff":
        box = np.diag([GRID * SPACING] * 3)
        box[1, 0], box[2, 0], box[2, 1] = 0.8, -0.5, 0.6
        topology.setPeriodicBoxVectors(box / 10)
    field = app.ForceField("amber14/tip3p.xml", io.StringIO(force_field()))
    system = field.createSystem(
        topology,
        nonbondedMethod=getattr(app, method),
        nonbondedCutoff=0.6,
        ewaldErrorTolerance=1e-6,
        rigidWater=True,
    )
    return Mixture(topology, system, np.concatenate(places) / 10, list(range(len(own))))


def atom_names() -> list[str]:
    """Return the names of the atoms of ethanol."""
    return [f"{symbol}{k}" for k, (symbol, *_) in enumerate(ETHANOL)]


def force_field() -> str:
    """Return a force field for ethanol, in OpenMM's XML."""
    names = atom_names()
    masses = {"C": 12.011, "O": 15.999, "H": 1.008}
    types = "".join(
        f'<Type name="e-{name}" class="e-{symbol}" element="{symbol}" mass="{masses[symbol]}"/>'
        for name, (symbol, *_) in zip(names, ETHANOL, strict=True)
    )
    atoms = "".join(f'<Atom name="{name}" type="e-{name}"/>' for name in names)
    bonds = "".join(f'<Bond atomName1="{names[a]}" atomName2="{names[b]}"/>' for a, b in BONDS)
    lengths = (("C", "C", 0.1529), ("C", "O", 0.141), ("C", "H", 0.109), ("O", "H", 0.0945))
    springs = "".join(
        f'<Bond class1="e-{a}" class2="e-{b}" length="{length}" k="250000"/>'
        for a, b, length in lengths
    )
    charges = "".join(
        f'<Atom type="e-{name}" charge="{charge}" sigma="{sigma}" epsilon="{epsilon}"/>'
        for name, (_, charge, sigma, epsilon) in zip(names, ETHANOL, strict=True)
    )
    return (
        f"<ForceField><AtomTypes>{types}</AtomTypes>"
        f'<Residues><Residue name="ETH">{atoms}{bonds}</Residue></Residues>'
        f"<HarmonicBondForce>{springs}</HarmonicBondForce>"
        '<NonbondedForce coulomb14scale="0.8333333333333334" lj14scale="0.5">'
        f"{charges}</NonbondedForce></ForceField>"
    )


def context_of(system: Any, positions: np.ndarray, platform: str = "Reference") -> Any:
    """Return a Context with a Verlet integrator of 0.5 fs; positions in nm."""
    import openmm

    where = openmm.Platform.getPlatformByName(platform)
    context = openmm.Context(system, openmm.VerletIntegrator(0.0005), where)
    context.setPositions(positions)
    return context


def energy_of(context: Any, groups: int = -1) -> float:
    """Return the potential energy, kJ/mol."""
    return context.getState(energy=True, groups=groups).getPotentialEnergy()._value


def forces_of(context: Any, groups: int = -1) -> np.ndarray:
    """Return the forces, kJ/mol/nm."""
    return context.getState(forces=True, groups=groups).getForces(asNumpy=True)._value


def check_gradient(
    context: Any, positions: np.ndarray, particles: list[int], groups: int = -1
) -> None:
    """Check forces on particles against central differences of the energy, to 1e-5 of them."""
    forces, step = forces_of(context, groups), 2e-5
    for particle in particles:
        for axis in range(3):
            energies = []
            for sign in (1, -1):
                moved = positions.copy()
                moved[particle, axis] += sign * step
                context.setPositions(moved)
                energies.append(energy_of(context, groups))
            quotient = -(energies[0] - energies[1]) / (2 * step)
            scale = max(np.linalg.norm(forces[particle]), 10.0)
            assert abs(quotient - forces[particle, axis]) < 1e-5 * scale, (particle, axis)
    context.setPositions(positions)
