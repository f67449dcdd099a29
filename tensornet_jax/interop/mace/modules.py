"""Which module of mace-torch is which module here."""

from tensornet_jax.interop.mace.layouts import (
    BySpecies,
    Contractions,
    EdgeNetwork,
    Layout,
    Linear,
    RadialNetwork,
    Single,
)
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.ops.messages.edge_products import PathProduct
from tensornet_jax.ops.tensor_products.symmetric_contraction import SymmetricContraction


def layouts(config: MACEConfig, num_species: int) -> list[Layout]:
    """Return the layouts of all modules with weights, of a model with one head."""
    channels, last = config.num_channels, config.num_layers - 1
    found: list[Layout] = [
        Single(
            "node_embedding.linear.weight",
            "",
            "embedding",
            (num_species, channels),
            (num_species * channels,),
        )
    ]
    for layer in range(config.num_layers):
        found += _of_layer(config, num_species, layer)
        if layer < last:
            found.append(_vector(f"readouts.{layer}.linear.weight", f"energy_{layer}", channels))
    name, width = f"readouts.{last}", config.readout_width
    if width is None:
        found.append(_vector(f"{name}.linear.weight", "energy_last", channels))
    else:
        shape = (channels, width)
        first = Single(
            f"{name}.linear_1.weight", "energy_last", "kernel_0", shape, (channels * width,)
        )
        second = _vector(f"{name}.linear_2.weight", "energy_last", width, "kernel_1")
        found += [first, second]
    return found


def contractions(config: MACEConfig, layer: int) -> Contractions:
    """Return the layout of one layer's many-body step."""
    contraction = SymmetricContraction(config.l_max, _l_out_max(config, layer), config.correlation)
    return Contractions(
        f"products.{layer}.symmetric_contractions", f"many_body_{layer}", contraction
    )


def message_product(config: MACEConfig, layer: int) -> PathProduct:
    """Return the product of one layer's messages."""
    return PathProduct(config.hidden_l_max if layer else 0, config.l_max, config.parity)


def _of_layer(config: MACEConfig, num_species: int, layer: int) -> list[Layout]:
    channels, product = config.num_channels, message_product(config, layer)
    name, path = f"interactions.{layer}", f"interaction_{layer}"
    incoming = (channels,) * (product.l_in_max + 1)
    messages = tuple(copies * channels for copies in product.num_copies)
    outgoing = (channels,) * (_l_out_max(config, layer) + 1)
    if config.interaction == "gated":
        return _of_gated_layer(config, num_species, layer)
    mixed = config.kind_of_layer(layer) == "mixed"
    # Of what is kept, only degrees that go on.
    degrees = config.l_max + 1 if mixed else min(len(incoming), len(outgoing))
    hidden = len(config.radial_widths)
    found: list[Layout] = [
        Linear(f"{name}.linear_up", f"{path}/before", incoming, incoming),
        RadialNetwork(f"{name}.conv_tp_weights", f"{path}/radial", hidden, channels, product),
        Linear(f"{name}.linear", f"{path}/after", messages, (channels,) * len(messages)),
        BySpecies(f"{name}.skip_tp", f"element_{layer}", degrees, channels, num_species),
        contractions(config, layer),
        Linear(f"products.{layer}.linear", f"update_{layer}", outgoing, outgoing),
    ]
    if config.neighbor_normalization == "density":
        shape = (config.num_radial, 1)
        found.append(Single(f"{name}.density_fn.layer0.weight", path, "density", shape, shape))
    return found


def _of_gated_layer(config: MACEConfig, num_species: int, layer: int) -> list[Layout]:
    channels, product = config.num_channels, message_product(config, layer)
    name, path = f"interactions.{layer}", f"interaction_{layer}"
    incoming = (channels,) * (product.l_in_max + 1)
    messages = tuple(copies * channels for copies in product.num_copies)
    outgoing = (channels,) * (_l_out_max(config, layer) + 1)
    every = (channels,) * (config.l_max + 1)
    # Scalars, and a gate for each channel of each higher degree.
    before_gate = (channels * (config.l_max + 1), *every[1:])
    kept = min(incoming, outgoing, key=len)
    hidden = len(config.radial_widths)
    table, flat = (num_species, channels), (num_species * channels,)
    return [
        *(
            Single(f"{name}.{end}_embedding.weight", path, end, table, flat)
            for end in ("source", "target")
        ),
        *(Single(f"{name}.{key}", path, key, (), ()) for key in ("alpha", "beta")),
        Linear(f"{name}.skip_tp", f"{path}/skip", kept, kept),
        Linear(f"{name}.linear_up", f"{path}/before", incoming, incoming),
        Linear(f"{name}.linear_res", f"{path}/residual", incoming, before_gate[: len(incoming)]),
        Linear(f"{name}.linear_1", f"{path}/after", messages, before_gate),
        Linear(f"{name}.linear_2", f"{path}/mixed", every, every),
        EdgeNetwork(f"{name}.conv_tp_weights", f"{path}/radial", hidden, channels, product),
        EdgeNetwork(f"{name}.density_fn", f"{path}/density", 1, channels, None),
        contractions(config, layer),
        Linear(f"products.{layer}.linear", f"update_{layer}", outgoing, outgoing),
    ]


def _l_out_max(config: MACEConfig, layer: int) -> int:
    return config.hidden_l_max if layer < config.num_layers - 1 else 0


def _vector(name: str, path: str, rows: int, key: str = "kernel_0") -> Single:
    return Single(name, path, key, (rows, 1), (rows,))
