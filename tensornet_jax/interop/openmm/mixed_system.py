"""An OpenMM System whose ML part has predicted charges that interact with those of a force field.

From the force field remain the interactions of all other particles, and the Lennard-Jones and
bonded interactions between them and the ML atoms. Charges of the ML atoms are set to zero there:
what they do is in the force of the potential.
"""

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import openmm
from openmm import unit
from openmmml.embeddings import utilities

from tensornet_jax.interop.openmm.embedded_forces import EmbeddedForces, Surroundings
from tensornet_jax.interop.openmm.embedding import EwaldSum
from tensornet_jax.interop.openmm.types import Force, System, Topology

if TYPE_CHECKING:
    from tensornet_jax.interop.openmm.factory import TensorNetImpl

ACCURACY = 1e-6
"""e/Å, of the potential of a unit charge."""

# Forces that know nothing of charges, or of which `_without_ml_interactions` takes them.
KNOWN = (
    openmm.HarmonicBondForce,
    openmm.HarmonicAngleForce,
    openmm.PeriodicTorsionForce,
    openmm.RBTorsionForce,
    openmm.CMAPTorsionForce,
    openmm.CustomBondForce,
    openmm.CustomAngleForce,
    openmm.CustomTorsionForce,
    openmm.CustomExternalForce,
    openmm.CustomCentroidBondForce,
    openmm.CustomNonbondedForce,
    openmm.NonbondedForce,
    openmm.CMMotionRemover,
    openmm.AndersenThermostat,
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloFlexibleBarostat,
    openmm.MonteCarloMembraneBarostat,
)
ALL_IMAGES = (openmm.NonbondedForce.Ewald, openmm.NonbondedForce.PME, openmm.NonbondedForce.LJPME)


class PointCharges(NamedTuple):
    """The charges around the ML atoms.

    particles: their indices.
    charges: e.
    """

    particles: list[int]
    charges: tuple[float, ...]


def embedded_system(
    impl: "TensorNetImpl",
    topology: Topology,
    system: System,
    atoms: list[int],
    args: dict[str, Any],
    group: int,
    interpolate: bool,
    accuracy: float | None = None,
) -> System:
    """Return a System in which predicted charges of the ML atoms feel those of a force field.

    Args:
        impl: the potential, which predicts charges.
        topology: of the system.
        system: by a force field, not changed; its charges in one NonbondedForce with NoCutoff, or
            with Ewald, PME or LJPME.
        atoms: indices of the ML atoms, none bonded to one that is not among them.
        args: `charge`, `spin` and `charges` of the ML atoms.
        group: force group of the potential.
        interpolate: whether the global parameter lambda_interpolate goes from the force field (0)
            to this system (1).
        accuracy: of the sum over images, e/Å for a unit charge; 1e-6 by default.

    Raises:
        ValueError: what makes the embedding impossible, and what to do.
    """
    _check_options(args)
    potential = impl.potential
    if not potential.config.predicts_charges:
        raise ValueError(
            f"electrostatic embedding needs charges, and this {potential.config.name} predicts "
            'none: take embedding="mechanical", or a model with dipole_form: charges_and_dipoles '
            "or a Coulomb prior of predicted charges"
        )
    nonbonded = _charges_of(system)
    _check_separate(topology, nonbonded, atoms)
    periodic = nonbonded.getNonbondedMethod() in ALL_IMAGES
    ml = impl.ml_atoms(topology, system, atoms, args)
    _check_images(box=ml.periodic, images=periodic)
    points = _point_charges(nonbonded, atoms)
    how = None
    if periodic:
        cutoff = nonbonded.getCutoffDistance().value_in_unit(unit.angstrom)
        how = EwaldSum(cutoff, accuracy or ACCURACY, own_images=not impl.getMLLongRange())
    forces = EmbeddedForces(potential, ml, Surroundings(points.charges, how), impl.skin)
    force = openmm.PythonForce(forces)
    force.setUsesPeriodicBoundaryConditions(periodic)
    force.setForceGroup(group)
    force.setName("tensornet_jax with electrostatic embedding")
    force.setParticles([*atoms, *points.particles])
    mixed = _without_ml_interactions(system, topology, atoms)
    if interpolate:
        _add_interpolated(mixed, system, topology, atoms, force)
    else:
        mixed.addForce(force)
    return mixed


def _check_options(args: dict[str, Any]) -> None:
    others = [name for name in ("linkAtomDistances", "mlLongRange") if args.get(name) is not None]
    if others:
        raise ValueError(
            f'{", ".join(others)}: for embedding="mechanical"; with electrostatic embedding there '
            "are neither link atoms nor a choice of images: leave it out"
        )


