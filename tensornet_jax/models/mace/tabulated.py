"""What of a MACE depends on a distance and two elements alone, and the model with tables of it."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax.typing import VariableDict
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.models.layers import Perceptron
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.models.mace.gated import DENSITY_WIDTH, EdgeNetwork
from tensornet_jax.models.mace.radial import RadialBasis, envelope

_TABULATED = ("source", "target")


def radial_functions(
    config: MACEConfig,
    numbers: tuple[int, ...],
    dtype: str,
    variables: VariableDict,
    distances: Float[Array, " distances"],
    species: tuple[Int[Array, ""], Int[Array, ""]],
) -> list[Float[Array, "distances functions"]]:
    """Return the weights of each layer's messages, and its density where it has one.

    Args:
        config: of the model.
        numbers: its element table.
        dtype: its precision.
        variables: of the model, not compressed.
        distances: Å.
        species: of the receiver and the sender.
    """
    c, params, buffers = config, variables["params"], variables.get("buffers", {})
    ends = tuple(jnp.broadcast_to(each, distances.shape) for each in species)
    basis = RadialBasis(c, numbers, dtype, parent=None)
    made = basis.apply({"buffers": buffers.get("basis", {})}, distances, ends)
    assert not isinstance(made, tuple)
    ending = envelope(c, distances) if c.cutoff_function == "messages" else 1.0
    found = []
    for layer in range(c.num_layers):
        own = params[f"interaction_{layer}"]
        if c.interaction == "gated":
            scale = buffers.get(f"interaction_{layer}", {}).get("species_scale", 1.0)
            values = _of_edge_networks(c, own, scale, dtype, made, species)
        else:
            values = _of_radial_network(c, own, dtype, made)
        found += [each * ending for each in values]
    return found


def _of_radial_network(
    c: MACEConfig, own: VariableDict, dtype: str, basis: Array
) -> list[Array]:
    width = own["radial"][f"kernel_{len(c.radial_widths)}"].shape[1]
    network = Perceptron(c.radial_widths, width, dtype, c.unit_weights, parent=None)
    weights = network.apply({"params": own["radial"]}, basis)
    assert not isinstance(weights, tuple)
    if c.neighbor_normalization == "mean":
        return [weights]
    kernel = own["density"] * (len(own["density"]) ** -0.5 if c.unit_weights else 1.0)
    return [weights, jnp.tanh((basis @ kernel) ** 2)]


def _of_edge_networks(
    c: MACEConfig,
    own: VariableDict,
    scale: Array | float,
    dtype: str,
    basis: Array,
    species: tuple[Array, Array],
) -> list[Array]:
    receiver, sender = species
    source, target = scale * own["source"][sender], scale * own["target"][receiver]
    found = []
    for name, widths in (("radial", c.radial_widths), ("density", (DENSITY_WIDTH,))):
        size = own[name][f"bias_{len(widths)}"].shape[0]
        network = EdgeNetwork(widths, size, dtype, parent=None)
        values = network.apply({"params": own[name]}, basis, source, target, None)
        assert not isinstance(values, tuple)
        found.append(values)
    weights, density = found
    return [weights, jnp.tanh(density**2)]


def with_tables(
    config: MACEConfig,
    variables: VariableDict,
    table: Float[Array, "*species coefficients rank"],
    matrices: Sequence[Float[Array, "rank functions"]],
) -> VariableDict:
    """Return the variables of the model with splines in place of its `radial_functions`."""
    params = dict(variables["params"]) | {"radial": {"table": table}}
    buffers = dict(variables.get("buffers", {}))
    buffers.pop("basis", None)
    # With unit weights the network divides by the root of the rows.
    factor = table.shape[-1] ** 0.5 if config.unit_weights else 1.0
    remaining = [factor * matrix for matrix in matrices]
    gated = config.interaction == "gated"
    for layer in range(config.num_layers):
        name = f"interaction_{layer}"
        own = {key: v for key, v in params[name].items() if key not in _TABULATED}
        own["radial"] = {"kernel_0": remaining.pop(0)}
        if gated or config.neighbor_normalization == "density":
            density = remaining.pop(0)
            own["density"] = {"kernel_0": density} if gated else density
        params[name] = own
        if gated:
            # The scale of its embeddings of elements.
            buffers.pop(name, None)
    return {"params": params, "buffers": buffers}
