"""Total charge and spin among MACE's first features, as mace-torch's joint embedding has them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.layers import torch_uniform
from tensornet_jax.models.mace.config import StateInput


class JointEmbedding(nn.Module):
    """What every atom of a structure gets of its charge and spin: silu(W [e_1, e_2, …]).

    An input's numbers e are a row of a table, or a small network's of the value itself.

    inputs: what enters, in the order in which their numbers stand side by side.
    features: numbers an atom gets.
    """

    inputs: tuple[StateInput, ...]
    features: int
    dtype: str

    @nn.compact
    def __call__(self, graph: AtomGraph) -> Float[Array, "atoms features"]:
        """Return features of the atoms; NaN where a value has no row in its table."""
        values = {"charge": graph.charge, "spin": graph.spin}
        parts = [self._embedded(each, values[each.name], graph) for each in self.inputs]
        joined = jnp.concatenate(parts, axis=-1)
        width = joined.shape[-1]
        kernel = self.param("project", torch_uniform(width), (width, self.features), self.dtype)
        return jax.nn.silu(joined @ kernel)[graph.node_graph]

    def _embedded(self, each: StateInput, values: Array, graph: AtomGraph) -> Array:
        if each.num_classes is None:
            return self._network(each, values.astype(self.dtype)[:, None])
        shape = (each.num_classes, each.width)
        table = self.param(f"{each.name}_table", nn.initializers.normal(1.0), shape, self.dtype)
        places = values + each.offset
        rows = places.astype(int)
        known = (rows == places) & (rows >= 0) & (rows < each.num_classes)
        found = table[jnp.where(known, rows, 0)]
        # Padding has no state.
        return jnp.where((known | ~graph.graph_mask)[:, None], found, jnp.nan)

    def _network(self, each: StateInput, values: Array) -> Array:
        for index, fan_in in enumerate((1, each.width)):
            init = torch_uniform(fan_in)
            name = f"{each.name}_kernel_{index}"
            values = values @ self.param(name, init, (fan_in, each.width), self.dtype)
            if each.biases:
                name = f"{each.name}_bias_{index}"
                values = values + self.param(name, init, (each.width,), self.dtype)
            if not index:
                values = jax.nn.silu(values)
        return values
