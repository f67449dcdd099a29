"""What training data say of tensors before the first step: their isotropic parts and their sizes.

A tensor of order one is what a network predicts easily. Buffers of the heads therefore hold, for
each element, the isotropic parts that composition alone explains, and the size of every other part;
errors are counted in the spread that composition leaves.
"""

from collections.abc import Sequence

import jax
import numpy as np

from tensornet_jax.models.heads.tensor_config import TensorHead
from tensornet_jax.potential.potential import Potential
from tensornet_jax.tensors.symmetry import TensorSymmetry
from tensornet_jax.tensors.voigt import from_mandel, to_mandel
from tensornet_jax.train.data.examples import Examples
from tensornet_jax.train.data.parts import DataError

MISFIT = 0.2
"""Share of the labels' norm that may lie outside their symmetry before it cannot be numerical."""

# Of the fit of isotropic parts to elements, in labels: rare elements stay near the mean.
_RIDGE = 1.0


def fit_tensors(potential: Potential, examples: Examples) -> tuple[Potential, dict[str, float]]:
    """Return the potential with its heads fitted to data, and the spread of each tensor.

    Args:
        potential: untrained.
        examples: training structures.

    Returns:
        The potential, and by name the root mean square over components of what composition does not
        explain, in the tensor's unit; without an entry where there is no label.

    Raises:
        DataError: labels do not have the symmetry of their head.
    """
    count = potential.config.num_levels
    each = [_fitted(potential, examples, k if count > 1 else None) for k in range(count)]
    values = {}
    for name in {name for found, _ in each for name in found}:
        rows = [found.get(name) for found, _ in each]
        values[name] = rows[0] if count == 1 else _stacked(name, rows)
    squares: dict[str, list[float]] = {}
    for _, spreads in each:
        for name, spread in spreads.items():
            squares.setdefault(name, []).append(spread**2)

    def fitted(path: tuple, leaf: jax.Array) -> jax.Array:
        value = values.get(getattr(path[-1], "key", ""))
        return leaf if value is None else jax.numpy.asarray(value, leaf.dtype)

    with potential.precision():
        buffers = jax.tree_util.tree_map_with_path(fitted, potential.variables["buffers"])
    spread = {name: float(np.mean(own)) ** 0.5 for name, own in squares.items()}
    return potential.replace(variables={**potential.variables, "buffers": buffers}), spread


def _stacked(name: str, rows: Sequence[np.ndarray | None]) -> np.ndarray:
    """Return buffers of all heads; where one has no label they stay what a model begins with."""
    known = next(row for row in rows if row is not None)
    first = np.ones_like(known) if name.startswith("scales_") else np.zeros_like(known)
    return np.stack([first if row is None else row for row in rows])


def _fitted(
    potential: Potential, examples: Examples, level: int | None
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return buffers by name, and spreads by tensor, of all examples or of those of one head."""
    values: dict[str, np.ndarray] = {}
    spreads: dict[str, float] = {}
    for head in potential.tensor_heads:
        rows = _labels(head, examples, len(potential.elements.numbers), level)
        if rows is None:
            continue
        labels, shares, atoms, sources = rows
        _check_symmetry(head, labels, sources)
        baseline, left = _isotropic_fit(head.space, labels, shares)
        spreads[head.name] = _rms(left) or _rms(labels) or 1.0
        if head.positive_definite:
            baseline, left = _isotropic_fit(head.space, _square_roots(labels), shares)
        grows = head.per == "structure" and not head.mean
        sizes = _sizes(head.space, left) / (atoms**0.5 if grows else 1.0)
        if head.positive_definite and not sizes[0]:
            sizes[0] = 0.1 * _rms(baseline) or 1.0
        values[f"scales_{head.name}"], values[f"baseline_{head.name}"] = sizes, baseline
    return values, spreads


def _labels(
    head: TensorHead, examples: Examples, num_species: int, level: int | None
) -> tuple[np.ndarray, np.ndarray, float, Sequence[str]] | None:
    """Return labels (M, 3, …), shares of elements (M, S), atoms of a structure, and sources."""
    labels, shares, sources, sizes = [], [], [], []
    for structure, targets, source in (examples[k] for k in range(len(examples))):
        label = targets.of(head.name)
        known = ~np.isnan(label.reshape(-1, 3**head.space.rank)).any(axis=1)
        if not known.any() or level not in (None, structure.head):
            continue
        share = np.eye(num_species)[structure.species]
        if head.per == "structure":
            label = label[None]
            share = (share.mean(axis=0) if head.mean else share.sum(axis=0))[None]
        labels.append(label[known])
        shares.append(share[known])
        sources += [source] * int(known.sum())
        sizes.append(len(structure))
    if not labels:
        return None
    return np.concatenate(labels), np.concatenate(shares), float(np.mean(sizes)), sources


def _check_symmetry(head: TensorHead, labels: np.ndarray, sources: Sequence[str]) -> None:
    outside = labels - head.space.from_irreps(head.space.to_irreps(labels))
    axes = tuple(range(1, labels.ndim))
    shares = np.sqrt(np.sum(outside**2, axes) / np.maximum(np.sum(labels**2, axes), 1e-300))
    if np.median(shares) > MISFIT:
        worst = int(np.argmax(shares))
        traces = ", without traces" if head.traceless else ""
        raise DataError(
            f"labels of {head.name} do not have the symmetry {head.symmetry}{traces} of its head: "
            f"the part of {sources[worst]} outside it has {shares[worst]:.0%} of its norm: check "
            f"form, per and order in data.labels.tensors.{head.name}, or the head's symmetry"
        )


def _isotropic_fit(
    space: TensorSymmetry, labels: np.ndarray, shares: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return isotropic parts by element (S, n), and what they leave of the labels (M, size)."""
    components = space.to_irreps(labels)
    count = sum(block.multiplicity for block in space.blocks if block.degree == 0)
    isotropic = components[:, :count]
    total = shares.sum(axis=1, keepdims=True)
    common = (total * isotropic).sum(axis=0) / (total**2).sum()
    rest = isotropic - total * common
    ridge = _RIDGE * float(np.mean(total**2)) * np.eye(shares.shape[1])
    deviations = np.linalg.solve(shares.T @ shares + ridge, shares.T @ rest)
    baseline = common + deviations
    left = components.copy()
    left[:, :count] -= shares @ baseline
    return baseline, left


def _sizes(space: TensorSymmetry, components: np.ndarray) -> np.ndarray:
    return np.array([_rms(components[:, block.slice]) for block in space.blocks])


def _square_roots(tensors: np.ndarray) -> np.ndarray:
    """Return square roots of symmetric tensors as matrices; negative eigenvalues count as zero."""
    fourth = tensors.ndim == 5
    values, vectors = np.linalg.eigh(to_mandel(tensors, 2) if fourth else tensors)
    roots = np.einsum("...ij,...j,...kj->...ik", vectors, np.sqrt(values.clip(min=0)), vectors)
    return from_mandel(roots, 2) if fourth else roots


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0
