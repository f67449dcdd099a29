"""The order of batches is a function of seed and step, and nothing is left running."""

import threading
import time

import numpy as np
import pytest

from tensornet_jax.data.loader import MixedBatches, ShuffledBatches, batches


@pytest.mark.parametrize(("num", "batch_size"), [(10, 4), (12, 4), (3, 8), (1, 1), (7, 1)])
def test_every_epoch_holds_each_structure_once(num, batch_size):
    plan = ShuffledBatches(num, batch_size, seed=0)
    assert plan.steps_per_epoch == -(-num // batch_size)
    for epoch in range(3):
        parts = plan.epoch(epoch)
        assert all(len(part) == min(batch_size, num) for part in parts[:-1])
        assert sorted(np.concatenate(parts)) == list(range(num))


def test_epochs_and_seeds_differ_and_repeat_exactly():
    plan, again = ShuffledBatches(64, 8, seed=1), ShuffledBatches(64, 8, seed=1)
    order = [np.concatenate(plan.epoch(epoch)).tolist() for epoch in range(4)]
    assert len({tuple(each) for each in order}) == 4
    assert order[3] == np.concatenate(again.epoch(3)).tolist()
    assert order[0] != np.concatenate(ShuffledBatches(64, 8, seed=2).epoch(0)).tolist()


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_resuming_at_a_step_continues_the_same_order(prefetch):
    plan = ShuffledBatches(23, 5, seed=7)
    whole = list(batches(plan, 0, 17, lambda i: i.sum(), prefetch))
    rest = list(batches(ShuffledBatches(23, 5, seed=7), 6, 11, lambda i: i.sum(), prefetch))
    assert [step for step, _, _ in whole] == list(range(17))
    for (step, indices, total), (other, others, total_other) in zip(whole[6:], rest, strict=True):
        assert step == other
        assert total == total_other == indices.sum()
        np.testing.assert_array_equal(indices, others)
        np.testing.assert_array_equal(indices, plan[step])


def grain_threads():
    return [t for t in threading.enumerate() if "grain" in t.name and t.is_alive()]


def test_batches_are_made_ahead_of_the_consumer():
    made = []
    plan = ShuffledBatches(10, 1, seed=0)
    source = batches(plan, 0, 10, lambda i: made.append(threading.current_thread().name), 3)
    next(source)
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(made) >= 4
    assert threading.current_thread().name not in made
    source.close()


def test_no_threads_remain_after_the_last_batch_or_an_early_stop():
    plan = ShuffledBatches(10, 2, seed=0)
    list(batches(plan, 0, 5, lambda i: i))
    source = batches(plan, 0, 1000, lambda i: i)
    next(source)
    source.close()
    deadline = time.monotonic() + 5
    while grain_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not grain_threads()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_fault_in_collating_is_raised_at_its_step(prefetch):
    plan = ShuffledBatches(10, 1, seed=0)

    def collate(indices):
        if indices[0] == plan[3][0]:
            raise ValueError("structure cannot be collated")
        return indices

    taken = []
    with pytest.raises(ValueError, match="cannot be collated"):
        taken.extend(step for step, _, _ in batches(plan, 0, 10, collate, prefetch))
    assert taken in ([], [0, 1, 2])


def test_none_is_a_batch_and_no_steps_is_no_batch():
    plan = ShuffledBatches(4, 2, seed=0)
    assert [made for _, _, made in batches(plan, 0, 3, lambda i: None)] == [None] * 3
    assert list(batches(plan, 5, 0, lambda i: i)) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 1, 0), "no structures"), ((3, 0, 0), "batch_size is 0"), ((3, 1, -1), "seed is -1")],
)
def test_impossible_plans_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ShuffledBatches(*arguments)
    with pytest.raises(IndexError):
        ShuffledBatches(3, 1, 0)[-1]


def test_a_mixed_batch_has_some_of_both_sets_each_at_its_own_pace():
    plan = MixedBatches(ShuffledBatches(10, 4, seed=0), ShuffledBatches(6, 2, seed=1))
    assert (plan.batch_size, plan.steps_per_epoch) == (6, 3)
    steps = [plan[step] for step in range(6)]
    first = [batch[batch < 10] for batch in steps]
    second = [batch[batch >= 10] for batch in steps]
    assert [len(batch) for batch in first] == [4, 4, 2] * 2
    assert [len(batch) for batch in second] == [2] * 6
    for k in (0, 3):
        assert sorted(np.concatenate(first[k : k + 3])) == list(range(10))
        assert sorted(np.concatenate(second[k : k + 3])) == list(range(10, 16))
