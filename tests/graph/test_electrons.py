"""What a structure says of its electrons is taken at its word where it can be true, or refused."""

import ase
import numpy as np
import pytest
from ase.build import bulk, molecule

from tensornet_jax.graph.atom_graph import Capacity, batch_structures
from tensornet_jax.graph.electrons import spin_multiplicity, total_charge, with_state
from tensornet_jax.graph.structure import make_structure


def in_state(name: str, **info: object) -> ase.Atoms:
    atoms = molecule(name)
    atoms.info.update(info)
    return atoms


@pytest.mark.parametrize(
    ("name", "charge", "spin"),
    [
        ("CH2_s1A1d", 0, 1),
        ("CH2_s3B1d", 0, 3),
        ("O2", 0, 3),
        ("NO", 0, 2),
        ("NO", 1, 1),
        ("H", 1, 1),
    ],
)
def test_states_of_known_molecules_are_possible(name, charge, spin):
    assert spin_multiplicity(in_state(name, charge=charge, spin=spin)) == spin


@pytest.mark.parametrize(
    ("name", "charge", "spin"),
    [("CH2_s1A1d", 0, 2), ("NO", 0, 1), ("NO", 0, 3), ("O2", -1, 1), ("H", 0, 3), ("H", 2, 2)],
)
def test_too_few_or_too_odd_electrons_are_named(name, charge, spin):
    with pytest.raises(ValueError, match=f"electrons, which cannot have the multiplicity {spin}"):
        spin_multiplicity(in_state(name, charge=charge, spin=spin))


def test_electrons_of_a_fractional_charge_are_not_counted():
    assert spin_multiplicity(in_state("NO", charge=0.5, spin=1)) == 1


@pytest.mark.parametrize("spin", [0, 1.5, -2, "singlet", np.nan, [1, 2]])
def test_what_is_no_multiplicity_is_refused(spin):
    with pytest.raises(ValueError, match=r"the multiplicity 2S \+ 1, an integer"):
        spin_multiplicity(in_state("H2O", spin=spin))


def test_a_missing_spin_is_asked_for_with_the_structure():
    with pytest.raises(ValueError, match=r"depends on the spin.*labels.spin.*structure 4"):
        make_structure(molecule("H2O"), (1, 8), 3.0, " (structure 4)", with_spin=True)


def test_batches_carry_spins_and_potentials_without_spin_do_not_look():
    atoms = [in_state("O2", spin=3), in_state("H2O", spin=1)]
    seeing = [make_structure(a, (1, 8), 3.0, with_spin=True) for a in atoms]
    graph = batch_structures(seeing, Capacity(4, 8, 16, 4), "float64")
    assert graph.spin.tolist() == [3, 1, 0, 0]
    assert make_structure(in_state("H2O", spin="anything"), (1, 8), 3.0).spin == 0


def test_a_state_is_given_to_a_copy_and_does_not_contradict():
    atoms = bulk("Si")
    given = with_state(atoms, -1, 2)
    assert (given.info, atoms.info) == ({"charge": -1, "spin": 2}, {})
    assert with_state(given, -1.0, None).info == given.info
    with pytest.raises(ValueError, match=r'atoms.info\["spin"\] is 2, and spin was given as 4'):
        with_state(given, None, 4)


@pytest.mark.parametrize("key", ["charge", "total_charge"])
def test_total_charge_is_read_under_both_names(key):
    assert total_charge(in_state("OH", **{key: np.int64(-1)})) == -1.0
    assert total_charge(in_state("OH")) == 0.0
    with pytest.raises(
        ValueError, match=r'atoms.info\["' + key + r'"\] is .* given as 1: keep one'
    ):
        with_state(in_state("OH", **{key: -1}), 1, None)
    assert with_state(in_state("OH", **{key: -1}), -1, None).info == {key: -1}


@pytest.mark.parametrize("key", ["spin", "spin_multiplicity", "multiplicity"])
def test_spin_is_read_under_all_its_names(key):
    assert spin_multiplicity(in_state("O2", **{key: 3})) == 3


def test_two_names_that_contradict_each_other_are_refused():
    assert total_charge(in_state("OH", charge=-1, total_charge=-1.0)) == -1.0
    with pytest.raises(ValueError, match="charge and total_charge of"):
        total_charge(in_state("OH", charge=-1, total_charge=0))
    with pytest.raises(ValueError, match="spin and multiplicity of"):
        spin_multiplicity(in_state("O2", spin=1, multiplicity=3))
