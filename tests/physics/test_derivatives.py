"""Forces and stress are derivatives of the energy."""

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from tensornet_jax.potential.potential import Potential
from tensornet_jax.testing import numerical_forces, numerical_stresses
from tests import tolerances
from tests.physics.structures import cation, crystals, everything

pytestmark = pytest.mark.usefixtures("one_shape")

COMPUTE = ("energy", "forces", "stress")


@pytest.fixture(scope="module")
def evaluated(o3_potential) -> dict[str, dict]:
    found = o3_potential.evaluate(list(everything().values()), COMPUTE)
    return dict(zip(everything(), found, strict=True))


def energies_of(potential: Potential):
    # The same properties as everywhere else in this folder: another set would compile again.
    return lambda structures: [r["energy"] for r in potential.evaluate(structures, COMPUTE)]


def test_difference_quotients_are_right_for_emt():
    alloy = bulk("Cu") * (2, 1, 1)
    alloy.set_cell(alloy.cell.array @ [[1, 0.1, 0], [0, 1.05, 0], [0, -0.05, 1]], True)
    alloy.numbers[0] = 79
    alloy.rattle(0.1)
    left_handed = alloy.copy()
    left_handed.set_cell(alloy.cell.array[[1, 0, 2]])
    structures = [alloy, left_handed]

    def energies(displaced):
        for atoms in displaced:
            atoms.calc = EMT()
        return [atoms.get_potential_energy() for atoms in displaced]

    forces = numerical_forces(structures, energies)
    stresses = numerical_stresses(structures, energies)
    for atoms, force, stress in zip(structures, forces, stresses, strict=True):
        atoms.calc = EMT()
        analytic = atoms.get_stress(voigt=False)
        assert abs(force).max() > 0.1
        np.testing.assert_allclose(
            force, atoms.get_forces(), atol=tolerances.FINITE_DIFFERENCE_FORCES
        )
        np.testing.assert_allclose(stress, analytic, atol=tolerances.FINITE_DIFFERENCE_STRESS)


def test_forces_on_every_atom_are_energy_differences(o3_potential, evaluated):
    structures = everything()
    found = numerical_forces(list(structures.values()), energies_of(o3_potential))
    for name, numerical in zip(structures, found, strict=True):
        assert abs(numerical).max() > 0.1
        np.testing.assert_allclose(
            evaluated[name]["forces"],
            numerical,
            rtol=0,
            atol=tolerances.FINITE_DIFFERENCE_FORCES,
            err_msg=name,
        )


def test_stress_is_the_strain_derivative_over_the_volume(o3_potential, evaluated):
    structures = everything()
    found = numerical_stresses(list(structures.values()), energies_of(o3_potential))
    for name, numerical in zip(structures, found, strict=True):
        assert abs(numerical).max() > 100 * tolerances.FINITE_DIFFERENCE_STRESS
        np.testing.assert_allclose(
            evaluated[name]["stress"],
            numerical,
            rtol=0,
            atol=tolerances.FINITE_DIFFERENCE_STRESS,
            err_msg=name,
        )


def test_so3_forces_and_stress_are_energy_differences(so3_potential):
    structures = [cation(), crystals()["smaller than the cutoff"]]
    energies = energies_of(so3_potential)
    forces = numerical_forces(structures, energies)
    stresses = numerical_stresses(structures, energies)
    results = so3_potential.evaluate(structures, COMPUTE)
    for result, force, stress in zip(results, forces, stresses, strict=True):
        np.testing.assert_allclose(
            result["forces"], force, rtol=0, atol=tolerances.FINITE_DIFFERENCE_FORCES
        )
        np.testing.assert_allclose(
            result["stress"], stress, rtol=0, atol=tolerances.FINITE_DIFFERENCE_STRESS
        )


def test_trace_of_the_stress_is_the_energys_slope_along_the_volume(o3_potential, evaluated):
    """With dE/dV < 0, where the crystal pushes outwards, the trace is negative: ASE's sign."""
    relative = 1e-4
    for name, atoms in crystals().items():
        scaled = [
            ase.Atoms(
                atoms.numbers,
                scaled_positions=atoms.get_scaled_positions(wrap=False),
                cell=atoms.cell.array * (1 + sign * relative) ** (1 / 3),
                pbc=atoms.pbc,
            )
            for sign in (1, -1)
        ]
        expanded, compressed = energies_of(o3_potential)(scaled)
        slope = (expanded - compressed) / (2 * relative * abs(np.linalg.det(atoms.cell.array)))
        pressure = -np.trace(evaluated[name]["stress"]) / 3
        assert pressure == pytest.approx(-slope, abs=tolerances.FINITE_DIFFERENCE_STRESS), name


def test_stress_does_not_depend_on_the_order_of_the_lattice_vectors(o3_potential, evaluated):
    left_handed = crystals()["left-handed"]
    right_handed = left_handed.copy()
    right_handed.set_cell(left_handed.cell.array[[1, 0, 2]])
    assert np.linalg.det(left_handed.cell.array) < 0 < np.linalg.det(right_handed.cell.array)
    (found,) = o3_potential.evaluate(right_handed, COMPUTE)
    expected = evaluated["left-handed"]["stress"]
    np.testing.assert_allclose(found["stress"], expected, atol=tolerances.SAME_SUM)


def test_stress_is_symmetric_and_forces_sum_to_zero(evaluated):
    for result in evaluated.values():
        scale = abs(result["forces"]).max()
        np.testing.assert_allclose(
            result["forces"].sum(axis=0), 0, atol=scale * tolerances.SAME_SUM
        )
        np.testing.assert_array_equal(result["stress"], result["stress"].T)


def test_forces_exert_no_torque_on_a_molecule(evaluated):
    forces = evaluated["charged molecule"]["forces"]
    torque = np.cross(cation().positions, forces).sum(axis=0)
    np.testing.assert_allclose(torque, 0, atol=abs(forces).max() * tolerances.MODEL_EQUIVARIANCE)
