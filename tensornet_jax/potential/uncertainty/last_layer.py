"""What the last linear layer of a model's energies sees of each atom.

The energy of an atom is linear in the weights w of that layer, so that its features, whatever the
read-out does besides, are φ_i = ∂E_i/∂w. `ModelConfig.last_weights` says which weights these are.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.parameter_paths import by_path, nested
from tensornet_jax.potential.variables import Variables


def last_layer_features(
    module: nn.Module, variables: Variables, graph: AtomGraph
) -> Float[Array, "atoms features"]:
    """Derivatives of the energies of atoms, without unit, by the weights of the last layer.

    The network runs once: only what depends on these weights is done for each of them.

    Args:
        module: a model of ``MODELS`` whose configuration has `last_weights`.
        variables: its parameters and buffers.
        graph: padded structures.

    Returns:
        in the order of `last_layer_weights`; 0 for padding.
    """
    params = by_path(variables["params"])
    last = {path: params[path] for path in module.config.last_weights}
    weights, restored = ravel_pytree(last)

    def energies(weights: Array) -> Array:
        merged = nested(params | restored(weights))
        outputs = module.apply({**variables, "params": merged}, graph)
        # A tuple comes only with mutable collections.
        assert not isinstance(outputs, tuple)
        return outputs["energies"]

    _, along = jax.linearize(energies, weights)
    return jax.vmap(along)(jnp.eye(weights.size, dtype=weights.dtype)).T


def uncertain_features(
    module: nn.Module, variables: Variables, graph: AtomGraph
) -> Float[Array, "atoms features"]:
    """What energies are linear in where their weights are not sure, without unit; 0 for padding.

    Of a committee these are the energies that its members give the atoms, of any other model
    `last_layer_features`.
    """
    if not module.config.committee:
        return last_layer_features(module, variables, graph)
    found = module.apply(variables, graph, method="energies_of_members")
    assert not isinstance(found, tuple)
    return found


def last_layer_weights(module: nn.Module, variables: Variables) -> Float[Array, " features"]:
    """Weights of the last layer, in the order of `last_layer_features`."""
    params = by_path(variables["params"])
    return ravel_pytree({path: params[path] for path in module.config.last_weights})[0]
