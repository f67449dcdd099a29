"""Splits are reproducible, disjoint, and tied to the data they were drawn from."""

import json

import numpy as np
import pytest
from ase import Atoms

from tensornet_jax.data.splits import Split, fingerprint, make_split, traits_of
from tests.labelling import labelled


def structures(num):
    return labelled(Atoms("H2", [[0, 0, 0], [0, 0, 0.5 + i]]) for i in range(num))


@pytest.mark.parametrize(("validation", "expected"), [(10, 10), (0.25, 25), (0.001, 1), (0, 0)])
def test_counts_and_fractions(validation, expected):
    split = make_split(100, None, validation, seed=1)
    assert len(split.validation) == expected
    assert sorted(split.train + split.validation) == list(range(100))


def test_training_size_leaves_validation_as_it_is():
    small, large = (make_split(100, size, 20, seed=3) for size in (10, 80))
    assert small.validation == large.validation
    assert len(small.train) == 10
    assert set(small.train) < set(large.train)


def test_seed_decides():
    assert make_split(50, None, 10, 0) == make_split(50, None, 10, 0)
    assert make_split(50, None, 10, 0).validation != make_split(50, None, 10, 1).validation


def test_given_indices_are_kept_out_of_what_is_drawn():
    split = make_split(10, None, [7, 3], seed=0)
    assert split.validation == (3, 7)
    assert split.train == (0, 1, 2, 4, 5, 6, 8, 9)
    drawn = make_split(10, np.array([0, 1, 2]), 7, seed=0)
    assert drawn.validation == (3, 4, 5, 6, 7, 8, 9)


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        (91, 10, "train wants 91 structures, but of 100 only 90 are left"),
        (None, 101, "validation wants 101 of 100"),
        (None, 100, "no training structures are left"),
        (None, 1.5, "a fraction must be below 1"),
        (None, -1, "validation is -1"),
        (True, 1, "train is True"),
        ([1, 2], [2, 3], r"structures \[2\] are in both"),
        ([1, 1], [2], "train indices contain repetitions"),
        (None, [100], "validation index 100 is outside"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(train, validation, message):
    with pytest.raises(ValueError, match=message):
        make_split(100, train, validation, seed=0)


def test_saved_split_loads_for_the_same_data(tmp_path):
    data, path = structures(10), tmp_path / "split.json"
    split = make_split(10, None, 0.3, seed=5)
    split.save(path, data)
    assert Split.load(path, data) == split
    assert json.loads(path.read_text())["seed"] == 5
    assert [p.name for p in tmp_path.iterdir()] == ["split.json"]


def test_changed_data_are_noticed(tmp_path):
    data, path = structures(10), tmp_path / "split.json"
    make_split(10, None, 3, seed=5).save(path, data)
    with pytest.raises(ValueError, match="a split of 10 structures, not 9"):
        Split.load(path, data[:9])
    swapped = [data[1], data[0], *data[2:]]
    with pytest.raises(ValueError, match="the data have changed"):
        Split.load(path, swapped)
    moved = structures(10)
    moved[4].atoms.positions[0, 0] += 1e-12
    with pytest.raises(ValueError, match="the data have changed"):
        Split.load(path, moved)


def test_a_file_that_is_no_split_is_refused(tmp_path):
    for text in ("{", "[]", '{"num": 3}'):
        (tmp_path / "split.json").write_text(text)
        with pytest.raises(ValueError, match="not a saved split"):
            Split.load(tmp_path / "split.json", structures(3))


def test_fingerprint_sees_where_one_structure_ends():
    one, two = [Atoms("H3")], [Atoms("H2"), Atoms("H")]
    assert fingerprint(labelled(one)) != fingerprint(labelled(two))


# --- what only training can teach -----------------------------------------------------------


def alloys(rare: int, num: int = 20) -> list[Atoms]:
    return [Atoms("CuAu" if i == rare else "CuAg", [[0, 0, 0], [0, 0, 2.5]]) for i in range(num)]


@pytest.mark.parametrize("seed", range(10))
def test_the_only_carrier_of_an_element_stays_in_training(seed):
    traits = [traits_of(each) for each in labelled(alloys(rare=7))]
    split = make_split(20, None, 0.4, seed, traits)
    assert len(split.validation) == 8
    assert 7 in split.train
    assert split == make_split(20, None, 0.4, seed, traits)


def test_a_draw_in_which_nothing_is_at_stake_is_the_draw_by_chance():
    traits = [traits_of(each) for each in structures(30)]
    for seed in range(5):
        assert make_split(30, None, 10, seed, traits) == make_split(30, None, 10, seed)


@pytest.mark.parametrize(
    "only",
    [
        lambda atoms: atoms.info.update(charge=-1.0),
        lambda atoms: atoms.info.update(spin=3),
        lambda atoms: atoms.info.update(REF_dipole=np.ones(3)),
    ],
    ids=["charge", "spin", "label"],
)
def test_the_only_carrier_of_a_state_or_of_a_kind_of_label_stays_too(only):
    data = [each.atoms for each in structures(6)]
    for atoms in data:
        atoms.info.update(REF_energy=-1.0)
    only(data[2])
    traits = [traits_of(each) for each in labelled(data)]
    assert all(2 in make_split(6, None, 3, seed, traits).train for seed in range(10))


def test_charges_that_all_differ_do_not_keep_a_set_from_being_divided():
    data = alloys(rare=3, num=10)
    for index, atoms in enumerate(data):
        atoms.info["charge"] = 0.01 * index
    split = make_split(10, None, 5, 0, [traits_of(each) for each in labelled(data)])
    assert len(split.validation) == 5
    assert 3 in split.train


def test_few_structures_that_have_everything_make_the_others_free():
    # Drawn in this order, the first would leave copper to all of the others.
    traits = [["Cu", "Ag"], ["Cu"], ["Ag"]]
    for seed in range(6):
        assert len(make_split(3, None, 2, seed, traits).validation) == 2
    with pytest.raises(
        ValueError, match="2 have to stay in training, so that it has every element"
    ):
        make_split(3, None, 2, 0, [["Cu"], ["Ag"], ["Cu"]])
