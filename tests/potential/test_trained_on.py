"""A model file says what the model was trained on, and the model warns outside it."""

import warnings

import ase
import pytest
from ase.build import molecule

from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.data.labels.electronic_state import InitialChargesWarning
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.trained_on import (
    MOST_VALUES,
    OutsideTrainingWarning,
    TrainedOn,
    Watch,
    after_training,
    record_of,
    with_record,
)
from tests.builders import small_potential


def in_state(name: str = "H2O", **info: object) -> ase.Atoms:
    atoms = molecule(name)
    atoms.info.update(info)
    return atoms


def told(watch: Watch, *structures: ase.Atoms) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for atoms in structures:
            watch.look(atoms)
    assert all(issubclass(each.category, OutsideTrainingWarning) for each in caught)
    return [str(each.message) for each in caught]


NEUTRAL = with_record({}, TrainedOn.of([in_state(), in_state("CH4", charge=0.0)]))


def watch_of(metadata: dict, **changes: bool) -> Watch:
    return Watch(metadata, **({"sees_charge": True, "needs_spin": False} | changes))


def test_the_record_counts_elements_and_lists_charges_and_spins():
    record = TrainedOn.of([in_state(spin=1), in_state(total_charge=-1, multiplicity=2)])
    assert record.elements == {"H": 2, "O": 2}
    assert (record.structures, record.charges, record.spins) == (2, (-1.0, 0.0), (1, 2))
    assert record_of(with_record({"note": 1}, record)) == record
    assert record_of({}) is None
    both = record.merged(TrainedOn.of([in_state("CH4", charge=2)]))
    assert both.elements == {"C": 1, "H": 3, "O": 2}
    assert both.charges == (-1.0, 0.0, 2.0)
    with pytest.raises(ValueError, match=r"trained_on .*is unusable"):
        record_of({"trained_on": {"charges": "all"}})


def test_training_further_adds_to_what_the_starting_model_has_seen():
    metadata = after_training({"start": {"metadata": NEUTRAL}}, [in_state("OH", charge=-1)])
    assert metadata["trained_on"]["charges"] == [-1.0, 0.0]
    assert metadata["trained_on"]["elements"] == {"C": 1, "H": 3, "O": 2}
    assert metadata["trained_on"]["structures"] == 3


def test_an_unseen_charge_is_told_once():
    watch = watch_of(NEUTRAL)
    assert told(watch, in_state(), in_state(charge=0)) == []
    (text,) = told(watch, in_state(charge=1), in_state(charge=1), in_state(charge=-1))
    assert "total charge 1: the model was trained on 0 alone" in text
    assert "OutsideTrainingWarning" in text
    assert told(watch_of(NEUTRAL, sees_charge=False), in_state(charge=1)) == []


def test_a_file_that_does_not_say_is_doubted_for_ions_alone():
    watch = watch_of({"source": "elsewhere"})
    assert told(watch, in_state()) == []
    (text,) = told(watch, in_state(total_charge=-1))
    assert "does not say which charges" in text
    # Of random weights nobody expects anything.
    assert told(watch_of({}), in_state(charge=1)) == []


def test_unseen_spins_and_elements_are_told():
    record = with_record({}, TrainedOn.of([in_state(spin=1), in_state(charge=1, spin=2)]))
    watch = watch_of(record, needs_spin=True)
    assert told(watch, in_state(charge=1, spin=2)) == []
    texts = told(watch, in_state("CH4", charge=-1, spin=4))
    assert [text.split(":")[0] for text in texts] == [
        "total charge -1",
        "spin multiplicity 4",
        "element C",
    ]


@pytest.mark.parametrize(
    ("known", "inside", "outside"),
    [((0.0, 2.0), (0, 2), (1, -2)), ((0.0, 0.25, 1.0), (0.1, 1), (-0.1, 1.1))],
)
def test_integers_must_have_been_seen_and_fractions_lie_between(known, inside, outside):
    metadata = with_record({}, TrainedOn(charges=known))
    for charge in inside:
        assert told(watch_of(metadata), in_state(charge=charge)) == []
    for charge in outside:
        assert len(told(watch_of(metadata), in_state(charge=charge))) == 1


def test_a_record_of_many_charges_stays_small():
    record = TrainedOn.of([in_state(charge=k / 1000) for k in range(1001)])
    assert record.charges is not None
    assert len(record.charges) == MOST_VALUES
    assert (record.charges[0], record.charges[-1]) == (0.0, 1.0)


def test_initial_charges_of_an_ion_without_a_total_charge_are_told():
    watch = watch_of({})
    ion, odd = in_state("OH"), in_state("OH")
    ion.set_initial_charges([-1.2, 0.2])
    odd.set_initial_charges([-0.6, 0.2])
    watch.look(odd)
    stated = ion.copy()
    stated.info["charge"] = -1
    watch.look(stated)
    watch_of({}, needs_charges=True).look(ion)
    with pytest.warns(InitialChargesWarning, match=r"sum to -1 .*charge=-1"):
        watch.look(ion)
    watch.look(ion)


def test_calculator_and_evaluation_warn_from_a_file_and_can_be_silenced(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, small_potential(num_layers=1).replace(metadata=NEUTRAL))
    for compute in (
        lambda: TensorNetCalculator(path).calculate(in_state(charge=1)),
        lambda: load_model(path).evaluate(in_state(charge=1), ("energy",)),
    ):
        with pytest.warns(OutsideTrainingWarning, match="trained on 0 alone"):
            compute()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OutsideTrainingWarning)
            compute()
