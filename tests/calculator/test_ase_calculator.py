"""The ASE calculator: derivatives, units, energies of atoms, and ASE's rules."""

import copy

import ase
import jax
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from tensornet_jax.calculator import Calculator, ase_calculator
from tensornet_jax.potential.model_file import save_model
from tensornet_jax.potential.potential import ElementTable
from tests.calculator.crystals import (
    CRYSTALS,
    CUTOFF,
    ELEMENTS,
    make_potential,
    num_edges,
    rattled,
)
from tests.models.physics.test_electronic_state import methylene, seeing

VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


@pytest.fixture(scope="module")
def evaluated(potential) -> dict[str, dict[str, np.ndarray]]:
    """What `Potential.evaluate` gives for the crystals, in one batch."""
    compute = ("energy", "energies", "forces", "stress")
    return dict(zip(CRYSTALS, potential.evaluate(list(CRYSTALS.values()), compute), strict=True))


def test_finite_difference_harness_is_right_for_emt():
    atoms = rattled(bulk("Cu") * (2, 1, 1))
    atoms.set_cell(atoms.cell.array + 0.1, scale_atoms=True)
    atoms.calc = EMT()
    np.testing.assert_allclose(
        atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), atol=1e-6
    )
    np.testing.assert_allclose(
        atoms.get_stress(), calculate_numerical_stress(atoms, 1e-5), atol=1e-6
    )


@pytest.mark.parametrize("name", CRYSTALS)
def test_forces_match_energy_differences(calc, name):
    atoms = CRYSTALS[name].copy()
    atoms.calc = calc
    forces = atoms.get_forces()
    assert abs(forces).max() > 0.01
    np.testing.assert_allclose(forces, calculate_numerical_forces(atoms, 1e-4), atol=1e-6)


@pytest.mark.parametrize("name", CRYSTALS)
def test_stress_matches_strain_derivative(calc, name):
    atoms = CRYSTALS[name].copy()
    atoms.calc = calc
    stress = atoms.get_stress()
    assert abs(stress).max() > 1e-3
    np.testing.assert_allclose(stress, calculate_numerical_stress(atoms, 1e-4), atol=1e-6)


def test_compressed_crystal_has_negative_trace_and_an_expanded_one_positive(calc, monkeypatch):
    """The last layer, in which the energy is linear, is solved for to give a crystal that binds."""
    output = calc.potential.variables["params"]["readouts_energy"]["output"]
    kernel = np.asarray(output["kernel"])
    monkeypatch.setitem(output, "kernel", kernel)

    def crystal(scale):
        atoms = CRYSTALS["skewed"].copy()
        atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
        return atoms

    def work(scale, weights):
        """dE/dε of an isotropic strain, eV."""
        output["kernel"] = np.asarray(weights).reshape(kernel.shape)
        calc.reset()
        atoms = crystal(scale)
        return calc.get_property("stress", atoms)[:3].sum() * atoms.get_volume()

    scales = (0.92, 1.08)
    responses = [[work(scale, unit) for unit in np.eye(kernel.size)] for scale in scales]
    weights = np.linalg.lstsq(np.array(responses), np.array([-1.0, 1.0]), rcond=None)[0]
    for scale, expected in zip(scales, (-1.0, 1.0), strict=True):
        np.testing.assert_allclose(work(scale, weights), expected, rtol=1e-8)
        energies = [calc.get_property("energy", crystal(scale * x)) for x in (0.9999, 1.0001)]
        np.testing.assert_allclose((energies[1] - energies[0]) / 2e-4, expected, rtol=1e-4)


def test_stress_is_in_voigt_order(calc, evaluated):
    atoms = CRYSTALS["skewed"].copy()
    full = evaluated["skewed"]["stress"]
    expected = [full[row, column] for row, column in VOIGT]
    assert len(np.unique(np.round(expected, 8))) == 6
    np.testing.assert_allclose(calc.get_property("stress", atoms), expected, atol=1e-12)
    atoms.calc = calc
    np.testing.assert_allclose(atoms.get_stress(voigt=False), full, atol=1e-12)


@pytest.mark.parametrize("name", CRYSTALS)
def test_calculator_equals_potential(calc, evaluated, name):
    """Another padding and a longer neighbor list change no number."""
    atoms = CRYSTALS[name].copy()
    atoms.calc = calc
    found = evaluated[name]
    np.testing.assert_allclose(atoms.get_potential_energy(), found["energy"], atol=1e-10)
    np.testing.assert_allclose(atoms.get_potential_energies(), found["energies"], atol=1e-10)
    np.testing.assert_allclose(atoms.get_forces(), found["forces"], atol=1e-10)


def test_atomic_energies_contain_the_isolated_atoms_and_sum_to_the_energy(calc):
    atoms = molecule("CH3CH2OH")
    atoms.calc = calc
    energy, energies = atoms.get_potential_energy(), atoms.get_potential_energies()
    assert energies.sum() == energy
    assert atoms.get_potential_energy(force_consistent=True) == energy
    assert energies.shape == (9,)
    isolated = [ELEMENTS.reference_energies[ELEMENTS.numbers.index(n)] for n in atoms.numbers]
    assert abs(energies - isolated).max() < 50
    assert abs(energies - isolated).max() > 1e-3


