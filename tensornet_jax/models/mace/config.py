"""Hyperparameters of MACE (arXiv:2206.07697) with exchangeable tensor products."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tensornet_jax.config import NOT_SET_BY_USERS, TOLD_IN_WORDS, Config
from tensornet_jax.models.config import Compression
from tensornet_jax.models.spherical.config import SphericalConfig

ProductName = Literal["clebsch_gordan", "gaunt_fourier", "gaunt_grid", "matrix", "vector_signal"]


class StateInput(Config):
    """An input of mace-torch's joint embedding of what state the electrons are in."""

    name: Literal["charge", "spin"] = Field(description="total charge in e, or multiplicity 2S + 1")
    width: int = Field(ge=1, description="numbers that it becomes")
    num_classes: int | None = Field(
        default=None,
        ge=1,
        description="rows of its table, for the integers from -offset on; null for a network that "
        "takes any number",
    )
    offset: int = Field(default=0, description="what is added to it to count the table's rows")
    biases: bool = Field(default=True, description="whether the layers of a network have biases")

    def check(self, value: float, where: str) -> None:
        """Raise ValueError if the table has no row for a value."""
        if self.num_classes is None:
            return
        place = value + self.offset
        if place != int(place) or not 0 <= place < self.num_classes:
            raise ValueError(
                f"{self.name} {value:g}{where}: this model knows integers from {-self.offset} to "
                f"{self.num_classes - 1 - self.offset} only"
            )