def _charges_of(system: System) -> Force:
    """Return the one NonbondedForce of a system, which no other force knows the charges of."""
    forces = system.getForces()
    unknown = sorted({type(force).__name__ for force in forces if not isinstance(force, KNOWN)})
    if unknown:
        raise ValueError(
            f"electrostatic embedding does not know what {', '.join(unknown)} would do with the "
            "charges of ML atoms: use a force field with point charges and without implicit "
            'solvent, or embedding="mechanical"'
        )
    found = [force for force in forces if isinstance(force, openmm.NonbondedForce)]
    if len(found) != 1:
        raise ValueError(
            f"electrostatic embedding needs one NonbondedForce with the charges of the force "
            f"field, and the system has {len(found)}"
        )
    (nonbonded,) = found
    method = nonbonded.getNonbondedMethod()
    if method != openmm.NonbondedForce.NoCutoff and method not in ALL_IMAGES:
        raise ValueError(
            "electrostatic embedding sums all pairs or all images, and the force field has a "
            "cutoff with a reaction field: create its system with nonbondedMethod=PME, or with "
            "NoCutoff"
        )
    return nonbonded


def _check_separate(topology: Topology, nonbonded: Force, atoms: list[int]) -> None:
    """Raise ValueError if a bond, or what a force field makes of bonds, leaves the ML part."""
    inside = set(atoms)
    crossing = list(utilities.findLinkBonds(topology, atoms))
    for index in range(nonbonded.getNumExceptions()):
        first, second, *_ = nonbonded.getExceptionParameters(index)
        if (first in inside) != (second in inside):
            crossing.append((first, second))
    if crossing:
        first, second = crossing[0]
        raise ValueError(
            f"atoms {first} and {second} are bonded, and one of them is an ML atom: electrostatic "
            "embedding is for whole molecules. Choose all atoms of a molecule, or "
            'embedding="mechanical", which caps bonds by link atoms'
        )
    for index in range(nonbonded.getNumParticleParameterOffsets()):
        parameter, particle, charge, *_ = nonbonded.getParticleParameterOffset(index)
        if particle in inside and charge != 0:
            raise ValueError(
                f"parameter {parameter} changes the charge of ML atom {particle}, which the "
                "potential predicts: remove its particle parameter offset"
            )


def _check_images(*, box: bool, images: bool) -> None:
    """Raise ValueError unless charges have images where the topology has a periodic box."""
    if box != images:
        raise ValueError(
            f"the topology has {'' if box else 'no '}periodic box, and the charges of the "
            f"force field have {'all images' if images else 'none'}: "
            + (
                "create its system with nonbondedMethod=PME"
                if box
                else "call topology.setPeriodicBoxVectors, or use nonbondedMethod=NoCutoff"
            )
        )


def _point_charges(nonbonded: Force, atoms: list[int]) -> PointCharges:
    inside, particles, charges = set(atoms), [], []
    for particle in range(nonbonded.getNumParticles()):
        charge = nonbonded.getParticleParameters(particle)[0].value_in_unit(unit.elementary_charge)
        if charge != 0 and particle not in inside:
            particles.append(particle)
            charges.append(charge)
    return PointCharges(particles, tuple(charges))


def _without_ml_interactions(system: System, topology: Topology, atoms: list[int]) -> System:
    """Return a copy whose ML atoms have no charges, and no interactions with one another."""
    mixed = utilities.removeBonds(system, topology, atoms, True)
    for force in mixed.getForces():
        if isinstance(force, openmm.NonbondedForce):
            for index in atoms:
                _, sigma, epsilon = force.getParticleParameters(index)
                force.setParticleParameters(index, 0, sigma, epsilon)
            for k, first in enumerate(atoms):
                for second in atoms[:k]:
                    force.addException(first, second, 0, 1, 0, True)
        elif isinstance(force, openmm.CustomNonbondedForce):
            utilities.addCustomNonbondedExclusions(force, atoms)
    return mixed


def _add_interpolated(
    mixed: System, system: System, topology: Topology, atoms: list[int], force: Force
) -> None:
    interpolation = utilities.InterpolationHelper()
    interpolation.addMLTerm(copy.deepcopy(force))
    interpolation.addMMBondedTerms(system, topology, atoms)
    interpolation.setupNonbonded(mixed, system)
    interpolation.setupInterpolation(mixed)
