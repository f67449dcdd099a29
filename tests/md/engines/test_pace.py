"""How far a run goes before the host looks: as far as lists can be relied upon, and as is quick."""

import jax.numpy as jnp

from tensornet_jax.md.blocks import BLOCK
from tensornet_jax.md.engines.pace import FIRST_CHUNK, Pace

ENDING, ENDLESS = jnp.array([0.5]), jnp.array([jnp.inf])


def test_a_loop_that_ends_itself_goes_to_the_end_of_the_interval_in_time():
    pace = Pace(blocks=False)
    assert pace.turns(100) is None
    assert pace.steps(0, 1000, None) == FIRST_CHUNK
    assert pace.steps(0, 10, None) == 10
    pace.ran(64, 0.5)
    assert pace.steps(64, 1000, None) == 128


def test_only_short_intervals_are_taken_step_by_step():
    pace = Pace(blocks=True)
    assert [pace.turns(steps) for steps in (0, 1, 4, 5, 100)] == [BLOCK, 1, 1, BLOCK, BLOCK]


def test_lists_that_never_run_out_let_many_blocks_follow_each_other():
    pace = Pace(blocks=True)
    pace.made_lists(0, ENDLESS)
    pace.ran(100, 0.1)
    assert pace.steps(0, 5000, BLOCK) == 1000
    assert pace.steps(0, 205, BLOCK) == 205


def test_blocks_follow_each_other_as_far_as_the_last_list_lasted():
    pace = Pace(blocks=True)
    pace.ran(100, 0.1)
    pace.made_lists(0, ENDING)
    assert pace.steps(0, 5000, BLOCK) == BLOCK
    pace.made_lists(100, ENDING)
    assert pace.steps(100, 5000, BLOCK) == 70
    assert pace.steps(170, 5000, BLOCK) == BLOCK
    # One that lasts longer than its predecessor is relied upon more and more.
    assert pace.steps(500, 5000, BLOCK) == 100
