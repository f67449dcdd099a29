"""Dynamics of a round: where they start, which frames count, and what an explosion means."""

import ase.build
import ase.io
import numpy as np
import pytest

from tensornet_jax.active.exploring import (
    candidates_of,
    explore_round,
    simulations_of,
    start_of,
)
from tensornet_jax.active.layout import LoopDirectory
from tensornet_jax.potential.model_file import save_model
from tests.active.small import loop
from tests.builders import small_potential
from tests.potential.uncertainty.sets import sure_potential


def test_each_simulation_has_random_numbers_of_its_own(folder):
    config = loop(**{"explore.volumes": [0.9, 1.1]})
    directory = LoopDirectory("loop")
    runs = [each.run for k in (0, 1) for each in simulations_of(config, directory.round(k))]
    assert len({run.seed for run in runs}) == 4
    assert len({run.output for run in runs}) == 4
    assert [each.volume for each in simulations_of(config, directory.round(0))] == [0.9, 1.1]
    again = [each.run for each in simulations_of(config, directory.round(0))]
    assert again == runs[:2]


def test_a_crystal_is_scaled_with_its_atoms(folder):
    crystal = ase.build.bulk("Si", cubic=True)
    ase.io.write("crystal.xyz", crystal, format="extxyz")
    (stage,) = loop(**{"explore.structure": "crystal.xyz"}).explore
    found = start_of(stage, small_potential(), 1.1)
    assert found.cell.volume == pytest.approx(1.1 * crystal.cell.volume)
    expected = crystal.get_scaled_positions()
    np.testing.assert_allclose(found.get_scaled_positions(), expected, atol=1e-9)


def test_what_has_no_volume_and_what_is_not_there_are_told(folder):
    (stage,) = loop().explore
    with pytest.raises(ValueError, match=r"start\.xyz:0: is not periodic .* leave out"):
        start_of(stage, small_potential(), 1.1)
    (stage,) = loop(**{"explore.index": 3}).explore
    with pytest.raises(ValueError, match=r"index 3: start\.xyz has 1 structures"):
        start_of(stage, small_potential(), 1.0)


@pytest.fixture
def here(folder):
    """Return a round with a model."""
    found = LoopDirectory("loop").round(0)
    found.train.begin()
    save_model(found.model, sure_potential())
    return found


def test_replicas_that_stop_give_one_candidate_each(here):
    config = loop(**{"explore.stop": {"forces_std": 1e-6}, "explore.mark": None})
    explore_round(config, here, print)
    (facts,) = here.explore.facts()["simulations"]
    assert [each["stopped_at_step"] for each in facts["replicas"]] == [0, 0]
    assert facts["ended"] == "2 of 2 replicas stopped"
    found = candidates_of(config, here)
    assert here.explore.facts()["candidates"] == len(found) == 2
    assert not any(each.labels for each in found)


def test_an_explosion_is_noted_and_what_came_before_counts(here):
    config = loop(**{"explore.timestep": 10.0})
    told: list[str] = []
    explore_round(config, here, told.append)
    (facts,) = here.explore.facts()["simulations"]
    assert "explodes at step" in facts["exploded"]
    assert "explodes at step" in told[0]
    assert candidates_of(config, here)


def test_a_simulation_that_cannot_start_ends_the_loop(here):
    config = loop(**{"explore.max_displacement": 1e-6})
    with pytest.raises(ValueError, match=r"round-000/explore: nothing was explored .* 1e-06 Å"):
        explore_round(config, here, print)
    assert not here.explore.is_done
