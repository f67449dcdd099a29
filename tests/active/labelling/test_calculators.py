"""Labels of a calculator, one structure after the other."""

import ase.build
import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from tensornet_jax.active.labelling import calculators
from tensornet_jax.active.labelling.calculators import DONE, label_with_calculator
from tensornet_jax.active.labelling.config import CalculatorLabels
from tests.active.small import water
from tests.labelling import labelled

SETTINGS = CalculatorLabels(calculator="ase.calculators.emt.EMT")


def structures(count: int = 3):
    return [each.without_labels() for each in labelled(water(count, seed=1))]


def test_labels_are_those_of_the_calculator(tmp_path):
    asked = structures()
    fixed = asked[1].atoms
    fixed.set_constraint(FixAtoms([0]))
    found = label_with_calculator(SETTINGS, asked, tmp_path, print)
    assert list(found.labelled) == [0, 1, 2]
    assert not found.failed
    for index, each in found.labelled.items():
        atoms = asked[index].atoms.copy()
        atoms.constraints = []
        atoms.calc = EMT()
        assert abs(each.energy - atoms.get_potential_energy()) < 1e-7
        np.testing.assert_allclose(each.labels.of("forces"), atoms.get_forces(), atol=1e-7)
        np.testing.assert_array_equal(each.atoms.positions, atoms.positions)


def test_stress_is_labelled_where_it_is_wanted(tmp_path):
    crystal = ase.build.bulk("Cu", cubic=True) * (2, 1, 1)
    crystal.rattle(0.05, seed=1)
    settings = SETTINGS.model_copy(update={"stress": True})
    found = label_with_calculator(settings, labelled([crystal]), tmp_path, print)
    crystal.calc = EMT()
    expected = crystal.get_stress(voigt=False)
    np.testing.assert_allclose(found.labelled[0].labels.of("stress"), expected, atol=1e-7)


def test_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    asked = structures()
    first = label_with_calculator(SETTINGS, asked[:2], tmp_path, print)
    # As a kill leaves it, in the middle of the third.
    with (tmp_path / DONE).open("ab") as file:
        file.write(b"3\nProperties=species:S:1")
    done = []
    true = calculators._labels

    def counted(calculator, structure, stress):
        done.append(structure.source)
        return true(calculator, structure, stress)

    monkeypatch.setattr(calculators, "_labels", counted)
    found = label_with_calculator(SETTINGS, asked, tmp_path, print)
    assert done == [asked[2].source]
    assert list(found.labelled) == [0, 1, 2]
    assert found.labelled[1].energy == first.labelled[1].energy


def test_a_failure_is_told_and_costs_no_other(tmp_path):
    asked = structures()
    (strange,) = labelled([ase.build.bulk("Si")], "strange.xyz")
    told: list[str] = []
    found = label_with_calculator(SETTINGS, [asked[0], strange, asked[1]], tmp_path, told.append)
    assert list(found.labelled) == [0, 2]
    assert list(found.failed) == [1]
    assert "Si" in found.failed[1]
    assert told[0].startswith("strange.xyz:0: not labelled: ")


def test_no_label_at_all_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="could not label any structure: NotImplementedError"):
        label_with_calculator(SETTINGS, labelled([ase.build.bulk("Si")]), tmp_path, print)


def test_wrong_settings_name_the_calculator(tmp_path):
    settings = CalculatorLabels(
        calculator="tensornet_jax.Calculator", settings={"model": "absent.safetensors"}
    )
    with pytest.raises(ValueError, match=r"tensornet_jax\.Calculator: .*check label\.settings"):
        label_with_calculator(settings, structures(1), tmp_path, print)
