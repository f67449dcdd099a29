"""Choices among points against what an exhaustive search finds turn by turn."""

import numpy as np
import pytest

from tensornet_jax.selection.criteria import farthest, greatest_determinant, largest

NONE = np.zeros((0, 4))


def points(count: int = 12, size: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size))


def distance_from(index, others):
    return min(float(np.linalg.norm(index - each)) for each in others)


def test_the_largest_come_first_and_of_equal_ones_the_first():
    ranked = largest(np.array([1.0, 3.0, 2.0, 3.0]), 3)
    assert ranked == ([1, 3, 2], [3.0, 3.0, 2.0])
    assert largest(np.array([1.0]), 5) == ([0], [1.0])
    assert largest(np.array([]), 5) == ([], [])


@pytest.mark.parametrize("known", [NONE, points(3, seed=1)], ids=["none", "three"])
def test_each_point_is_the_farthest_from_those_before_it(known):
    rows = points()
    ranked = farthest(rows, 6, known)
    before = list(known) or [rows.mean(axis=0)]
    for turn, (index, score) in enumerate(zip(*ranked, strict=True)):
        distances = [distance_from(row, before) for row in rows]
        assert index == int(np.argmax(distances))
        assert score == pytest.approx(distances[index], rel=1e-12)
        if turn == 0 and not len(known):
            before = []
        before.append(rows[index])


def test_all_points_are_chosen_once():
    rows = np.repeat(points(4), 2, axis=0)
    for ranked in (farthest(rows, 20, NONE), greatest_determinant(rows, 20)):
        assert sorted(ranked.indices) == list(range(8))
    assert farthest(NONE, 3, NONE) == ([], [])
    assert greatest_determinant(NONE, 3) == ([], [])


def test_each_point_adds_the_most_to_the_determinant():
    rows = points()
    ranked = greatest_determinant(rows, 8)

    def logarithm(chosen: list[int]) -> float:
        return float(np.linalg.slogdet(np.eye(4) + rows[chosen].T @ rows[chosen])[1])

    before: list[int] = []
    for index, score in zip(*ranked, strict=True):
        gains = [
            -np.inf if k in before else logarithm([*before, k]) - logarithm(before)
            for k in range(len(rows))
        ]
        assert index == int(np.argmax(gains))
        assert score == pytest.approx(gains[index], rel=1e-10)
        before.append(index)


def test_the_determinant_is_that_of_the_covariance_with_what_was_chosen():
    features, ridge = points(30, seed=2), 0.1
    covariance = features.T @ features + ridge * np.eye(4)
    values, vectors = np.linalg.eigh(covariance)
    new = points(5, seed=3)
    ranked = greatest_determinant(new @ (vectors / np.sqrt(values)), 5)
    grown = covariance + new.T @ new
    gain = np.linalg.slogdet(grown)[1] - np.linalg.slogdet(covariance)[1]
    assert sum(ranked.scores) == pytest.approx(gain, rel=1e-10)


def test_the_determinant_does_not_choose_the_same_twice_and_the_largest_would():
    rows = np.array([[3.0, 0.0], [2.9, 0.0], [0.0, 1.0]])
    assert greatest_determinant(rows, 2).indices == [0, 2]
    assert largest(np.linalg.norm(rows, axis=1), 2).indices == [0, 1]
