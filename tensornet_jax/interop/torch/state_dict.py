"""Move the tensors of a torch state dict into a module's variables, each of them exactly once."""

from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Shaped

from tensornet_jax.potential.potential import Potential

Weights = Mapping[str, "np.ndarray | Weights"]
"""Arrays by the names of layers and parameters, nested as flax has them."""


class StateDict:
    """Named arrays of a checkpoint, and which of them have been asked for.

    Linear weights lie as torch has them, (out, in).
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], not_weights: Collection[str] = ()):
        """Wrap a checkpoint.

        Args:
            tensors: names → arrays.
            not_weights: names that may be there and are no weights, or are read elsewhere.
        """
        self.tensors = tensors
        self._used = set(not_weights)

    def take(self, name: str) -> Shaped[np.ndarray, "..."]:
        """Return a tensor by its name; ValueError if the checkpoint lacks it."""
        if name not in self.tensors:
            raise ValueError(f"the checkpoint lacks {name}")
        self._used.add(name)
        return self.tensors[name]

    def kernel(self, name: str) -> dict[str, np.ndarray]:
        """Return a linear layer without bias, transposed to (in, out)."""
        return {"kernel": self.take(f"{name}.weight").T}

    def linear(self, name: str) -> dict[str, np.ndarray]:
        """Return a linear layer with bias."""
        return {**self.kernel(name), "bias": self.take(f"{name}.bias")}

    def norm(self, name: str) -> dict[str, np.ndarray]:
        """Return a layer normalization."""
        return {"scale": self.take(f"{name}.weight"), "bias": self.take(f"{name}.bias")}

    def into(self, potential: Potential, variables: Weights) -> dict[str, Any]:
        """Return the variables in the potential's precision.

        Args:
            potential: what they are for; its own variables don't matter.
            variables: {"params": …, "buffers": …} of what was taken.

        Raises:
            ValueError: a tensor of the checkpoint was left over, or one is missing or misshapen for
                the potential's module; the message names it.
        """
        unused = sorted(set(self.tensors) - self._used)
        if unused:
            raise ValueError(f"the checkpoint holds tensors this model has no place for: {unused}")
        expected = potential.variable_shapes()
        if jax.tree.structure(expected) != jax.tree.structure(variables):
            raise ValueError("the checkpoint's tensors do not make up the configured model")

        def cast(
            path: jax.tree_util.KeyPath, reference: jax.ShapeDtypeStruct, value: np.ndarray
        ) -> jax.Array:
            value = np.asarray(value)
            if value.shape != reference.shape:
                raise ValueError(
                    f"{jax.tree_util.keystr(path)} has shape {value.shape} in the checkpoint, "
                    f"{reference.shape} in the configured model"
                )
            return jax.numpy.asarray(value, potential.dtype)

        with potential.precision():
            return jax.tree_util.tree_map_with_path(cast, expected, variables)
