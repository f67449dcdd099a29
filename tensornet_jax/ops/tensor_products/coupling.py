"""The full Clebsch–Gordan product: every path, one weight each."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from tensornet_jax.ops.bilinear import BilinearMap
from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan
from tensornet_jax.ops.tensor_products.protocol import Path, TensorProduct

# Up to how many table entries for each product x_a y_b a sum over the non-zero coefficients was the
# fastest on two CPU cores, forward and backward: of all paths at once, and of pairs with weights.
_MOST_ENTRIES_A_PRODUCT = 5.0
_MOST_ENTRIES_WITH_WEIGHTS = 3.5

Form = Literal["auto", "dense", "fused", "sparse"]


@dataclass(frozen=True)
class ClebschGordan(TensorProduct):
    """z_{l3} = Σ_{l1 l2} w_{l1 l2 l3} Σ_{m1 m2} C x_{l1 m1} y_{l2 m2} over all triangles.

    `weights` (..., num_weights) has one number a path, in the order of `paths`.

    Attributes:
        form: how it is computed; the numbers are the same. ``dense``: a small dense contraction
            for each pair (l1, l2), O(L⁶). ``fused``: one product with the matrix of all
            coefficients, of the outer product of x and y or, where that is no larger than the
            matrix that y makes of them, of y; O(L⁶). ``sparse``: a sum over the non-zero
            coefficients (m3 = ±m1 ± m2), O(L⁵); with weights, pair by pair. ``auto``: the fastest
            measured: on CPUs `sparse` for small tables and `fused`, with weights `dense`, for
            large ones; elsewhere `fused`, with weights `dense`.
    """

    form: Form = "auto"

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            names = ", ".join(get_args(Form))
            raise ValueError(f"unknown form {self.form!r} of ClebschGordan: use one of {names}")
        super().__post_init__()

    def path_coefficient(self, l1: int, l2: int, l3: int) -> float:
        """One on every path."""
        return 1.0

    @property
    def num_weights(self) -> int:
        """One weight a path."""
        return len(self.paths)

    def _apply(self, x: Array, y: Array, weights: Array | None) -> Array:
        if weights is None and self.form != "dense":
            return self._map(x, y)
        if self.form == "fused" and weights is not None:
            return self._weight_matrices(x, y, weights)
        return self._pair_by_pair(x, y, weights)

    @cached_property
    def _map(self) -> BilinearMap:
        """All paths at once, without weights."""
        tensor = self.coefficients()
        sizes = tensor.shape
        kernel = "outer" if sizes[0] * sizes[1] < min(sizes[:2]) * sizes[2] else "matrices"
        terms = BilinearMap(tensor, "terms")
        if self._prefers(terms, _MOST_ENTRIES_A_PRODUCT):
            return terms
        return BilinearMap(tensor, kernel)

    def _prefers(self, terms: BilinearMap, most_entries: float) -> bool:
        """Whether to sum over the non-zero coefficients."""
        if self.form != "auto":
            return self.form == "sparse"
        products = self.degrees[0].size * self.degrees[1].size
        on_cpu = jax.default_backend() == "cpu"
        return on_cpu and terms.terms[0].size <= most_entries * products

    @cached_property
    def _paths_of_pairs(self) -> dict[tuple[int, int], list[Path]]:
        pairs: dict[tuple[int, int], list[Path]] = {}
        for path in self.paths:
            pairs.setdefault((path.l1, path.l2), []).append(path)
        return pairs

    @cached_property
    def _maps_of_pairs(self) -> dict[tuple[int, int], BilinearMap]:
        terms = BilinearMap(self.coefficients(), "terms")
        kernel = "terms" if self._prefers(terms, _MOST_ENTRIES_WITH_WEIGHTS) else "outer"
        return {
            pair: BilinearMap(
                np.concatenate([self.path_factor(p) * clebsch_gordan(*p) for p in paths], axis=-1),
                kernel,
            )
            for pair, paths in self._paths_of_pairs.items()
        }

    def _pair_by_pair(self, x: Array, y: Array, weights: Array | None) -> Array:
        """Sum over the pairs (l1, l2), each with all its l3 side by side."""
        first, second, third = self.degrees
        parts: dict[int, Array] = {}
        number = 0
        for (l1, l2), paths in self._paths_of_pairs.items():
            product = self._maps_of_pairs[l1, l2](x[..., first.slice(l1)], y[..., second.slice(l2)])
            start = 0
            for path in paths:
                part = product[..., start : start + 2 * path.l3 + 1]
                start += 2 * path.l3 + 1
                if weights is not None:
                    part = part * weights[..., number, None]
                number += 1
                parts[path.l3] = parts[path.l3] + part if path.l3 in parts else part
        some = next(iter(parts.values()))
        leading = jnp.broadcast_shapes(*(part.shape[:-1] for part in parts.values()))
        zeros = {l3: jnp.zeros((*leading, 2 * l3 + 1), some.dtype) for l3 in third}
        return jnp.concatenate([parts.get(l3, zeros[l3]) for l3 in third], axis=-1)

    def _weight_matrices(self, x: Array, y: Array, weights: Array) -> Array:
        """Weight the matrix that each degree of y makes before it acts on x."""
        first, second, third = self.degrees
        tensor = self.coefficients()
        # One more weight, zero, where degrees don't couple.
        weights = jnp.concatenate([weights, jnp.zeros_like(weights[..., :1])], axis=-1)
        number = {path: i for i, path in enumerate(self.paths)}
        matrices = jnp.zeros((), y.dtype)
        for l2 in second:
            block = tensor[:, second.slice(l2)].transpose(1, 0, 2).astype(y.dtype)
            of_y = jnp.tensordot(
                y[..., second.slice(l2)], block, axes=1, precision=lax.Precision.HIGHEST
            )
            which = [[number.get(Path(l1, l2, l3), -1) for l3 in third] for l1 in first]
            which = np.array(which)[first.of_components - first.first]
            which = which[:, third.of_components - third.first]
            matrices = matrices + of_y * weights[..., which]
        product = jnp.matmul(x[..., None, :], matrices, precision=lax.Precision.HIGHEST)
        return product[..., 0, :]
