"""Hyperparameters of TensorNet (arXiv:2306.06482), and those it shares with TensorNet2."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tensornet_jax.models.config import ModelConfig


class CartesianConfig(ModelConfig):
    """Hyperparameters of the models whose features are tensors of three by three."""

    num_channels: int = Field(default=128, ge=2, description="channels F of every tensor")
    num_layers: int = Field(default=2, ge=0, description="interaction layers")
    num_radial: int = Field(default=32, ge=2, description="radial basis functions R")
    radial: Literal["expnorm", "gaussian", "smooth_bessel"] = Field(
        default="expnorm", description="radial basis; smooth_bessel is MatGL's, few are enough"
    )
    trainable_radial: bool = Field(default=False, description="train the radial basis too")
    activation: Literal["silu", "ssp", "tanh", "sigmoid", "mish"] = Field(
        default="silu", description="activation function"
    )
    cutoff_lower: float = Field(default=0.0, ge=0, description="lower cutoff radius, Å")
    cutoff_once: bool = Field(
        default=False,
        description="apply the cutoff function once, as the paper does, not twice as torchmd-net",
    )
    envelope: Literal["cosine", "polynomial"] = Field(
        default="cosine",
        description="cutoff function; polynomial has a continuous Hessian, for phonons say",
    )
    group: Literal["O(3)", "SO(3)"] = Field(
        default="O(3)", description="symmetry: O(3) tells no enantiomer from its mirror image"
    )
    so3_convention: Literal["python", "warp"] = Field(
        default="python",
        description="SO(3) only: sign of edge vectors; torchmd-net's Warp kernels mirror space",
    )

    @property
    def num_hops(self) -> int:
        """How many cutoffs away from an atom lie the atoms that its energy depends on."""
        return self.num_layers + 1

    @property
    def basis_size(self) -> int:
        """How many radial functions there are before any layer."""
        return self.compression.rank if self.compression else self.num_radial

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cutoff_lower >= self.cutoff:
            raise ValueError(
                f"cutoff_lower ({self.cutoff_lower} Å) must be below cutoff ({self.cutoff} Å)"
            )
        if self.cutoff_lower > 0 and self.envelope != "cosine":
            raise ValueError("cutoff_lower needs envelope: cosine, the polynomial has none")
        if self.radial == "smooth_bessel" and self.trainable_radial:
            raise ValueError("radial: smooth_bessel has no parameters: set trainable_radial: false")
        if self.radial == "smooth_bessel" and self.cutoff_lower > 0:
            raise ValueError("radial: smooth_bessel starts at 0 Å: set cutoff_lower: 0")
        return self


class TensorNetConfig(CartesianConfig):
    """Hyperparameters of TensorNet."""

    name: Literal["tensornet"] = "tensornet"
    self_edges: bool = Field(
        default=True,
        description="give every atom an edge to itself, as torchmd-net; false as MatGL",
    )
    messages: Literal["neighbours", "own"] = Field(
        default="neighbours",
        description="tensors that messages carry; own (MatGL with DGL): each atom its own back",
    )
    total_charge: bool = Field(
        default=True,
        description="let the total charge q in, as a factor 1 + 0.1 q; false as MatGL",
    )
    readout: Literal["mlp", "gated"] = Field(
        default="mlp",
        description="what makes energies of features; gated (MatGL): perceptron times a gate",
    )

    @property
    def compressible(self) -> bool:
        """Whether the module has `radial_functions` that can be tabulated, and runs on tables."""
        return True

    @property
    def sees_charge(self) -> bool:
        """Whether anything it predicts depends on the total charge, or on charges of the atoms."""
        # The factor is one of the interaction layers.
        return super().sees_charge or (self.total_charge and self.num_layers > 0)

    @property
    def last_weights(self) -> tuple[str, ...]:
        """Paths of the weights that energies of atoms are linear in, below "params"."""
        # Of the gated read-out they are the perceptron's; the gate is a factor of its features.
        own = "layers_3" if self.readout == "gated" else "output"
        return (f"readouts_energy/{own}/kernel",)
