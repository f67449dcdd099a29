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
from tensornet_jax.interop.mace.state import layouts_of_state
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
        ),
        *layouts_of_state(config),
    ]
    for layer in range(config.num_layers):
        found += _of_layer(config, num_species, layer)
        if layer < last and config.readouts == "all":
            found.append(_vector(f"readouts.{layer}.linear.weight", f"energy_{layer}", channels))
    name, width = last_read_out(config), config.readout_width
    if width is None:
        found.append(_vector(f"{name}.linear.weight", "energy_last", channels))
    else:
        shape = (channels, width)
        found.append(
            Single(f"{name}.linear_1.weight", "energy_last", "kernel_0", shape, (channels * width,))
        )
        found += _after_first(name, width, biases=config.readout_biases)
    return found


def _after_first(name: str, width: int, *, biases: bool) -> list[Layout]:
    """The layers of the last read-out but its first."""
    if not biases:
        return [_vector(f"{name}.linear_2.weight", "energy_last", width, "kernel_1")]
    square, path = (width, width), "energy_last"
    return [
        Single(f"{name}.linear_mid.weight", path, "kernel_1", square, (width**2,)),
        Single(f"{name}.linear_mid.bias", path, "bias_1", (width,), (width,)),
        _vector(f"{name}.linear_2.weight", path, width, "kernel_2"),
        Single(f"{name}.linear_2.bias", path, "bias_2", (1,), (1,)),
    ]


def sums_over_species(config: MACEConfig) -> list[tuple[str, tuple[str, ...]]]:
    """Return the modules whose parameters e3nn divides by the root of the number of elements.

    Their paths, and the beginnings of the names of these parameters.
    """
    if config.interaction == "gated":
        names = [f"interaction_{layer}" for layer in range(config.num_layers)]
        return [("", ("embedding",)), *((name, ("source", "target")) for name in names)]
    names = [f"element_{layer}" for layer in range(config.num_layers)]
    return [("", ("embedding",)), *((name, ("kernel",)) for name in names)]


def last_read_out(config: MACEConfig) -> str:
    """Name of the last layer's read-out."""
    return f"readouts.{config.num_layers - 1 if config.readouts == 'all' else 0}"


def contractions(config: MACEConfig, layer: int) -> Contractions:
    """Return the layout of one layer's many-body step."""
    contraction = SymmetricContraction(
        config.l_max, config.made_in_layer(layer), config.correlation
    )
    return Contractions(
        f"products.{layer}.symmetric_contractions", f"many_body_{layer}", contraction
    )


def message_product(config: MACEConfig, layer: int) -> PathProduct:
    """Return the product of one layer's messages."""
    return PathProduct(config.sent_in_layer(layer)[1], config.l_max, config.parity)


class _Sizes:
    """Channels by degree of what goes in, is sent, arrives and goes out in one layer."""

    def __init__(self, config: MACEConfig, layer: int):
        self.product = message_product(config, layer)
        channels, self.sent_channels = config.num_channels, config.sent_in_layer(layer)[0]
        self.incoming = (channels,) * ((config.hidden_l_max if layer else 0) + 1)
        self.sent = (self.sent_channels,) * (self.product.l_in_max + 1)
        self.messages = tuple(copies * self.sent_channels for copies in self.product.num_copies)
        self.outgoing = (channels,) * (config.made_in_layer(layer) + 1)
        self.kept = min(self.incoming, self.outgoing, key=len)


def _of_layer(config: MACEConfig, num_species: int, layer: int) -> list[Layout]:
    channels, sizes = config.num_channels, _Sizes(config, layer)
    name, path = f"interactions.{layer}", f"interaction_{layer}"
    if config.interaction == "gated":
        return _of_gated_layer(config, num_species, layer)
    mixed = config.kind_of_layer(layer) == "mixed"
    # Of what is kept, only degrees that go on.
    degrees = config.l_max + 1 if mixed else len(sizes.kept)
    hidden = len(config.radial_widths)
    found: list[Layout] = [
        Linear(
            f"{name}.linear_up", f"{path}/before", sizes.incoming[: len(sizes.sent)], sizes.sent
        ),
        RadialNetwork(
            f"{name}.conv_tp_weights", f"{path}/radial", hidden, sizes.sent_channels, sizes.product
        ),
        Linear(
            f"{name}.linear", f"{path}/after", sizes.messages, (channels,) * len(sizes.messages)
        ),
        BySpecies(f"{name}.skip_tp", f"element_{layer}", degrees, channels, num_species),
        contractions(config, layer),
        Linear(f"products.{layer}.linear", f"update_{layer}", sizes.outgoing, sizes.outgoing),
    ]
    if config.neighbor_normalization == "density":
        shape = (config.num_radial, 1)
        found.append(Single(f"{name}.density_fn.layer0.weight", path, "density", shape, shape))
    return found


def _of_gated_layer(config: MACEConfig, num_species: int, layer: int) -> list[Layout]:
    channels, sizes = config.num_channels, _Sizes(config, layer)
    name, path = f"interactions.{layer}", f"interaction_{layer}"
    every = (channels,) * (config.l_max + 1)
    # Scalars, and a gate for each channel of each higher degree.
    before_gate = (channels * (config.l_max + 1), *every[1:])
    hidden = len(config.radial_widths)
    table, flat = (num_species, channels), (num_species * channels,)
    return [
        *(
            Single(f"{name}.{end}_embedding.weight", path, end, table, flat)
            for end in ("source", "target")
        ),
        *(Single(f"{name}.{key}", path, key, (), ()) for key in ("alpha", "beta")),
        Linear(f"{name}.skip_tp", f"{path}/skip", sizes.kept, sizes.kept),
        Linear(
            f"{name}.linear_up", f"{path}/before", sizes.incoming[: len(sizes.sent)], sizes.sent
        ),
        Linear(
            f"{name}.linear_res", f"{path}/residual", sizes.sent, before_gate[: len(sizes.sent)]
        ),
        Linear(f"{name}.linear_1", f"{path}/after", sizes.messages, before_gate),
        Linear(f"{name}.linear_2", f"{path}/mixed", every, every),
        EdgeNetwork(
            f"{name}.conv_tp_weights", f"{path}/radial", hidden, sizes.sent_channels, sizes.product
        ),
        EdgeNetwork(f"{name}.density_fn", f"{path}/density", 1, channels, None),
        contractions(config, layer),
        Linear(f"products.{layer}.linear", f"update_{layer}", sizes.outgoing, sizes.outgoing),
    ]


def _vector(name: str, path: str, rows: int, key: str = "kernel_0") -> Single:
    return Single(name, path, key, (rows, 1), (rows,))
