"""Few padded sizes, chosen from the batches, that hold every batch."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tensornet_jax.data.loader import ShuffledBatches
from tensornet_jax.graph.atom_graph import batch_structures
from tensornet_jax.graph.structure import Structure, make_structure
from tensornet_jax.train.data.capacities import Capacities, Padding
from tensornet_jax.train.data.examples import Sizes
from tests.train.small import clusters


def structures(sizes: list[int]) -> list[Structure]:
    """Make chains of the given lengths with an atom every 1.2 Å."""
    import ase

    chains = [ase.Atoms(f"C{n}", [[1.2 * k, 0.1 * (k % 2), 0.0] for k in range(n)]) for n in sizes]
    return [make_structure(chain, (6,), 3.0) for chain in chains]


def plan_and_capacities(made: list[Structure], batch_size: int):
    plan = ShuffledBatches(len(made), batch_size, seed=0)
    examples = [plan[k] for k in range(50)]
    return plan, Capacities.choose(Sizes.of(made), batch_size, examples)


def test_structures_of_one_size_need_one_capacity_with_little_padding():
    made = structures([9] * 40)
    plan, capacities = plan_and_capacities(made, 8)
    assert len(capacities.ladder) == 1
    padding = Padding()
    for step in range(5):
        padding.add(capacities, plan[step])
    assert max(padding.fractions()) < 0.15


def test_every_batch_fits_its_capacity_even_the_worst_one():
    rng = np.random.default_rng(0)
    made = structures([int(n) for n in rng.integers(2, 40, size=60)])
    plan, capacities = plan_and_capacities(made, 6)
    worst = np.argsort([len(s) for s in made])[-6:]
    for indices in [plan[k] for k in range(200)] + [worst, worst[:1]]:
        chosen = [made[k] for k in indices]
        batch_structures(chosen, capacities.of(indices), "float32")


def test_mixed_sizes_compile_at_most_three_times_and_each_saves_work():
    rng = np.random.default_rng(1)
    made = structures([3] * 80 + [int(n) for n in rng.integers(20, 60, size=8)])
    plan, capacities = plan_and_capacities(made, 4)
    assert 2 <= len(capacities.ladder) <= 3
    for small, large in pairwise(capacities.ladder):
        assert small.pairs < 0.9 * large.pairs
    ladder, used = Padding(), {capacities.of(plan[k]) for k in range(500)}
    assert used <= set(capacities.ladder)
    for step in range(100):
        ladder.add(capacities, plan[step])
    single = replace(capacities, ladder=capacities.ladder[-1:])
    without = Padding()
    for step in range(100):
        without.add(single, plan[step])
    assert ladder.fractions()[1] < without.fractions()[1] - 0.2


def test_padding_is_what_the_masks_of_the_graph_say():
    made = [make_structure(atoms, (1, 6, 8), 3.0) for atoms in clusters(10)]
    plan, capacities = plan_and_capacities(made, 4)
    padding, atoms, pairs = Padding(), [], []
    for step in range(3):
        indices = plan[step]
        padding.add(capacities, indices)
        graph = batch_structures([made[k] for k in indices], capacities.of(indices), "float32")
        atoms.append(graph.node_mask)
        pairs.append(graph.edges.mask)
    expected = [1 - np.concatenate(masks).mean() for masks in (atoms, pairs)]
    np.testing.assert_allclose(padding.fractions(), expected, rtol=1e-12)


def test_atoms_without_any_neighbor_can_be_batched():
    made = structures([1] * 6)
    _, capacities = plan_and_capacities(made, 3)
    batch_structures(made[:3], capacities.of(np.arange(3)), "float32")


def test_a_batch_larger_than_planned_is_refused():
    made = structures([5] * 10)
    _, capacities = plan_and_capacities(made, 2)
    with pytest.raises(ValueError, match="must not hold more structures than planned"):
        capacities.of(np.arange(10))
