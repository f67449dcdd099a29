"""What of a MACE depends on a distance and two elements alone, and the model with tables of it."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from flax.typing import Collection, VariableDict
from jax import Array, lax
from jaxtyping import Float, Int, PyTree

from tensornet_jax.models.layers import SILU_GAIN, SILU_GAIN_OF_E3NN, Perceptron
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.models.mace.gated import DENSITY_WIDTH, EdgeNetwork
from tensornet_jax.models.mace.radial import RadialBasis, envelope
from tensornet_jax.models.parameter_paths import by_path, nested

_TABULATED = ("source", "target", "radial", "density")

_OF_UNIT_WEIGHTS = ("interaction_", "element_", "update_")


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


def _of_radial_network(c: MACEConfig, own: Collection, dtype: str, basis: Array) -> list[Array]:
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
    own: Collection,
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
    """Return the variables of the model with splines in place of its `radial_functions`.

    They are of `parametrization: own`, whose networks have no factors of normalization to multiply
    weights by at each call.
    """
    params, buffers = dict(variables["params"]), dict(variables.get("buffers", {}))
    buffers.pop("basis", None)
    remaining = list(matrices)
    gated = config.interaction == "gated"
    for layer in range(config.num_layers):
        name = f"interaction_{layer}"
        own = {key: v for key, v in params[name].items() if key not in _TABULATED}
        if gated:
            # The scale of its embeddings of elements.
            buffers.pop(name, None)
        params[name] = own
    if config.unit_weights:
        params, buffers = _without_factors(config, params, buffers)
    for layer in range(config.num_layers):
        added: dict[str, PyTree[Array]] = {"radial": {"kernel_0": remaining.pop(0)}}
        if gated:
            added["density"] = {"kernel_0": remaining.pop(0)}
        elif config.neighbor_normalization == "density":
            added["density"] = remaining.pop(0)
        params[f"interaction_{layer}"] |= added
    return {"params": params | {"radial": {"table": table}}, "buffers": buffers}


def _without_factors(
    config: MACEConfig, params: Collection, buffers: Collection
) -> tuple[dict[str, PyTree[Array]], dict[str, PyTree[Array]]]:
    """Return parameters of `parametrization: own` that are the same function, and buffers."""
    scales = {
        name: own["species_scale"]
        for name, own in buffers.items()
        if isinstance(own, Mapping) and "species_scale" in own
    }
    read_outs = tuple(f"{head}_" for head in config.own_heads)
    found = {}
    for path, leaf in by_path(dict(params)).items():
        owner, name = path.split("/")[0], path.split("/")[-1]
        if owner == "embedding":
            leaf = leaf * buffers["species_scale"]
        elif owner.startswith("many_body_"):
            leaf = _of_polynomials(leaf, buffers[owner])
        elif owner.startswith((*_OF_UNIT_WEIGHTS, *read_outs)) and name.startswith("kernel_"):
            leaf = leaf * leaf.shape[-2] ** -0.5 * scales.get(owner, 1.0)
            if owner.startswith(read_outs) and name != "kernel_0":
                leaf = leaf * (SILU_GAIN_OF_E3NN / SILU_GAIN)
        found[path] = leaf
    kept = {name: own for name, own in buffers.items() if name == "state_scale"}
    return nested(found), kept


def _of_polynomials(weights: Array, bases: Collection) -> Array:
    """Weights of couplings as weights of the independent polynomials, block by block."""
    each = [bases[f"basis_{index}"] for index in range(len(bases))]
    ends = np.cumsum([len(basis) for basis in each])[:-1]
    parts = jnp.split(weights, ends, axis=1)
    return jnp.concatenate(
        [
            jnp.einsum("skc,kp->spc", part, basis, precision=lax.Precision.HIGHEST)
            for part, basis in zip(parts, each, strict=True)
        ],
        axis=1,
    )
