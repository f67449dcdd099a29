"""How batches are divided over devices."""

import dataclasses

import jax
import numpy as np
import pytest

from tensornet_jax.data.loader import ShuffledBatches
from tensornet_jax.graph.atom_graph import Capacity, batch_structures, shard_graph
from tensornet_jax.graph.structure import Structure, make_structure
from tensornet_jax.graph.targets import Targets, batch_targets
from tensornet_jax.train.data.examples import Sizes
from tensornet_jax.train.data.shards import Shards, divide, shard_targets
from tests.train.small import clusters


def made(count: int, seed: int = 0) -> list[Structure]:
    return [make_structure(atoms, (1, 6, 8), 3.0) for atoms in clusters(count, seed)]


@pytest.mark.parametrize(("count", "num"), [(32, 8), (7, 3), (2, 4), (0, 2), (64, 1)])
def test_every_structure_is_in_one_shard_and_none_has_more_than_its_share(count, num):
    costs = np.random.default_rng(count).lognormal(5, 1, count)
    shards = divide(costs, num)
    assert len(shards) == num
    assert sorted(np.concatenate(shards).tolist()) == list(range(count))
    assert max(map(len, shards)) == -(-count // num)
    again = divide(costs, num)
    assert all(np.array_equal(a, b) for a, b in zip(shards, again, strict=True))


def test_shards_are_more_alike_than_pieces_in_order():
    rng = np.random.default_rng(1)
    balanced, in_order = [], []
    for _ in range(50):
        costs = rng.lognormal(5, 0.5, 64)
        even = costs.sum() / 8
        balanced.append(even / max(costs[own].sum() for own in divide(costs, 8)))
        in_order.append(even / max(own.sum() for own in np.array_split(costs, 8)))
    assert np.mean(balanced) > 0.95
    assert np.mean(in_order) < 0.85


@pytest.mark.parametrize("num", [1, 2, 3, 8])
def test_every_shard_fits_the_capacity_of_its_batch(num):
    structures = made(40)
    plan = ShuffledBatches(len(structures), 7, seed=0)
    shards = Shards.choose(Sizes.of(structures), 7, [plan[k] for k in range(30)], num)
    for step in range(40):
        parts, capacity = shards.of(plan[step])
        assert len(parts) == num
        assert sorted(np.concatenate(parts)) == sorted(plan[step])
        for part in parts:
            batch_structures([structures[k] for k in part], capacity)


def test_an_empty_shard_has_the_arrays_of_the_others():
    structure = dataclasses.replace(made(1)[0], initial_charges=np.zeros(3))
    capacity = Capacity.holding([structure])
    targets = Targets(
        {"energy": np.array(1.0)}, {"forces": np.ones((3, 3))}, {"energy": np.array(2.0)}
    )
    full = (
        batch_structures([structure], capacity),
        batch_targets([targets], capacity, "float32"),
    )
    empty = (
        shard_graph([], capacity, "float32", structure),
        shard_targets([], capacity, "float32", targets),
    )
    assert jax.tree.structure(full) == jax.tree.structure(empty)
    for a, b in zip(jax.tree.leaves(full), jax.tree.leaves(empty), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert not empty[0].node_mask.any()
    assert np.isnan(empty[1].of("forces")).all()
