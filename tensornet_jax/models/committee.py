"""A committee: several models of one configuration, and of other weights, side by side."""

from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.base import Model, ModelOutputs
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.models.registry import MODELS, Network


class Committee(Model[ModelConfig]):
    """The mean of `config.committee` models, each with parameters of its own.

    Parameters have a first axis of members, under the names that one model has them; buffers are
    those of one model.
    """

    def setup(self) -> None:
        """Create the members."""
        c = self.config
        one = c.model_copy(update={"committee": None})
        self.member = MODELS[c.name][1](one, self.numbers, self.dtype)
        nn.share_scope(self, self.member)

    def __call__(self, graph: AtomGraph) -> ModelOutputs:
        """Return the means of what the members predict."""
        return jax.tree.map(lambda values: jnp.mean(values, axis=0), self._of_members(graph))

    def energies_of_members(self, graph: AtomGraph) -> Float[Array, "atoms members"]:
        """Return what each member gives each atom: energies without unit; 0 for padding."""
        energies = self._of_members(graph).energies
        assert energies is not None
        return energies.T

    def _of_members(self, graph: AtomGraph) -> ModelOutputs:
        of_all = nn.vmap(
            lambda member, graph: member(graph),
            variable_axes={"params": 0, "buffers": None},
            split_rngs={"params": True},
            in_axes=None,  # pyright: ignore[reportArgumentType] (as jax.vmap has it)
            axis_size=self.config.committee,
        )
        return cast("ModelOutputs", of_all(self.member, graph))


def network_of(config: ModelConfig) -> Network:
    """Return what makes the module of a configuration, for `Potential.module`."""
    return Committee if config.committee else MODELS[config.name][1]