@pytest.mark.parametrize("symbol", ["H", "Si"])
def test_single_atom_feels_no_force_and_has_its_reference_energy(calc, monkeypatch, symbol):
    atoms = ase.Atoms(symbol, positions=[[1.0, 2.0, 3.0]])
    energy = calc.get_property("energy", atoms)
    np.testing.assert_array_equal(calc.get_property("forces", atoms), np.zeros((1, 3)))
    nothing = ElementTable(ELEMENTS.numbers, np.zeros(len(ELEMENTS.numbers)))
    monkeypatch.setattr(calc, "potential", calc.potential.replace(elements=nothing))
    calc.reset()
    calc._evaluator.neighborhood = None
    network = calc.get_property("energy", atoms)
    isolated = ELEMENTS.reference_energies[ELEMENTS.symbols.index(symbol)]
    np.testing.assert_allclose(energy, isolated + network, atol=1e-10)


def test_separated_atoms_have_the_energies_of_single_ones(calc):
    atoms = ase.Atoms("SiH", positions=[[0, 0, 0], [0, 0, CUTOFF + 0.01]])
    single = [calc.get_property("energy", ase.Atoms(symbol)) for symbol in ("Si", "H")]
    np.testing.assert_allclose(calc.get_property("energies", atoms), single, atol=1e-10)
    np.testing.assert_array_equal(calc.get_property("forces", atoms), np.zeros((2, 3)))


def test_no_atoms_have_no_energy(calc):
    empty = ase.Atoms()
    assert calc.get_property("energy", empty) == 0.0
    assert calc.get_property("forces", empty).shape == (0, 3)


def test_moving_everything_far_away_changes_nothing(calc):
    for atoms in (molecule("CH3CH2OH"), CRYSTALS["slab"].copy()):
        energy, forces = (calc.get_property(name, atoms) for name in ("energy", "forces"))
        atoms.translate([5000.0, -3000.0, 4000.0])
        np.testing.assert_allclose(calc.get_property("energy", atoms), energy, atol=1e-9)
        np.testing.assert_allclose(calc.get_property("forces", atoms), forces, atol=1e-9)


def test_lattice_shifts_of_single_atoms_change_nothing(calc):
    for name in ("skewed", "left_handed", "slab", "smaller_than_cutoff"):
        atoms = CRYSTALS[name].copy()
        before = {key: calc.get_property(key, atoms) for key in ("energy", "forces", "stress")}
        edges = num_edges(calc)
        shifts = np.random.default_rng(0).integers(-60, 61, (len(atoms), 3)) * atoms.pbc
        atoms.positions += shifts @ atoms.cell.array
        for key, value in before.items():
            np.testing.assert_allclose(calc.get_property(key, atoms), value, atol=1e-9)
        assert num_edges(calc) == edges


def test_unknown_element_is_refused_by_name_and_leaves_the_calculator_usable(calc):
    good, bad = molecule("CH3CH2OH"), ase.Atoms("HPt", positions=[[0, 0, 0], [0, 0, 1.5]])
    energy = calc.get_property("energy", good)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"element Pt .*\[H, C, O, Si\]"):
            calc.get_property("energy", bad)
    assert calc.results == {}
    assert calc.get_property("energy", good) == energy


def test_coincident_atoms_and_broken_positions_are_refused(calc):
    atoms = molecule("CH3CH2OH")
    atoms.positions[3] = atoms.positions[1]
    with pytest.raises(ValueError, match="atoms 1 and 3"):
        calc.get_property("energy", atoms)
    calc.get_property("energy", molecule("CH3CH2OH"))
    atoms.positions[3] = np.nan
    for _ in range(2):
        with pytest.raises(ValueError, match="position of atom 3 is not finite"):
            calc.get_property("forces", atoms)


def test_stress_without_volume_is_not_implemented(calc):
    atoms = molecule("CH3CH2OH")
    atoms.calc = calc
    with pytest.raises(PropertyNotImplementedError, match="needs a cell with a volume"):
        atoms.get_stress()
    atoms.get_forces()
    assert "stress" not in calc.results


def test_properties_the_model_lacks_are_not_implemented(calc):
    assert calc.implemented_properties == ["energy", "free_energy", "energies", "forces", "stress"]
    for name in ("dipole", "magmom"):
        with pytest.raises(PropertyNotImplementedError):
            calc.get_property(name, molecule("CH3CH2OH"))


def test_results_cannot_be_corrupted_by_callers(calc):
    atoms = CRYSTALS["bulk"].copy()
    atoms.calc = calc
    forces = atoms.get_forces()
    kept = forces.copy()
    forces += 1.0
    np.testing.assert_array_equal(atoms.get_forces(), kept)
    for name in ("forces", "energies", "stress"):
        with pytest.raises(ValueError, match="read-only"):
            calc.results[name][0] = 0.0


