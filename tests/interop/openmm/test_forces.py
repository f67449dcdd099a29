"""A potential of a whole System in OpenMM against the ASE calculator."""

from importlib import import_module

import ase
import ase.build
import numpy as np
import pytest

from tensornet_jax.calculator import Calculator
from tensornet_jax.potential.model_file import save_model
from tensornet_jax.potential.potential import Potential
from tests.builders import triclinic_crystal, with_config
from tests.interop.openmm.systems import (
    FORCE,
    KJ,
    charged_potential,
    context_of,
    energy_of,
    ethanol,
    forces_of,
    ml_potential,
    openmm_is_installed,
    topology_of,
)
from tests.seams.variants import HEAD, VARIANTS, structure
from tests.seams.variants import potential as kind_of_potential
from tests.test_packaging import PROJECT

pytestmark = openmm_is_installed


@pytest.fixture(scope="module")
def systems():
    """Return the System of each structure, made once."""
    ml = ml_potential()
    return {make: ml.createSystem(topology_of(make())) for make in (ethanol, triclinic_crystal)}


def computed_by_ase(atoms: ase.Atoms) -> ase.Atoms:
    atoms = atoms.copy()
    atoms.calc = Calculator(charged_potential())
    return atoms


@pytest.mark.parametrize("make", [ethanol, triclinic_crystal])
@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_energy_and_forces_are_those_of_the_calculator(systems, make, platform):
    atoms = computed_by_ase(make())
    context = context_of(systems[make], atoms.positions / 10, platform)
    # Of the CPU platform forces are kept in single precision.
    tolerance = 1e-6 if platform == "Reference" else 1e-3
    assert energy_of(context) == pytest.approx(atoms.get_potential_energy() / KJ, abs=1e-6, rel=0)
    expected = atoms.get_forces() / FORCE
    np.testing.assert_allclose(forces_of(context), expected, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [kind for kind in VARIANTS if kind != "tensors alone"])
def test_every_kind_of_potential_has_its_energy_and_forces(variant):
    potential = kind_of_potential(variant)
    atoms = structure(potential, "crystal")
    options = {}
    if potential.config.needs_charges:
        options["charges"] = atoms.get_initial_charges()
    if potential.config.needs_spin:
        options["spin"] = atoms.info["spin"]
    head = {"head": HEAD} if potential.config.num_levels > 1 else {}
    system = ml_potential(potential, **head).createSystem(topology_of(atoms), **options)
    context = context_of(system, atoms.positions / 10)
    expected = potential.evaluate(atoms, ("energy", "forces"))[0]
    assert energy_of(context) == pytest.approx(expected["energy"] / KJ, abs=1e-5, rel=0)
    np.testing.assert_allclose(forces_of(context), expected["forces"] / FORCE, atol=1e-5)


def test_the_way_by_ase_of_openmm_ml_gives_the_same(systems):
    from openmmml import MLPotential

    atoms = triclinic_crystal()
    other = MLPotential("ase").createSystem(
        topology_of(atoms), calculator=Calculator(charged_potential())
    )
    contexts = [
        context_of(system, atoms.positions / 10) for system in (systems[triclinic_crystal], other)
    ]
    assert energy_of(contexts[0]) == pytest.approx(energy_of(contexts[1]), abs=1e-6, rel=0)
    np.testing.assert_allclose(forces_of(contexts[0]), forces_of(contexts[1]), rtol=0, atol=1e-6)


def test_energy_follows_the_box_as_the_stress_says(systems):
    atoms = computed_by_ase(triclinic_crystal())
    context = context_of(systems[triclinic_crystal], atoms.positions / 10)
    energies, step = [], 1e-5
    for factor in (1 + step, 1 - step):
        context.setPeriodicBoxVectors(*(atoms.cell.array * factor / 10))
        context.setPositions(atoms.positions * factor / 10)
        energies.append(energy_of(context) * KJ)
    slope = (energies[0] - energies[1]) / (2 * step)
    stress = atoms.get_stress(voigt=False)
    assert slope == pytest.approx(np.trace(stress) * atoms.get_volume(), rel=1e-6)


def test_a_barostat_changes_the_box_and_finds_the_energy_there():
    import openmm

    atoms = triclinic_crystal()
    system = ml_potential().createSystem(topology_of(atoms))
    system.addForce(openmm.MonteCarloAnisotropicBarostat([1e4] * 3, 300, True, True, True, 1))
    context = context_of(system, atoms.positions / 10)
    context.setVelocitiesToTemperature(300, 1)
    context.getIntegrator().step(20)
    state = context.getState(energy=True, positions=True)
    box = state.getPeriodicBoxVectors(asNumpy=True)._value * 10
    assert abs(box - atoms.cell.array).max() > 1e-3
    now = atoms.copy()
    now.set_cell(box)
    now.positions = state.getPositions(asNumpy=True)._value * 10
    expected = computed_by_ase(now).get_potential_energy() / KJ
    assert state.getPotentialEnergy()._value == pytest.approx(expected, abs=1e-6, rel=0)


