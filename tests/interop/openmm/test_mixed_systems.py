"""Ethanol by a potential in TIP3P water by a force field, mechanically and electrostatically."""

import copy
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from tensornet_jax.models.physics.config import Coulomb, Ewald
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.results import Results
from tests.builders import small_potential, with_config
from tests.interop.openmm.systems import (
    KJ,
    Mixture,
    charged_potential,
    check_gradient,
    context_of,
    energy_of,
    ethanol,
    ethanol_in_water,
    forces_of,
    ml_potential,
    openmm_is_installed,
)

openmm: Any = import_module("openmm") if find_spec("openmm") is not None else None
pytestmark = openmm_is_installed
ML, MM = 1, 0  # force groups
ML_PARTICLES, MM_PARTICLES = [0, 2, 3, 6], [9, 10, 40]
ACCURATE: dict[str, Any] = {"ewaldAccuracy": 1e-7}


def mixed(mixture: Mixture, potential: Potential | None = None, **options: Any) -> Any:
    """Return the mixed System of ethanol in water, its potential in force group ML."""
    place = (mixture.topology, mixture.system, mixture.ml)
    return ml_potential(potential).createMixedSystem(*place, forceGroup=ML, **options)


def results_of(potential: Potential, mixture: Mixture, charge: float) -> Results:
    """Return what a potential predicts of ethanol by itself."""
    atoms = ethanol()
    atoms.positions = mixture.positions[mixture.ml] * 10
    atoms.info["charge"] = charge
    vectors = mixture.topology.getPeriodicBoxVectors()
    if vectors is not None:
        atoms.set_cell(np.array(vectors.value_in_unit(openmm.unit.angstrom)))
        atoms.pbc = True
    return potential.evaluate(atoms, ("energy", "charges"))[0]


def by_openmm(system: Any, mixture: Mixture, charges: np.ndarray, *, alone: bool = False) -> Any:
    """Return a context of a mixed system without its potential, and with charges of ML atoms.

    Args:
        system: mixed.
        mixture: what it is made of.
        charges: e.
        alone: whether all other charges are zero.
    """
    classical = copy.deepcopy(system)
    for index in reversed(range(classical.getNumForces())):
        force = classical.getForce(index)
        if isinstance(force, openmm.PythonForce):
            classical.removeForce(index)
        elif isinstance(force, openmm.NonbondedForce):
            force.setExceptionsUsePeriodicBoundaryConditions(
                mixture.topology.getPeriodicBoxVectors() is not None
            )
            for particle in range(force.getNumParticles()):
                charge, sigma, epsilon = force.getParticleParameters(particle)
                if particle in mixture.ml:
                    charge = charges[mixture.ml.index(particle)]
                elif alone:
                    charge, epsilon = 0, 0
                force.setParticleParameters(particle, charge, sigma, epsilon)
                if alone and particle in mixture.ml:
                    force.setParticleParameters(particle, charge, sigma, 0)
            for index in range(force.getNumExceptions() if alone else 0):
                first, second, *_ = force.getExceptionParameters(index)
                force.setExceptionParameters(index, first, second, 0, 1, 0)
    return context_of(classical, mixture.positions)


@pytest.mark.parametrize(("method", "charge"), [("NoCutoff", 0), ("PME", 0), ("PME", 1)], ids=str)
def test_predicted_charges_do_what_openmm_does_with_such_charges(method, charge):
    mixture, potential = ethanol_in_water(method), charged_potential()
    system = mixed(mixture, embedding="electrostatic", charge=charge, **ACCURATE)
    context = context_of(system, mixture.positions)
    alone = results_of(potential, mixture, charge)
    assert np.ptp(alone["charges"]) > 0.05
    reference = by_openmm(system, mixture, alone["charges"])
    # OpenMM's mesh is good for five digits, and its unit of energy differs in the ninth.
    tolerance = 1e-7 if method == "NoCutoff" else 5e-5
    expected = energy_of(reference) + alone["energy"] / KJ
    assert energy_of(context) == pytest.approx(expected, abs=tolerance, rel=0)
    on_water = forces_of(context) - forces_of(reference)
    np.testing.assert_allclose(on_water[len(mixture.ml) :], 0, atol=10 * tolerance)
    uncharged = by_openmm(system, mixture, np.zeros(len(mixture.ml)))
    assert abs(forces_of(context) - forces_of(uncharged))[len(mixture.ml) :].max() > 1


@pytest.mark.parametrize("method", ["NoCutoff", "PME"])
def test_forces_are_the_gradient_on_ml_and_on_mm_atoms(method):
    mixture = ethanol_in_water(method)
    system = mixed(mixture, embedding="electrostatic")
    context = context_of(system, mixture.positions)
    if method == "NoCutoff":
        check_gradient(context, mixture.positions, ML_PARTICLES + MM_PARTICLES)
    else:
        # OpenMM's own forces are less exact with PME, and steps take longer.
        check_gradient(context, mixture.positions, [2, 9], groups=1 << ML)
    # The charges are not those of another place: their derivatives are part of the forces.
    fixed = by_openmm(system, mixture, results_of(charged_potential(), mixture, 0)["charges"])
    explicit = forces_of(fixed) - forces_of(context, 1 << MM)
    implicit = forces_of(context, 1 << ML)[mixture.ml] - explicit[mixture.ml]
    without = forces_of(context_of(mixed(mixture), mixture.positions), 1 << ML)
    assert abs(implicit - without[mixture.ml]).max() > 0.1


