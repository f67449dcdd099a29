"""Which axes of a model's parameters run over its elements."""

import jax
import numpy as np
from ase.data import chemical_symbols

from tensornet_jax.graph.atom_graph import Capacity, batch_structures
from tensornet_jax.models import MODELS
from tensornet_jax.models.common import ModelConfig
from tensornet_jax.parameter_paths import by_path
from tensornet_jax.precision import precision_scope


def species_axes(config: ModelConfig, numbers: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the axes that change when the model is asked for one more element.

    An axis that only happens to be as long as the element table does not change with it, so nothing
    has to be known of any model, and what a new model keeps for each element is found too.

    Args:
        config: of the model.
        numbers: its element table.

    Returns:
        path of each parameter and buffer ("params/embedding", …) → its axes over the elements, as
        often as not none.

    Raises:
        ValueError: something depends on the number of elements in another way.
    """
    others = [number for number in range(len(chemical_symbols)) if number not in numbers]
    other = (*numbers, others[-1]) if others else numbers[:-1]
    now, then = _shapes(config, numbers), _shapes(config, other)
    sizes, axes = (len(numbers), len(other)), {}
    for path in now.keys() | then.keys():
        before, after = now.get(path), then.get(path)
        if before is None or after is None or len(before) != len(after):
            raise ValueError(_unclear(config, path, before, after))
        pairs = list(enumerate(zip(before, after, strict=True)))
        axes[path] = tuple(axis for axis, (old, new) in pairs if old != new)
        if any(change != sizes for _, change in pairs if change[0] != change[1]):
            raise ValueError(_unclear(config, path, before, after))
    return axes


def _shapes(config: ModelConfig, numbers: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    dtype = "float32"
    module = MODELS[config.name][1](config, numbers, dtype)
    with precision_scope(dtype):
        graph = batch_structures([], Capacity.holding([]), dtype)
        variables = jax.eval_shape(module.init, jax.random.key(0), graph)
    return {path: np.shape(leaf) for path, leaf in by_path(variables).items()}


def _unclear(config: ModelConfig, path: str, before: object, after: object) -> str:
    return (
        f"{path} of model {config.name} has shape {before} and with another number of elements "
        f"{after}: only axes that run over the elements alone can be extended or shortened"
    )
