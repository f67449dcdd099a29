"""Examples made in other processes are those made here."""

import numpy as np
import pytest

from tensornet_jax.data.references import reference_energies
from tensornet_jax.data.sources.packed_file import PackedFile
from tensornet_jax.data.sources.packing import packing
from tensornet_jax.models import MODELS
from tensornet_jax.train.data.datasets import ExampleMaker
from tensornet_jax.train.data.examples import HeldExamples, JoinedExamples
from tensornet_jax.train.data.streamed_examples import StreamedExamples
from tests.data.sources.many import many


@pytest.fixture
def packed(tmp_path):
    with packing(tmp_path / "a.packed") as packer:
        for each in many(12):
            packer.add(each)
    return PackedFile(tmp_path / "a.packed")


def maker(structures):
    model = MODELS["tensornet"][0].model_validate({"cutoff": 4.0})
    return ExampleMaker(reference_energies("least_squares", structures), model)


def check_same(one, other):
    assert one.source == other.source
    np.testing.assert_array_equal(one.structure.positions, other.structure.positions)
    np.testing.assert_array_equal(one.structure.pairs.first, other.structure.pairs.first)
    np.testing.assert_array_equal(one.targets.of("forces"), other.targets.of("forces"))


def test_other_processes_make_the_same_examples_in_order(packed):
    make = maker(packed)
    here = HeldExamples([make(each) for each in packed])
    there = StreamedExamples(packed, make, here.sizes, workers=2)
    for chosen in ([5, 0, 11, 3, 3], [7]):
        for one, other in zip(here.many(chosen), there.many(chosen), strict=True):
            check_same(one, other)


def test_joined_examples_come_in_the_order_that_is_asked_for(packed):
    make = maker(packed)
    here = HeldExamples([make(each) for each in packed])
    joined = JoinedExamples(here, StreamedExamples(packed, make, here.sizes))
    chosen = [13, 2, 23, 12, 0]
    for index, found in zip(chosen, joined.many(chosen), strict=True):
        check_same(found, here[index % 12])
        assert joined.source(index) == found.source
    assert len(joined.sizes) == 24