def test_energy_is_conserved_by_one_compiled_program():
    import openmm

    from tensornet_jax.interop.openmm.forces import MLAtoms, PotentialForces

    atoms = ethanol()
    forces = PotentialForces(charged_potential(), MLAtoms(tuple(atoms.numbers), False), 0.3)
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    system.addForce(openmm.PythonForce(forces))
    context = context_of(system, atoms.positions / 10)
    context.setVelocitiesToTemperature(600, 1)
    totals, potentials = [], []
    for _ in range(20):
        context.getIntegrator().step(10)
        state = context.getState(energy=True)
        potentials.append(state.getPotentialEnergy()._value)
        totals.append(potentials[-1] + state.getKineticEnergy()._value)
    assert np.ptp(potentials) > 2
    assert np.ptp(totals) < 0.05 * np.ptp(potentials)
    assert abs(np.mean(totals[10:]) - np.mean(totals[:10])) < 0.02 * np.ptp(potentials)
    assert forces._evaluator.num_rebuilds > 1
    assert forces._evaluator.num_compiles <= 1


def test_a_system_is_written_with_its_model_and_read_again(systems):
    from openmm import XmlSerializer

    atoms = triclinic_crystal()
    written = XmlSerializer.serialize(systems[triclinic_crystal])
    contexts = [
        context_of(system, atoms.positions / 10)
        for system in (systems[triclinic_crystal], XmlSerializer.deserialize(written))
    ]
    assert energy_of(contexts[0]) == energy_of(contexts[1])
    np.testing.assert_array_equal(forces_of(contexts[0]), forces_of(contexts[1]))


def test_a_model_file_is_computed_in_the_precision_that_is_asked_for(tmp_path):
    from openmmml import MLPotential

    path, atoms = tmp_path / "model.safetensors", ethanol()
    save_model(path, charged_potential())
    ml_potential()
    system = MLPotential("tensornet_jax", modelPath=path, dtype="float32").createSystem(
        topology_of(atoms)
    )
    context = context_of(system, atoms.positions / 10)
    expected = computed_by_ase(atoms).get_forces() / FORCE
    error = abs(forces_of(context) - expected).max()
    assert 0 < error < 1e-4 * abs(expected).max()


def structure_of(potential: Potential, **options) -> ase.Atoms:
    """Return the structure that a potential gets for ethanol without box."""
    import openmm

    from tensornet_jax.interop.openmm import TensorNetImpl
    from tensornet_jax.interop.openmm.forces import PotentialForces

    impl = TensorNetImpl(potential, skin=0.5)
    ml = impl.ml_atoms(topology_of(ethanol()), openmm.System(), None, options)
    return PotentialForces(potential, ml, 0.5)._template


def test_charge_and_spin_reach_the_potential():
    potential = with_config(charged_potential(), electronic_state=("charge", "spin"))
    assert structure_of(potential, charge=1, spin=2).info == {"charge": 1, "spin": 2}
    with pytest.raises(ValueError, match="depends on the spin: give createSystem"):
        structure_of(potential)


def test_fixed_charges_reach_the_potential():
    potential = with_config(charged_potential(), priors=[{"name": "coulomb"}])
    charges = np.linspace(-0.4, 0.4, 9)
    np.testing.assert_array_equal(
        structure_of(potential, charges=charges).get_initial_charges(), charges
    )
    with pytest.raises(ValueError, match=r"give createSystem or createMixedSystem charges="):
        structure_of(potential)
    with pytest.raises(ValueError, match="has 2 numbers for 9 ML atoms"):
        structure_of(potential, charges=[0.1, -0.1])


@pytest.mark.parametrize(
    ("symbols", "options", "message"),
    [
        ("PtH", {}, r"element Pt \(ML atoms\) is not in the model"),
        ("CO", {"multiplicity": 3}, "multiplicity: no argument of this potential"),
        ("CO", {"spin": 3}, "nothing this model"),
        ("CO", {"charges": [0.1, -0.1]}, "which this one has not: leave them out"),
    ],
)
def test_what_the_potential_cannot_do_is_refused_by_name(symbols, options, message):
    with pytest.raises(ValueError, match=message):
        ml_potential().createSystem(topology_of(ase.Atoms(symbols)), **options)


def test_models_that_give_no_forces_are_refused():
    from openmmml import MLPotential

    ml_potential()
    with pytest.raises(ValueError, match=r'modelPath="model.safetensors"'):
        MLPotential("tensornet_jax")
    with pytest.raises(
        ValueError, match="charge: MLPotential takes modelPath, dtype, skin and head"
    ):
        ml_potential(charge=1)
    tensors = with_config(charged_potential(), heads=[], tensors=["polarizability"])
    with pytest.raises(ValueError, match="predicts no energy"):
        ml_potential(tensors).createSystem(topology_of(ethanol()))


def test_extra_particles_cannot_be_ml_atoms():
    topology = topology_of(ethanol())
    topology.addAtom("EP", None, next(topology.residues()))
    with pytest.raises(ValueError, match="atoms 9 of the topology have no element"):
        ml_potential().createSystem(topology)


def test_atoms_that_coincide_end_the_step_with_a_message(systems):
    import openmm

    context = context_of(systems[ethanol], np.zeros((9, 3)))
    with pytest.raises(openmm.OpenMMException, match="apart"):
        energy_of(context)


def test_openmm_ml_finds_the_factory_by_its_entry_point():
    from tensornet_jax.interop.openmm import TensorNetFactory

    ((name, place),) = PROJECT["project"]["entry-points"]["openmmml.potentials"].items()
    module, _, factory = place.partition(":")
    assert name == "tensornet_jax"
    assert getattr(import_module(module), factory) is TensorNetFactory
