"""Cartesian tensors with index symmetries, and their irreducible parts under rotation.

A tensor of rank n is a product of n vectors; one of rank 0 is a number. Coupling the vectors one
after the other with Clebsch–Gordan coefficients gives an orthonormal basis in which every rotation
acts on blocks of one degree; index symmetries commute with rotations, so within a degree they only
choose among the blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import DTypeLike

from tensornet_jax.ops.any_array import AnyArray
from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan
from tensornet_jax.properties import SCALAR

HIGHEST_RANK = 4
_TOLERANCE = 1e-8


class Block(NamedTuple):
    """All parts of one degree: `multiplicity` times 2l + 1 components, starting at `start`."""

    degree: int
    multiplicity: int
    start: int

    @property
    def slice(self) -> slice:
        """Where its components stand."""
        return slice(self.start, self.start + self.multiplicity * (2 * self.degree + 1))


@dataclass(frozen=True, eq=False)
class TensorSymmetry:
    """The space of Cartesian tensors with given index symmetries. Made by `tensor_symmetry`.

    Attributes:
        formula: the index symmetries, such as "ij=ji"; "scalar" without an index.
        traceless: whether the trace over any two indices is 0.
        rank: number of indices n.
        blocks: the irreducible parts by degree, the lowest first.
        basis: (size, 3, …, 3) orthonormal tensors; of a block each part's components stand
            together, in the order m = −l … l of e3nn, in which degree 1 is (x, y, z).
    """

    formula: str
    traceless: bool
    rank: int
    blocks: tuple[Block, ...]
    basis: Float[np.ndarray, "components ..."]

    @property
    def size(self) -> int:
        """Number of independent components."""
        return len(self.basis)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a full tensor, (3, …, 3)."""
        return (3,) * self.rank

    def is_natural(self, degree: int) -> bool:
        """Whether parts of this degree change under inversion as spherical harmonics do.

        A tensor of rank n gets (−1)ⁿ, harmonics (−1)ˡ: the antisymmetric part of a rank-2 tensor,
        an axial vector, is not natural.
        """
        return (self.rank - degree) % 2 == 0

    @property
    def irreps(self) -> str:
        """The parts in e3nn's notation, such as "2x0e+2x2e+1x4e"."""
        parity = "oe"[self.rank % 2 == 0]
        return "+".join(f"{b.multiplicity}x{b.degree}{parity}" for b in self.blocks)

    def to_irreps(self, tensors: Float[AnyArray, "*full"]) -> Float[AnyArray, "... size"]:
        """Components in the orthonormal basis, (..., 3, …, 3) → (..., size).

        What does not have the symmetry is projected out. numpy or jax arrays.
        """
        flat = tensors.reshape(*tensors.shape[: tensors.ndim - self.rank], 3**self.rank)
        return flat @ self._matrix(tensors.dtype).T

    def from_irreps(
        self, components: Float[AnyArray, "... components"]
    ) -> Float[AnyArray, "*full"]:
        """Full tensors, (..., size) → (..., 3, …, 3); numpy or jax."""
        flat = components @ self._matrix(components.dtype)
        return flat.reshape(*components.shape[:-1], *self.shape)

    def _matrix(self, dtype: DTypeLike) -> np.ndarray:
        return self.basis.reshape(self.size, -1).astype(dtype)


@cache
def tensor_symmetry(formula: str, traceless: bool = False) -> TensorSymmetry:
    """Return the space of tensors with the index symmetries of a formula.

    Args:
        formula: "scalar" for a number, else equal permutations of the indices, a minus sign for
            antisymmetry: "i", "ij" (any tensor of rank 2), "ij=ji", "ij=-ji", "ijk=ikj",
            "ijkl=jikl=klij" (elasticity).
        traceless: keep only what has no trace over any two indices.

    Raises:
        ValueError: the formula is malformed, has more than four indices, or leaves nothing.
    """
    rank, group = _parsed(formula)
    permuted = _projector(rank, group)
    blocks, rows, start = [], [], 0
    for degree, paths in sorted(_coupled(rank).items()):
        # Paths (P, 2l + 1, 3ⁿ); what commutes with rotations mixes paths and leaves m alone.
        matrix = np.einsum("pma,ab,qmb->pq", paths, permuted, paths) / (2 * degree + 1)
        kept = _independent_rows(matrix)
        if traceless and len(kept):
            kept = _without_traces(kept, paths, rank)
        if not len(kept):
            continue
        blocks.append(Block(degree, len(kept), start))
        rows.append(np.einsum("kp,pma->kma", kept, paths).reshape(-1, 3**rank))
        start += len(rows[-1])
    if not blocks:
        raise ValueError(f"no tensor but zero has the symmetry {formula!r}: check its signs")
    basis = np.concatenate(rows)
    basis[abs(basis) < 1e-14] = 0.0
    basis = basis.reshape(-1, *(3,) * rank)
    basis.setflags(write=False)
    return TensorSymmetry(formula, traceless, rank, tuple(blocks), basis)


