"""First structures are read as configured, and parted once."""

import ase.io
import numpy as np
import pytest

from tensornet_jax.active.layout import LoopDirectory
from tensornet_jax.active.sets import (
    TRAIN,
    VALIDATION,
    files_before,
    first_sets,
    labelled_before,
    parted,
    written,
)
from tensornet_jax.data.auditing.overlap import overlap
from tensornet_jax.data.readers import read_labelled
from tests.active.small import loop, water
from tests.labelling import labelled

pytestmark = pytest.mark.usefixtures("folder")


def sets(config):
    stage = LoopDirectory("loop").first
    first_sets(config, stage)
    return [read_labelled(stage.path / name) for name in (TRAIN, VALIDATION)]


@pytest.mark.parametrize(("size", "held"), [(3, 3), (0.4, 4)])
def test_a_share_is_drawn_once_and_nothing_is_lost(size, held):
    train, validation = sets(loop(**{"train.data.validation": size}))
    assert (len(train), len(validation)) == (10 - held, held)
    assert not overlap(train, validation)
    assert len(overlap([*train, *validation], read_labelled("first.xyz"))) == 10
    again = sets(loop(**{"train.data.validation": size}))
    assert len(overlap(train, again[0])) == 10 - held


def test_files_are_read_with_labels_of_their_own():
    frames = water(4, seed=2)
    for atoms in frames:
        atoms.info["kcal"] = atoms.get_potential_energy() / 0.0433641153087705
        atoms.calc = None
    ase.io.write("held.xyz", frames, format="extxyz")
    labels = {"energy": "kcal", "units": {"energy": "kcal/mol"}}
    config = loop(**{"train.data.validation": {"file": "held.xyz", "labels": labels}})
    train, validation = sets(config)
    assert len(train) == 10
    for found, atoms in zip(validation, water(4, seed=2), strict=True):
        assert abs(found.energy - atoms.get_potential_energy()) < 1e-5


def test_too_few_to_hold_out_or_to_calibrate_on_are_refused():
    with pytest.raises(ValueError, match=r"10 structures cannot be held out of 10"):
        sets(loop(**{"train.data.validation": 10}))
    with pytest.raises(ValueError, match=r"1 of 1 structures have an energy"):
        sets(loop(**{"train.data.validation": 1}))


def test_sets_grow_by_what_each_round_has_labelled():
    directory = LoopDirectory("loop")
    first_sets(loop(), directory.first)
    for number, share in enumerate((1, 0)):
        stage = directory.round(number).labelled
        stage.begin()
        structures = labelled(water(3, seed=number + 5))
        stage.finish(written(stage, *parted(structures, share, number)))
    assert [len(labelled_before(directory, k, TRAIN)) for k in range(3)] == [7, 9, 12]
    assert [len(labelled_before(directory, k, VALIDATION)) for k in range(3)] == [3, 4, 4]
    # An empty file could not be read.
    assert len(files_before(directory, 2, VALIDATION)) == 2


def test_parted_keeps_the_order():
    structures = labelled(water(6))
    rest, drawn = parted(structures, 2, 0)
    places = [[structures.index(each) for each in part] for part in (rest, drawn)]
    assert all(np.all(np.diff(part) > 0) for part in places)
    assert sorted([*places[0], *places[1]]) == list(range(6))
