"""Several levels of theory in one model: read-outs for each, and for each structure its own.

What a model finds out about atoms is the same for all levels; read-outs are not. They are evaluated
for all levels side by side, with parameters that have a first axis of levels, and every structure
says whose numbers it takes (`AtomGraph.head`): one batch mixes levels, and one compiled program
serves all of them. No gradient of a structure reaches the read-outs of another level.
"""

from typing import TypeVar

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.config import ModelConfig

ModuleT = TypeVar("ModuleT", bound=nn.Module)

LEVEL_SCALES = "level_scales"
"""Name of the buffer with the energy scale of each level, in units of the potential's."""


def each_level(config: ModelConfig, module: type[ModuleT]) -> type[ModuleT]:
    """Return a kind of module that has parameters and buffers for each level of a model.

    What it gives has a first axis of levels. Of a model with one level it is the module as it is.

    Args:
        config: of the model.
        module: a read-out; it is called with the same arguments for all levels.
    """
    if config.num_levels == 1:
        return module
    return nn.vmap(
        module,
        in_axes=None,  # pyright: ignore[reportArgumentType] (as jax.vmap has it)
        out_axes=0,
        axis_size=config.num_levels,
        variable_axes={"params": 0, "buffers": 0},
        split_rngs={"params": True},
    )


def own_level(graph: AtomGraph) -> Int[Array, " structures"]:
    """Return the place of each structure's level among those of the model; 0 for padding.

    Raises:
        ValueError: the graph does not say, so that it was made for a model with one level.
    """
    if graph.head is None:
        raise ValueError(
            "a graph for a model with several heads needs `head`, the place of each structure's"
        )
    return graph.head


def of_level(
    values: Float[Array, "levels rows ..."], level: Int[Array, " rows"]
) -> Float[Array, "rows ..."]:
    """Return of each row the values of its level.

    Args:
        values: of all levels.
        level: of each row.
    """
    levels = jnp.arange(values.shape[0])[:, None]
    # Not a gather, whose derivative is a scatter.
    own = (level == levels).reshape(*values.shape[:2], *(1,) * (values.ndim - 2))
    return jnp.sum(jnp.where(own, values, 0), axis=0)