class LayersConfig(SphericalConfig):
    """Hyperparameters of MACE's layers and read-outs."""

    name: Literal["mace"] = "mace"
    hidden_l_max: int = Field(
        default=1,
        ge=0,
        description="highest degree between layers: 1 means hidden irreps 64x0e + 64x1o",
    )
    l_max: int = Field(
        default=3, ge=0, description="highest degree of the edges' harmonics and of the messages"
    )
    correlation: int = Field(
        default=3, ge=1, le=4, description="factors ν of the many-body step; body order ν + 1"
    )
    product: ProductName = Field(
        default="clebsch_gordan", description="tensor product of both steps"
    )
    interaction_product: ProductName | None = Field(
        default=None, description="tensor product of the messages; null for product"
    )
    many_body_product: ProductName | None = Field(
        default=None, description="tensor product of the many-body step; null for product"
    )
    readout_width: int | None = Field(
        default=16, ge=1, description="hidden width of the last read-out; null for a linear one"
    )
    parametrization: Literal["own", "mace"] = Field(
        default="own",
        description="own: weights that carry their normalization, one for each independent "
        "polynomial; mace (mace-torch): weights of variance 1, one for each coupling, and so its "
        "learning rates",
    )
    couplings: Literal["all", "reduced"] = Field(
        default="all",
        description="of parametrization mace: all couplings, or as many as are independent "
        "(use_reduced_cg with cuequivariance)",
        json_schema_extra=NOT_SET_BY_USERS,
    )
    interaction: Literal["linear", "gated"] = Field(
        default="linear",
        description="gated (MACE-MH-1, OMOL): weights of messages see the elements of both atoms, "
        "and messages go through a gate; features are kept in all layers",
    )
    first_layer: Literal["mixed", "residual"] = Field(
        default="mixed",
        description="mixed: by element, so that an atom without neighbors has the energy E0; "
        "residual (MACE-MP-0): features are kept beside the messages, as in later layers",
    )
    later_layers: Literal["residual", "mixed"] = Field(
        default="residual", description="the same of all layers but the first"
    )
    neighbor_normalization: Literal["mean", "density"] = Field(
        default="mean",
        description="what messages are divided by: the mean number of neighbors, or, of each atom "
        "(MACE-MPA-0, OMAT-0), 1 + a learned density of neighbors",
    )
    radial: Literal["bessel", "gaussian", "chebyshev"] = Field(
        default="bessel", description="radial functions"
    )
    cutoff_function: Literal["basis", "messages"] = Field(
        default="basis",
        description="what it multiplies: radial functions, or the weights that are made of them "
        "(mace-torch's apply_cutoff: false), which then end at the cutoff whatever networks do",
    )
    edge_channels: int | None = Field(
        default=None,
        ge=1,
        description="channels of what neighbors send in all layers but the first (edge_irreps of "
        "mace-torch); null for num_channels",
    )
    edge_l_max: int | None = Field(
        default=None, ge=0, description="highest degree of the same; null for hidden_l_max"
    )
    edge_channels_in: Literal["later", "all"] = Field(
        default="later",
        description="layers that edge_channels are of: all but the first, or all "
        "(use_edge_irreps_first)",
    )
    last_layer: Literal["scalars", "all"] = Field(
        default="scalars",
        description="degrees that the last layer makes: scalars, which energies need, or all "
        "(keep_last_layer_irreps); where tensors are predicted they are always all",
    )
    readouts: Literal["all", "last"] = Field(
        default="all", description="energies from the scalars of all layers, or of the last one"
    )
    distance_transform: Literal["agnesi", "soft"] | None = Field(
        default=None,
        description="of the distance that radial functions see, by covalent radii of both atoms",
    )
    species_in_many_body: bool = Field(
        default=True, description="weights of the many-body step for each element, or one for all"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hidden_l_max > self.l_max:
            raise ValueError(
                f"hidden_l_max ({self.hidden_l_max}) must not be above l_max ({self.l_max}), "
                "the highest degree of the messages"
            )
        if self.parametrization == "mace" and (
            set(self.products) != {"clebsch_gordan"} or self.group != "O(3)"
        ):
            raise ValueError(
                "parametrization: mace is of product: clebsch_gordan and group: O(3) only"
            )
        if self.edge_l_max is not None and self.edge_l_max > self.hidden_l_max:
            raise ValueError(
                f"edge_l_max ({self.edge_l_max}) must not be above hidden_l_max "
                f"({self.hidden_l_max})"
            )
        if self.interaction == "gated" and self.products[0] != "clebsch_gordan":
            raise ValueError("interaction: gated is of interaction_product: clebsch_gordan only")
        return self

    @property
    def num_hops(self) -> int:
        """How many cutoffs away from an atom lie the atoms that its energy depends on."""
        return self.num_layers

    def kind_of_layer(self, layer: int) -> Literal["mixed", "residual"]:
        """What `first_layer` or `later_layers` say of a layer."""
        return self.later_layers if layer else self.first_layer

    def made_in_layer(self, layer: int) -> int:
        """Highest degree of the features that a layer makes."""
        every = self.has_other_heads or (self.last_layer == "all" and self.num_layers > 1)
        return self.hidden_l_max if every or layer < self.num_layers - 1 else 0

    def sent_in_layer(self, layer: int) -> tuple[int, int]:
        """Channels and highest degree of what neighbors send."""
        if not layer:
            first = self.edge_channels if self.edge_channels_in == "all" else None
            return first or self.num_channels, 0
        l_max = self.hidden_l_max if self.edge_l_max is None else self.edge_l_max
        return self.edge_channels or self.num_channels, l_max

    @property
    def unit_weights(self) -> bool:
        """Whether weights have variance 1, and their normalization is in the network."""
        return self.parametrization == "mace"

    @property
    def highest_degree(self) -> int:
        """The highest degree of the features that heads see."""
        return self.hidden_l_max

    @property
    def degree_remedy(self) -> str:
        """What to do about a tensor that needs a higher degree."""
        return "raise hidden_l_max"

    @property
    def products(self) -> tuple[ProductName, ProductName]:
        """The products of the messages and of the many-body step."""
        return self.interaction_product or self.product, self.many_body_product or self.product

    @property
    def parity(self) -> Literal["even", "both"]:
        """Which couplings the group allows between features of natural parity."""
        return "even" if self.group == "O(3)" else "both"


class MACEConfig(LayersConfig):
    """Hyperparameters of MACE.

    The defaults are this package's. With ``parametrization: mace`` the weights are those of
    mace-torch, and the other options name what its versions differ in.
    """

    joint_embedding: tuple[StateInput, ...] = Field(
        default=(),
        description="how electronic_state enters, with name, width, num_classes and offset of each "
        "input: mace-torch's embedding_specs (OMOL); empty for this package's own way",
        json_schema_extra=TOLD_IN_WORDS,
    )
    energy_of_state: bool = Field(
        default=False,
        description="energies also from what atoms are before the first layer "
        "(use_embedding_readout)",
    )
    readout_biases: bool = Field(
        default=False,
        description="a second hidden layer in the last read-out, and biases "
        "(NonLinearBiasReadoutBlock)",
    )

    @model_validator(mode="after")
    def _of_mace_torch(self) -> Self:
        names = tuple(each.name for each in self.joint_embedding)
        if names and names != self.electronic_state:
            raise ValueError(
                f"joint_embedding is of {list(names)}: electronic_state must be the same, not "
                f"{list(self.electronic_state)}"
            )
        if self.readout_biases and self.readout_width is None:
            raise ValueError("readout_biases: true needs a readout_width")
        return self

    @property
    def last_weights(self) -> tuple[str, ...]:
        """Paths of the weights that energies of atoms are linear in, below "params"."""
        earlier = range(self.num_layers - 1 if self.readouts == "all" else 0)
        # With biases there are two hidden layers, `BiasedReadOut`.
        hidden = 0 if self.readout_width is None else 2 if self.readout_biases else 1
        first = (f"energy_{layer}/kernel_0" for layer in earlier)
        return (*first, f"energy_last/kernel_{hidden}")

    def check_state(self, charge: float, spin: int, where: str = "") -> None:
        """Raise ValueError where a structure's charge or spin has no row in its table."""
        values = {"charge": charge, "spin": spin}
        for each in self.joint_embedding:
            each.check(values[each.name], where)

    @property
    def compressible(self) -> bool:
        """Whether the module has `radial_functions` that can be tabulated, and runs on tables."""
        return True

    def compressed(self, compression: Compression) -> Self:
        """Return the configuration of the compressed model, whose weights are normalized."""
        changes = {"compression": compression, "parametrization": "own", "couplings": "all"}
        return self.model_copy(update=changes)

    @property
    def tables(self) -> Literal["one", "pairs", "edges"]:
        """What has radial functions of its own."""
        if self.interaction == "gated":
            return "edges"
        return "one" if self.distance_transform is None else "pairs"
