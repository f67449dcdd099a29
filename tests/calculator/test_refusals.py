"""A structure that is refused leaves a calculator that is as good as new."""

import ase
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.mixing import LinearCombinationCalculator, SumCalculator

from tensornet_jax.calculator import Calculator
from tests.calculator.crystals import CRYSTALS, make_potential
from tests.models.physics.test_electronic_state import methylene, seeing


@pytest.fixture(scope="module")
def calc() -> Calculator:
    return Calculator(make_potential(num_layers=0))


def ethanol() -> ase.Atoms:
    return molecule("CH3CH2OH")


def spoiled(**changes) -> ase.Atoms:
    atoms = ethanol()
    atoms.info.update(changes.get("info", {}))
    for index, number in changes.get("numbers", {}).items():
        atoms.numbers[index] = number
    for index, value in changes.get("positions", {}).items():
        atoms.positions[index] = value
    return atoms


BAD = {
    "charge None": (spoiled(info={"charge": None}), r'atoms.info\["charge"\] must be one finite'),
    "charge text": (spoiled(info={"charge": "abc"}), "must be one finite number"),
    "charge list": (spoiled(info={"charge": [0]}), "must be one finite number"),
    "charge nan": (spoiled(info={"charge": np.nan}), "must be one finite number"),
    "charge bool": (spoiled(info={"charge": True}), "must be one finite number"),
    "alias": (spoiled(info={"total_charge": "2-"}), r'atoms.info\["total_charge"\] must be one'),
    "two charges": (spoiled(info={"charge": 0, "total_charge": 1}), "charge and total_charge"),
    "element": (spoiled(numbers={0: 92}), "element U"),
    "coincident": (spoiled(positions={1: ethanol().positions[0]}), "atoms 0 and 1"),
    "not finite": (spoiled(positions={2: np.inf}), "position of atom 2 is not finite"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_refusal_concerns_its_structure_alone(calc, name):
    bad, message = BAD[name]
    reference = calc.get_property("energy", ethanol())
    for before in (ethanol(), molecule("H2O")):
        calc.get_property("energy", before)
        for _ in range(2):
            with pytest.raises(ValueError, match=message):
                calc.get_property("energy", bad)
            assert calc.results == {}
        with pytest.raises(ValueError, match=message):
            calc.calculate(bad)
        assert calc.calculation_required(bad, ["energy"])
        assert calc.get_property("energy", ethanol()) == reference


def test_a_broken_cell_is_refused_alone(calc):
    atoms = CRYSTALS["bulk"].copy()
    reference = calc.get_property("energy", atoms)
    broken = atoms.copy()
    broken.cell.array[0, 0] = np.nan
    with pytest.raises(ValueError, match="cell"):
        calc.get_property("energy", broken)
    np.testing.assert_allclose(calc.get_property("energy", atoms), reference, atol=1e-10)


def test_a_spin_that_cannot_be_is_refused_alone():
    calc = Calculator(seeing("tensornet"))
    good = methylene(0, 1)
    reference = calc.get_property("energy", good)
    for spin in (2, "singlet", None):
        bad = methylene(0, 1)
        bad.info["spin"] = spin
        with pytest.raises(ValueError, match="multiplicity"):
            calc.get_property("energy", bad)
        assert calc.get_property("energy", good) == reference


def test_state_is_read_under_all_its_names():
    potential = seeing("tensornet")
    calc = Calculator(potential)
    (expected,) = potential.evaluate(methylene(1, 2))
    for charge in ("charge", "total_charge"):
        for spin in ("spin", "spin_multiplicity", "multiplicity"):
            atoms = methylene(0, 1)
            atoms.info = {charge: 1, spin: 2}
            assert calc.get_property("energy", atoms) == pytest.approx(expected["energy"], abs=1e-9)
            (found,) = potential.evaluate(atoms)
            assert found["energy"] == pytest.approx(expected["energy"], abs=1e-9)
    atoms.info[spin] = 4
    assert calc.check_state(atoms) == ["spin"]


# --- what scripts written for other calculators expect ---------------------------------------


def test_one_call_gives_all_properties(calc):
    everything = ["energies", "energy", "forces", "free_energy", "stress"]
    calc.calculate(CRYSTALS["slab"].copy())
    assert sorted(calc.results) == everything
    assert type(calc.results["energy"]) is float
    assert calc.results["free_energy"] == calc.results["energy"]
    assert calc.results["stress"].shape == (6,)
    atoms = ethanol()
    atoms.calc = calc
    atoms.get_potential_energy()
    assert sorted(calc.results) == everything[:4]


def test_sums_of_calculators_work(calc):
    atoms = CRYSTALS["skewed"].copy()
    single = {name: calc.get_property(name, atoms) for name in ("energy", "forces", "stress")}
    other = Calculator(calc.potential)
    for mixed, factor in (
        (SumCalculator([calc, other]), 2.0),
        (LinearCombinationCalculator([calc, other], [0.25, 0.5]), 0.75),
    ):
        atoms.calc = mixed
        np.testing.assert_allclose(atoms.get_potential_energy(), factor * single["energy"])
        np.testing.assert_allclose(atoms.get_forces(), factor * single["forces"], atol=1e-12)
        np.testing.assert_allclose(atoms.get_stress(), factor * single["stress"], atol=1e-12)


@pytest.mark.parametrize("name", ["molecule", "crystal"])
def test_hessian_is_the_derivative_of_the_forces(calc, name):
    atoms = molecule("H2O") if name == "molecule" else CRYSTALS["smaller_than_cutoff"].copy()
    atoms.rattle(0.05, seed=2)
    hessian = calc.get_hessian(atoms)
    size = 3 * len(atoms)
    assert hessian.shape == (size, size)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-8)
    step = 1e-4
    for row in range(size):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions.reshape(-1)[row] += sign * step
            forces.append(calc.get_property("forces", moved).ravel())
        np.testing.assert_allclose(hessian[row], (forces[1] - forces[0]) / (2 * step), atol=1e-5)


def test_hessian_needs_a_structure(calc):
    with pytest.raises(ValueError, match="pass atoms"):
        Calculator(calc.potential).get_hessian()
