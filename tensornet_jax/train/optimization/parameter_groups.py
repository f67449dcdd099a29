"""Which parameters are trained, and at what multiple of the learning rate: patterns over paths."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

import numpy as np
import optax
from jaxtyping import PyTree

from tensornet_jax.config import unknown_name
from tensornet_jax.models.parameter_paths import by_path, nested
from tensornet_jax.train.config.optimizer import OptimizerConfig


@dataclass(frozen=True)
class ParameterGroups:
    """What the optimizer section says of single parameters.

    A pattern is a path or the beginning of one, whose parts are joined by "/", with * for anything:
    "embedding" is all of the embedding, "layers_*" all layers, "*/bias" every bias.

    Attributes:
        frozen: paths of parameters that are not trained.
        factors: path → factor on the learning rate, where it is not 1.
    """

    frozen: frozenset[str] = frozenset()
    factors: Mapping[str, float] | None = None

    @classmethod
    def from_config(cls, config: OptimizerConfig, params: PyTree) -> Self:
        """Find the parameters that the patterns mean.

        Raises:
            ValueError: a pattern means none, or none that is trained, or nothing is left to train.
        """
        paths = tuple(by_path(params))
        frozen: set[str] = set()
        for pattern in config.frozen:
            frozen |= set(_matching(pattern, paths, "frozen"))
        if len(frozen) == len(paths):
            raise ValueError("optimizer.frozen: nothing is left to train: freeze fewer parameters")
        factors: dict[str, float] = {}
        for pattern, factor in config.learning_rates.items():
            trained = set(_matching(pattern, paths, "learning_rates")) - frozen
            if not trained:
                raise ValueError(
                    f"optimizer.learning_rates: all that {pattern!r} means is frozen: remove one"
                )
            factors |= dict.fromkeys(trained, factor)
        return cls(frozenset(frozen), {path: f for path, f in factors.items() if f != 1.0})

    def trained(self, params: PyTree) -> PyTree:
        """Return the parameters without the frozen ones, for which no gradient is computed."""
        if not self.frozen:
            return params
        leaves = by_path(params)
        return nested({path: leaf for path, leaf in leaves.items() if path not in self.frozen})

    def merged(self, params: PyTree, trained: PyTree) -> PyTree:
        """Return the parameters with those that are trained replaced; the frozen ones are kept."""
        return nested(by_path(params) | by_path(trained)) if self.frozen else trained

    def scaling(self) -> optax.GradientTransformation:
        """Return what multiplies each update of a trained parameter by its factor."""
        factors = self.factors or {}

        def factor_of(updates: PyTree) -> PyTree[float]:
            return nested({path: factors.get(path, 1.0) for path in by_path(updates)})

        rules: dict[Hashable, optax.GradientTransformation]
        rules = {factor: optax.scale(factor) for factor in (*factors.values(), 1.0)}
        return optax.partition(rules, factor_of)

    def count(self, params: PyTree) -> int:
        """Return how many numbers are trained."""
        return sum(int(np.size(leaf)) for leaf in by_path(self.trained(params)).values())


def _matching(pattern: str, paths: tuple[str, ...], setting: str) -> list[str]:
    found = [path for path in paths if _means(pattern, path)]
    if not found:
        groups = tuple(dict.fromkeys(path.split("/")[0] for path in paths))
        raise ValueError(
            f"optimizer.{setting}: no parameter matches: "
            f"{unknown_name(pattern, groups, 'parameter group')}"
        )
    return found


def _means(pattern: str, path: str) -> bool:
    parts = path.split("/")
    return any(
        fnmatchcase("/".join(parts[: depth + 1]), pattern.rstrip("/"))
        for depth in range(len(parts))
    )
