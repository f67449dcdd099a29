"""One optimization step: what it changes, and what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.targets import Targets
from tensornet_jax.train.config.optimizer import OptimizerConfig
from tensornet_jax.train.config.run import LossTerm
from tensornet_jax.train.optimization.optimizer import learning_rate_schedule, make_optimizer
from tensornet_jax.train.optimization.parameter_groups import ParameterGroups
from tensornet_jax.train.optimization.state import TrainState
from tensornet_jax.train.optimization.step import TrainStep
from tests.train.small import graph_of

TERMS = {"energy": LossTerm(weight=1.0), "forces": LossTerm(weight=10.0)}


class Springs:
    """A stand-in for a Potential: every atom bound to the origin, one stiffness per element."""

    def __init__(self):
        self.variables = {
            "params": {"stiffness": {"kernel": np.array([[1.0, 2.0]], np.float32)}},
            "buffers": {"unit": np.ones((), np.float32)},
        }

    def predict(self, variables, graph, compute):
        stiffness = variables["params"]["stiffness"]["kernel"][0] * variables["buffers"]["unit"]

        def total(positions):
            square = jnp.sum(positions**2, axis=1)
            energies = 0.5 * stiffness[graph.species] * square * graph.node_mask
            return energies.sum(), energies

        gradient, energies = jax.grad(total, has_aux=True)(graph.positions)
        energy = jax.ops.segment_sum(energies, graph.node_graph, graph.num_graphs)
        return {"energies": energies, "energy": energy, "forces": -gradient}


def batch(seed: int = 0, factor: float = 1.0) -> tuple[AtomGraph, Targets]:
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=(6, 3)).astype(np.float32)
    positions[5] = 0
    species = np.array([0, 1, 0, 1, 1, 0], np.int32)
    graph = graph_of([0, 0, 1, 1, 1, 2], 3, 1, positions=positions, species=species)
    stiffness = np.array([3.0, 5.0], np.float32)[species]
    energies = 0.5 * stiffness * (positions**2).sum(1)
    energy = np.array([energies[:2].sum(), energies[2:5].sum(), np.nan], np.float32)
    forces = -stiffness[:, None] * positions
    forces[5] = np.nan
    return graph, Targets({"energy": energy * factor}, {"forces": forces})


def step_and_state(replay_weight: float = 1.0, **changes) -> tuple[TrainStep, TrainState]:
    config = OptimizerConfig(learning_rate=0.1, ema_decay=0.9, **changes)
    schedule = learning_rate_schedule(config, 150, 10)
    optimizer = make_optimizer(config, schedule)
    springs = Springs()
    state = TrainState.create(springs.variables["params"], optimizer, averaging=True)
    groups = ParameterGroups()
    return (
        TrainStep(springs, TERMS, optimizer, schedule, config.ema_decay, groups, replay_weight),
        state,
    )


def copies(tree) -> list[bytes]:
    return [np.array(leaf, copy=True).tobytes() for leaf in jax.tree.leaves(tree)]


ONE = np.asarray(1.0, np.float32)


def test_steps_find_the_stiffness_and_compile_once():
    step, state = step_and_state()
    losses = []
    for k in range(150):
        state, scalars = step(state, *batch(k), ONE)
        losses.append(float(scalars["loss"]))
    assert losses[-1] < 1e-3 * losses[0]
    np.testing.assert_allclose(state.params["stiffness"]["kernel"], [[3, 5]], rtol=0.02)
    assert step.compilations == 1
    assert (int(state.step), int(state.skipped)) == (150, 0)


@pytest.mark.parametrize("bad", [np.inf, 1e30])
def test_a_step_that_is_not_finite_changes_nothing_but_the_counters(bad):
    step, state = step_and_state()
    for k in range(3):
        state, _ = step(state, *batch(k), ONE)
    before = copies((state.params, state.averaged, state.optimizer))
    state, scalars = step(state, *batch(9, factor=bad), ONE)
    assert bool(scalars["skipped"])
    assert copies((state.params, state.averaged, state.optimizer)) == before
    assert (int(state.step), int(state.skipped)) == (4, 1)
    state, scalars = step(state, *batch(4), ONE)
    assert not bool(scalars["skipped"])
    assert copies((state.params, state.averaged, state.optimizer)) != before


def test_after_a_skipped_step_training_goes_on_as_if_it_had_not_been():
    step, with_skip = step_and_state()
    _, without = step_and_state()
    for k in range(4):
        if k == 2:
            with_skip, _ = step(with_skip, *batch(9, factor=np.inf), ONE)
        with_skip, first = step(with_skip, *batch(k), ONE)
        without, second = step(without, *batch(k), ONE)
        assert float(first["learning_rate"]) == float(second["learning_rate"])
    assert copies((with_skip.params, with_skip.averaged, with_skip.optimizer)) == copies(
        (without.params, without.averaged, without.optimizer)
    )


def test_the_plateau_scale_multiplies_the_update():
    moves = []
    for scale in (1.0, 0.25):
        step, state = step_and_state()
        before = np.array(state.params["stiffness"]["kernel"])
        state, scalars = step(state, *batch(), np.asarray(scale, np.float32))
        moves.append(np.asarray(state.params["stiffness"]["kernel"]) - before)
        np.testing.assert_allclose(scalars["learning_rate"], 0.1 * scale, rtol=1e-6)
    np.testing.assert_allclose(moves[1], 0.25 * moves[0], rtol=1e-4)


def test_replayed_structures_have_a_loss_of_their_own_and_a_weight():
    """Each mean is over its own labels, as if the other kind of structures were not there."""
    graph, targets = batch()

    def alone(chosen: int) -> float:
        step, state = step_and_state()
        labels = np.where(np.arange(3) == chosen, targets.of("energy"), np.nan)
        forces = np.where((graph.node_graph == chosen)[:, None], targets.of("forces"), np.nan)
        only = Targets({"energy": labels.astype(np.float32)}, {"forces": forces})
        return float(step(state, graph, only, ONE)[1]["loss"])

    step, state = step_and_state(replay_weight=0.25)
    replayed = np.array([False, True, False])
    _, scalars = step(state, graph, targets, ONE, replayed)
    np.testing.assert_allclose(scalars["replay"], alone(1), rtol=1e-5)
    np.testing.assert_allclose(scalars["loss"], alone(0) + 0.25 * alone(1), rtol=1e-5)
    parts = float(scalars["energy"]) + 10 * float(scalars["forces"])
    np.testing.assert_allclose(parts, alone(0), rtol=1e-5)


def test_buffers_and_the_given_parameters_are_not_touched():
    step, state = step_and_state()
    springs = step._potential
    before = copies(springs.variables)
    for k in range(3):
        state, _ = step(state, *batch(k), ONE)
    assert copies(springs.variables) == before


def test_without_averaging_the_parameters_themselves_are_evaluated():
    optimizer = make_optimizer(OptimizerConfig(), lambda _: 1e-3)
    state = TrainState.create(Springs().variables["params"], optimizer, averaging=False)
    assert state.averaged is None
    assert state.evaluated is state.params
