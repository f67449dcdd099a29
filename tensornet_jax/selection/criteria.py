"""Choices among points: the largest, the farthest from each other, the greatest determinant.

Numpy alone and no chance: the same points give the same choice, and of equal ones the first.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

Points: TypeAlias = Float[np.ndarray, "structures features"]


class Ranked(NamedTuple):
    """What was chosen, in order.

    indices: of the points.
    scores: of each when it was chosen, in the unit of the criterion.
    """

    indices: list[int]
    scores: list[float]


def largest(values: Float[np.ndarray, " structures"], count: int) -> Ranked:
    """Return the largest values, in falling order.

    Args:
        values: in any unit.
        count: how many, at most.
    """
    order = np.argsort(-values, kind="stable")[:count]
    return Ranked(order.tolist(), values[order].tolist())


def farthest(points: Points, count: int, known: Points) -> Ranked:
    """Return points each of which is the farthest from those before it, and from known ones.

    The greedy solution of the k-center problem (Gonzalez, doi:10.1016/0304-3975(85)90224-5): no
    other choice halves the largest distance of a point from its nearest chosen one. Without known
    points the first is the farthest from the mean.

    Args:
        points: to choose among.
        count: how many, at most.
        known: those that are there already; may be none.

    Returns:
        with distances from the nearest point before.
    """
    if len(known):
        distances = np.full(len(points), np.inf)
        for each in known:
            distances = np.minimum(distances, _distances(points, each))
    else:
        distances = _distances(points, points.mean(axis=0)) if len(points) else np.zeros(0)
    found = Ranked([], [])
    for turn in range(min(count, len(points))):
        index = int(np.argmax(distances))
        found.indices.append(index)
        found.scores.append(float(distances[index]))
        new = _distances(points, points[index])
        # Its distance from the mean says nothing once there is a point to be far from.
        distances = new if turn == 0 and not len(known) else np.minimum(distances, new)
        distances[found.indices] = -np.inf
    return found


def greatest_determinant(points: Points, count: int) -> Ranked:
    """Return points S for which det(1 + Σ_S g gᵀ) is the greatest, one after the other.

    With features f of structures, a covariance C of those of the training set, and g = Lᵀ f where
    L Lᵀ = (C + ς²)⁻¹ (arXiv:2403.02251), the determinant is that by which the rigidity of the
    weights grows when S is added to the training set:

        det(C + ς² + Σ_S f fᵀ) = det(C + ς²) det(1 + Σ_S g gᵀ)

    The logarithm is submodular, so that the greedy choice reaches 1 − 1/e of the greatest or more
    (Nemhauser, Wolsey & Fisher, doi:10.1007/BF01588971). Each turn adds ln(1 + gᵀ M⁻¹ g), where
    M = 1 + Σ g gᵀ over those chosen before: unlike by the largest |g| alone, structures that say
    the same are not chosen twice.

    Args:
        points: g.
        count: how many, at most.

    Returns:
        with what each adds to the logarithm of the determinant.
    """
    inverse, lengths = np.eye(points.shape[1]), np.einsum("sf,sf->s", points, points)
    found = Ranked([], [])
    free = np.ones(len(points), bool)
    for _ in range(min(count, len(points))):
        index = int(np.argmax(np.where(free, lengths, -np.inf)))
        free[index] = False
        found.indices.append(index)
        found.scores.append(float(np.log1p(lengths[index])))
        # Sherman-Morrison, for M⁻¹ and for gᵀ M⁻¹ g of all points.
        column = inverse @ points[index] / np.sqrt(1 + lengths[index])
        inverse -= np.outer(column, column)
        lengths = np.maximum(lengths - (points @ column) ** 2, 0)
    return found


def _distances(
    points: Points, point: Float[np.ndarray, " features"]
) -> Float[np.ndarray, " structures"]:
    return np.linalg.norm(points - point, axis=1)