Signed = tuple[tuple[int, ...], int]


def _parsed(formula: str) -> tuple[int, set[Signed]]:
    """Rank, and the group of signed permutations that leave the tensor as it is."""
    if formula == SCALAR:
        return 0, {((), 1)}
    terms = formula.replace(" ", "").split("=")
    first = terms[0]
    valid = all(re.fullmatch(r"-?[a-z]+", term) for term in terms) and not first.startswith("-")
    distinct = len(set(first)) == len(first)
    if not (valid and distinct and all(sorted(t.lstrip("-")) == sorted(first) for t in terms)):
        raise ValueError(
            f"{formula!r} is not a symmetry of indices: write permutations of the same letters, "
            "such as ij=ji, ij=-ji or ijkl=jikl=klij, or scalar"
        )
    if len(first) > HIGHEST_RANK:
        raise ValueError(f"{formula!r} has {len(first)} indices: {HIGHEST_RANK} are the most")
    identity = (tuple(range(len(first))), 1)
    generators = [
        (tuple(first.index(letter) for letter in term.lstrip("-")), -1 if term[0] == "-" else 1)
        for term in terms[1:]
    ]
    group: set[Signed] = {identity}
    frontier: list[Signed] = [identity]
    while frontier:
        permutation, sign = frontier.pop()
        for other, factor in generators:
            new = tuple(permutation[k] for k in other), sign * factor
            if new not in group:
                group.add(new)
                frontier.append(new)
    return len(first), group


def _projector(rank: int, group: set[Signed]) -> np.ndarray:
    """The mean over the group as a matrix on flat tensors, (3ⁿ, 3ⁿ)."""
    unit = np.eye(3**rank).reshape(*(3,) * rank, 3**rank)
    total = np.zeros_like(unit)
    for permutation, sign in sorted(group):
        total += sign * unit.transpose(*permutation, rank)
    return total.reshape(3**rank, 3**rank) / len(group)


@cache
def _coupled(rank: int) -> dict[int, np.ndarray]:
    """An orthonormal basis of all tensors of a rank, by degree (paths, 2l + 1, 3ⁿ)."""
    if rank < 2:
        return {rank: np.eye(2 * rank + 1)[None]}
    found: dict[int, list[np.ndarray]] = {}
    for degree, path in _paths(rank - 1):
        for coupled in range(abs(degree - 1), degree + 2):
            # Clebsch–Gordan coefficients here have Σ C² = 1 over all three orders.
            matrix = (2 * coupled + 1) ** 0.5 * clebsch_gordan(degree, 1, coupled)
            new = np.einsum("ma,mxc->cax", path, matrix).reshape(2 * coupled + 1, -1)
            found.setdefault(coupled, []).append(new)
    return {degree: np.stack(paths) for degree, paths in found.items()}


def _paths(rank: int) -> Iterator[tuple[int, np.ndarray]]:
    for degree, paths in sorted(_coupled(rank).items()):
        for path in paths:
            yield degree, path


def _independent_rows(projector: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what a symmetric projector keeps, (k, P).

    Gram–Schmidt in the order of the rows: unlike eigenvectors, which LAPACK may turn and reflect,
    it gives the same basis everywhere, and weights of models refer to it.
    """
    kept: list[np.ndarray] = []
    for row in projector:
        rest = row - sum((v @ row) * v for v in kept) if kept else row
        size = np.linalg.norm(rest)
        if size > _TOLERANCE:
            rest = rest / size
            # Once more, against the rounding of the first pass.
            rest = rest - sum((v @ rest) * v for v in kept) if kept else rest
            kept.append(rest / np.linalg.norm(rest))
    return np.array(kept).reshape(-1, len(projector))


def _without_traces(kept: np.ndarray, paths: np.ndarray, rank: int) -> np.ndarray:
    """Of combinations of paths (k, P) those without a trace over any two indices."""
    tensors = np.einsum("kp,pma->kma", kept, paths).reshape(*kept.shape[:1], -1, *(3,) * rank)
    traces = [
        np.trace(tensors, axis1=2 + i, axis2=2 + j).reshape(len(kept), -1)
        for i, j in combinations(range(rank), 2)
    ]
    matrix = np.concatenate(traces, axis=1) if traces else np.zeros((len(kept), 1))
    matrix[abs(matrix) < _TOLERANCE] = 0.0
    return _independent_rows(np.eye(len(kept)) - matrix @ np.linalg.pinv(matrix)) @ kept