@pytest.mark.slow
def test_a_potential_with_ewald_sums_has_the_images_of_its_charges_once():
    mixture = ethanol_in_water("PME")
    coulomb = Coulomb(charges="predicted", ewald=Ewald(background=True))
    potential = small_potential(num_layers=0, priors=(coulomb,))
    system = mixed(mixture, potential, embedding="electrostatic", charge=1, **ACCURATE)
    context = context_of(system, mixture.positions)
    alone = results_of(potential, mixture, 1)
    both = energy_of(by_openmm(system, mixture, alone["charges"]))
    images = energy_of(by_openmm(system, mixture, alone["charges"], alone=True))
    bonded = energy_of(by_openmm(system, mixture, np.zeros(9), alone=True))
    assert abs(images - bonded) > 10
    expected = both - (images - bonded) + alone["energy"] / KJ
    assert energy_of(context) == pytest.approx(expected, abs=1e-4, rel=0)
    check_gradient(context, mixture.positions, ML_PARTICLES + MM_PARTICLES, groups=1 << ML)


@pytest.mark.parametrize("embedding", ["mechanical", "electrostatic"])
def test_interpolation_goes_from_the_force_field_to_the_mixed_system(embedding):
    mixture = ethanol_in_water("NoCutoff")
    pure = context_of(mixture.system, mixture.positions)
    ends = (
        energy_of(pure),
        energy_of(context_of(mixed(mixture, embedding=embedding), mixture.positions)),
    )
    between = context_of(mixed(mixture, embedding=embedding, interpolate=True), mixture.positions)
    for part in (0, 0.3, 1):
        between.setParameter("lambda_interpolate", part)
        expected = (1 - part) * ends[0] + part * ends[1]
        # openmm-ml writes the exceptions with the constant of Coulomb's law in nine digits.
        assert energy_of(between) == pytest.approx(expected, abs=1e-4, rel=0)


def test_mechanical_embedding_leaves_the_ml_atoms_by_themselves():
    mixture = ethanol_in_water("PME")
    context = context_of(mixed(mixture), mixture.positions)
    check_gradient(context, mixture.positions, ML_PARTICLES, groups=1 << ML)
    np.testing.assert_array_equal(forces_of(context, 1 << ML)[9:], 0)
    alone = results_of(charged_potential(), mixture, 0)["energy"] / KJ
    assert energy_of(context, 1 << ML) == pytest.approx(alone, abs=1e-6, rel=0)


def test_energy_of_an_embedded_molecule_is_conserved():
    mixture = ethanol_in_water("NoCutoff")
    system = mixed(mixture, embedding="electrostatic")
    context = context_of(system, mixture.positions, "CPU")
    totals, potentials = [], []
    for _ in range(20):
        context.getIntegrator().step(2)
        state = context.getState(energy=True)
        potentials.append(state.getPotentialEnergy()._value)
        totals.append(potentials[-1] + state.getKineticEnergy()._value)
    assert np.ptp(potentials) > 10
    assert np.ptp(totals) < 0.05 * np.ptp(potentials)


def test_an_embedded_system_is_written_and_read_again():
    mixture = ethanol_in_water("NoCutoff")
    system = mixed(mixture, embedding="electrostatic", interpolate=True)
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    energies = [energy_of(context_of(each, mixture.positions)) for each in (system, again)]
    assert energies[0] == energies[1]


# --- what is refused ---------------------------------------------------------------------------


def test_potentials_without_charges_are_refused():
    potential = with_config(charged_potential(), heads=["energy"])
    with pytest.raises(ValueError, match="needs charges, and this tensornet predicts none"):
        mixed(ethanol_in_water("NoCutoff"), potential, embedding="electrostatic")


def test_bonds_that_leave_the_ml_part_are_refused():
    mixture = ethanol_in_water("NoCutoff")._replace(ml=[0, 1, 2, 3, 4, 5, 6, 7])
    with pytest.raises(ValueError, match="atoms 0 and 8 are bonded"):
        mixed(mixture, embedding="electrostatic")


def test_options_of_another_embedding_are_refused():
    with pytest.raises(ValueError, match='mlLongRange: for embedding="mechanical"'):
        mixed(ethanol_in_water("NoCutoff"), embedding="electrostatic", mlLongRange=True)


def test_reaction_fields_are_refused():
    mixture = ethanol_in_water("CutoffNonPeriodic")
    with pytest.raises(ValueError, match="nonbondedMethod=PME"):
        mixed(mixture, embedding="electrostatic")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda system: system.addForce(openmm.GBSAOBCForce()), "GBSAOBCForce would do"),
        (lambda system: system.addForce(openmm.NonbondedForce()), "the system has 2"),
        (lambda system: _add_offset(system), "parameter swell changes the charge of ML atom 2"),
    ],
)
def test_forces_that_would_see_charges_of_ml_atoms_are_refused(change, message):
    mixture = ethanol_in_water("NoCutoff")
    system = copy.deepcopy(mixture.system)
    change(system)
    with pytest.raises(ValueError, match=message):
        mixed(mixture._replace(system=system), embedding="electrostatic")


def _add_offset(system: Any) -> None:
    (nonbonded,) = (
        force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)
    )
    nonbonded.addGlobalParameter("swell", 0)
    nonbonded.addParticleParameterOffset("swell", 2, 0.1, 0, 0)


def test_a_box_without_images_of_the_charges_is_refused():
    mixture = ethanol_in_water("NoCutoff")
    topology = copy.deepcopy(mixture.topology)
    topology.setPeriodicBoxVectors(np.eye(3) * 2)
    with pytest.raises(ValueError, match="create its system with nonbondedMethod=PME"):
        mixed(mixture._replace(topology=topology), embedding="electrostatic")
