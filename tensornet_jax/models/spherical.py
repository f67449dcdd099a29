"""What models of spherical features share: geometry of the edges, radial networks, linear maps.

Features are (N, (l_max + 1)², C) in e3nn's order, channels last: a linear map of one degree is one
matrix product over atoms and components together.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field, model_validator

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.common import ModelConfig
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics
from tensornet_jax.ops.messages.message import on_both_edges
from tensornet_jax.ops.radial import bessel, polynomial_envelope
from tensornet_jax.ops.safe import divide, norm


class SphericalConfig(ModelConfig):
    """Hyperparameters that models of spherical features have in common."""

    num_channels: int = Field(default=64, ge=2, description="channels of every degree")
    num_layers: int = Field(default=2, ge=1, description="interaction layers")
    group: Literal["O(3)", "SO(3)"] = Field(
        default="O(3)", description="symmetry: O(3) tells no enantiomer from its mirror image"
    )
    num_radial: int = Field(default=8, ge=1, description="Bessel functions R")
    radial_widths: tuple[int, ...] = Field(
        default=(64, 64), min_length=1, description="hidden layers of the radial networks"
    )
    envelope_exponent: int = Field(
        default=5, ge=3, description="exponent p of the polynomial cutoff function"
    )
    avg_num_neighbors: float | None = Field(
        default=None,
        gt=0,
        description="messages are divided by it; null: the mean of the training data",
    )

    @model_validator(mode="after")
    def _positive_widths(self) -> Self:
        if any(width < 1 for width in self.radial_widths):
            raise ValueError(f"radial_widths {list(self.radial_widths)} must be at least 1")
        return self

    @property
    def message_scale(self) -> float:
        """What sums over neighbors are multiplied by; 1 if nothing is known of them."""
        return 1 / (self.avg_num_neighbors or 1.0)

    def fitted(self, avg_num_neighbors: float) -> Self:
        """Return the configuration with the mean number of neighbors, unless it is given."""
        if self.avg_num_neighbors is not None or avg_num_neighbors <= 0:
            return self
        return self.model_copy(update={"avg_num_neighbors": avg_num_neighbors})


class EdgeGeometry(NamedTuple):
    """What a model sees of the edges.

    directions: (P, 3) unit vectors of the pairs' first edges, 0 for padding.
    harmonics: (E, (l_max + 1)²) normalization ``component``.
    basis: (P, R) radial functions times the cutoff function, 0 for padding.
    """

    directions: Array
    harmonics: Array
    basis: Array


def radial_basis(distances: Array, config: SphericalConfig) -> Array:
    """Bessel functions times the polynomial cutoff function: (P,) Å → (P, R)."""
    envelope = polynomial_envelope(distances, config.cutoff, config.envelope_exponent)
    return bessel(distances, config.num_radial, config.cutoff) * envelope[:, None]


def edge_geometry(graph: AtomGraph, l_max: int, basis: Callable[[Array], Array]) -> EdgeGeometry:
    """Return harmonics to l_max of the edges, and radial functions of the pairs' distances."""
    vectors = graph.pair_vectors()
    distances = norm(vectors)
    directions = divide(vectors, distances[:, None])
    of_pairs = solid_harmonics(directions, l_max, "component")
    # An edge and its reverse differ by inversion.
    signs = np.where(Degrees(0, l_max).of_components % 2, -1, 1)
    return EdgeGeometry(
        directions,
        on_both_edges(of_pairs, signs),
        jnp.where(graph.edges.pair_mask[:, None], basis(distances), 0),
    )


def _gain_of_silu() -> float:
    """1/√⟨silu(z)²⟩ for normal z, which keeps the variance through a layer."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    values = nodes / (1 + np.exp(-nodes))
    return float(np.sqrt(np.sum(weights) / np.sum(weights * values**2)))


SILU_GAIN = _gain_of_silu()


def normal_kernel(fan_in: int) -> nn.initializers.Initializer:
    """Normal numbers of variance 1/fan_in, which keep the variance of what they multiply."""
    return nn.initializers.normal(fan_in**-0.5)


class Perceptron(nn.Module):
    """Hidden layers of silu without biases: zero in, zero out.

    widths: of the hidden layers.
    features: numbers that come out.
    """

    widths: tuple[int, ...]
    features: int
    dtype: str

    @nn.compact
    def __call__(self, values: Array) -> Array:
        """(..., F) → (..., features)."""
        for index, width in enumerate((*self.widths, self.features)):
            fan_in = values.shape[-1]
            kernel = self.param(
                f"kernel_{index}", normal_kernel(fan_in), (fan_in, width), self.dtype
            )
            values = values @ kernel
            if index < len(self.widths):
                values = SILU_GAIN * jax.nn.silu(values)
        return values


class DegreeLinear(nn.Module):
    """A linear map of the channels for each degree, without bias.

    features: channels that come out.
    num_species: with more than 0, one matrix for each species too.
    """

    features: int
    dtype: str
    num_species: int = 0

    @nn.compact
    def __call__(self, parts: list[Array], species: Array | None = None) -> list[Array]:
        """By degree (N, 2l + 1, C_l) → (N, 2l + 1, features); species (N,) if there are any."""
        found = []
        for degree, part in enumerate(parts):
            fan_in = part.shape[-1]
            shape = (fan_in, self.features)
            shape = (self.num_species, *shape) if self.num_species else shape
            kernel = self.param(f"kernel_{degree}", normal_kernel(fan_in), shape, self.dtype)
            if not self.num_species:
                found.append(part @ kernel)
                continue
            assert species is not None
            every = jnp.einsum("nmc,scd->snmd", part, kernel)
            own = species == jnp.arange(self.num_species)[:, None]
            found.append(jnp.sum(jnp.where(own[:, :, None, None], every, 0), axis=0))
        return found


def split_degrees(features: Array) -> list[Array]:
    """Components (N, (l_max + 1)², C) by degree, (N, 2l + 1, C)."""
    degrees = Degrees(0, round(np.sqrt(features.shape[1])) - 1)
    return [features[:, degrees.slice(degree)] for degree in degrees]