def test_copied_atoms_and_calculators_agree_and_share_what_is_compiled(calc):
    atoms = CRYSTALS["skewed"].copy()
    atoms.calc = calc
    energy = atoms.get_potential_energy()
    duplicate = atoms.copy()
    assert duplicate.calc is None
    deep = copy.deepcopy(atoms)
    assert deep.calc is not None
    assert deep.calc is not calc
    assert deep.calc.get_property("energy", deep) == energy
    assert deep.calc.results["energy"] == energy
    compiled = calc.num_compiles
    deep.positions[0] += 0.3
    assert deep.get_potential_energy() != energy
    assert deep.calc.num_compiles == compiled
    assert deep.calc.potential is calc.potential
    assert atoms.get_potential_energy() == energy


def test_the_structure_is_not_changed(calc):
    atoms = CRYSTALS["unwrapped"].copy()
    atoms.info["charge"] = 1
    kept, info = atoms.copy(), dict(atoms.info)
    for name in ("energy", "forces", "stress"):
        calc.get_property(name, atoms)
    assert atoms == kept
    assert set(atoms.arrays) == set(kept.arrays)
    np.testing.assert_array_equal(atoms.positions, kept.positions)
    assert atoms.info == info
    assert atoms.calc is None


def test_one_calculator_serves_several_structures_in_turn(calc):
    first, second = CRYSTALS["bulk"].copy(), molecule("CH3CH2OH")
    first.calc = second.calc = calc
    energies = first.get_potential_energy(), second.get_potential_energy()
    assert (first.get_potential_energy(), second.get_potential_energy()) == energies


def test_model_file_and_precision_are_chosen_on_creation(tmp_path, potential):
    path = tmp_path / "model.safetensors"
    save_model(path, potential)
    for model in (path, str(path)):
        calc = Calculator(model)
        assert calc.potential.dtype == "float64"
        assert calc.skin == 0.5
        assert calc.results == {}
    assert Calculator(path, "float32").potential.dtype == "float32"


def test_single_precision_is_as_good_far_from_the_origin(calc):
    atoms = molecule("CH3CH2OH")
    exact = {name: calc.get_property(name, atoms) for name in ("energy", "forces")}
    atoms.calc = Calculator(calc.potential, dtype="float32")
    # The second move keeps the neighbor list: no distance changes.
    for shift in (0.0, 5000.0):
        atoms.translate(shift)
        np.testing.assert_allclose(atoms.get_forces(), exact["forces"], atol=1e-5)
        np.testing.assert_allclose(atoms.get_potential_energy(), exact["energy"], atol=1e-5)
    assert atoms.calc.num_rebuilds == 1
    assert not jax.config.values["jax_enable_x64"]


def test_dipole_of_a_molecule_but_not_of_a_crystal():
    calc = Calculator(make_potential(num_layers=0, heads=("energy", "dipole")))
    atoms = molecule("CH3CH2OH")
    atoms.calc = calc
    dipole = atoms.get_dipole_moment()
    assert dipole.shape == (3,)
    assert np.linalg.norm(dipole) > 1e-6
    atoms.translate(10.0)
    np.testing.assert_allclose(atoms.get_dipole_moment(), dipole, atol=1e-10)
    atoms.set_cell(np.eye(3) * 20)
    atoms.pbc = True
    with pytest.raises(PropertyNotImplementedError, match="dipole has no meaning in a periodic"):
        atoms.get_dipole_moment()


def test_scripts_pickles_and_files_find_the_calculator_under_its_former_name(potential):
    assert ase_calculator.TensorNetCalculator is Calculator
    assert Calculator(potential).name == "tensornetcalculator"


def test_bad_arguments_are_refused(potential):
    for skin in (-0.1, np.nan):
        with pytest.raises(ValueError, match="skin must be"):
            Calculator(potential, skin=skin)
    with pytest.raises(ValueError, match="float16"):
        Calculator(potential, dtype="float16")


def test_charge_and_spin_come_from_the_structure_or_the_calculator():
    potential = seeing("tensornet")
    told = Calculator(potential)
    atoms = methylene(0, 1)
    atoms.calc = told
    energies = [atoms.get_potential_energy()]
    atoms.info.update(charge=1, spin=2)
    energies.append(atoms.get_potential_energy())
    assert abs(energies[1] - energies[0]) > 1e-3
    atoms.info["spin"] = 4
    assert told.calculation_required(atoms, ["energy"])
    bare = methylene()
    bare.info.clear()
    given = Calculator(potential, charge=1, spin=2)
    for calculator in (given, copy.deepcopy(given)):
        bare.calc = calculator
        assert bare.get_potential_energy() == energies[1]
        assert not calculator.calculation_required(bare, ["energy"])
    assert bare.info == {}
    bare.info["charge"] = 0
    with pytest.raises(ValueError, match="keep one"):
        bare.get_potential_energy()


def test_states_that_cannot_be_or_be_seen_are_refused(calc):
    told = Calculator(seeing("tensornet"), charge=1, spin=3)
    bare = methylene()
    bare.info.clear()
    with pytest.raises(ValueError, match="cannot have the multiplicity 3"):
        told.get_potential_energy(bare)
    with pytest.raises(ValueError, match="depends on the spin"):
        Calculator(calc.potential, spin=1)
