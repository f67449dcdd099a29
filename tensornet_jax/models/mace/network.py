"""MACE (arXiv:2206.07697) with exchangeable tensor products.

With ``clebsch_gordan`` this is MACE: messages with one weight for each path, and the full symmetric
contraction. With any other product of the library both steps become cheaper and less free, as in
arXiv:2401.10216: messages have one weight for each degree of the filter, and the many-body step
multiplies ν differently weighted copies of the features. A Gaunt model is a Clebsch–Gordan model
whose weights are restricted; `models.mace_restriction` finds them.
"""

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field, model_validator

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.heads.features import AtomFeatures
from tensornet_jax.models.heads.read_outs import OtherHeads, centered_dipole
from tensornet_jax.models.physics.electronic_state import ElectronicState
from tensornet_jax.models.radial_table import RadialTable
from tensornet_jax.models.spherical import (
    DegreeLinear,
    EdgeGeometry,
    Perceptron,
    SphericalConfig,
    edge_geometry,
    radial_basis,
    split_degrees,
)
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.messages.edge_products import edge_product
from tensornet_jax.ops.messages.message import EdgeIndex
from tensornet_jax.ops.tensor_products.chain import ProductChain
from tensornet_jax.ops.tensor_products.many_body import GauntManyBody
from tensornet_jax.ops.tensor_products.symmetric_contraction import SymmetricContraction

ProductName = Literal["clebsch_gordan", "gaunt_fourier", "gaunt_grid", "matrix", "vector_signal"]


class MACEConfig(SphericalConfig):
    """Hyperparameters of MACE."""

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
    readout_width: int = Field(default=16, ge=2, description="hidden width of the last read-out")

    @model_validator(mode="after")
    def _consistent(self) -> "MACEConfig":
        if self.hidden_l_max > self.l_max:
            raise ValueError(
                f"hidden_l_max ({self.hidden_l_max}) must not be above l_max ({self.l_max}), "
                "the highest degree of the messages"
            )
        return self

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


class Interaction(nn.Module):
    """Messages of the neighbors, summed and mixed: the features A of the atoms."""

    config: MACEConfig
    dtype: str

    @nn.compact
    def __call__(self, features: Array, geometry: EdgeGeometry, edges: EdgeIndex) -> list[Array]:
        """(N, (l + 1)², C) → by degree 0 … l_max (N, 2l + 1, C)."""
        c = self.config
        parts = split_degrees(features)
        product = edge_product(c.products[0], len(parts) - 1, c.l_max, c.parity)
        features = jnp.concatenate(
            DegreeLinear(c.num_channels, self.dtype, name="before")(parts), axis=1
        )
        shape = (-1, product.num_weights, c.num_channels)
        # Tabulated functions are what the network would have made: only the matrix is left.
        widths = () if c.compression else c.radial_widths
        weights = Perceptron(
            widths, product.num_weights * c.num_channels, self.dtype, name="radial"
        )(geometry.basis).reshape(shape)
        summed = product(features, geometry.harmonics, weights, edges)
        summed = [part * c.message_scale for part in summed]
        return DegreeLinear(c.num_channels, self.dtype, name="after")(summed)


class ManyBody(nn.Module):
    """Products of 1 … ν factors of the atoms' features, with weights of their elements."""

    config: MACEConfig
    num_species: int
    l_out_max: int
    dtype: str

    @nn.compact
    def __call__(self, parts: list[Array], species: Array) -> list[Array]:
        """By degree (N, 2l + 1, C), 0 … l_max → 0 … l_out_max."""
        c = self.config
        features = jnp.concatenate(parts, axis=1)
        if c.products[1] == "clebsch_gordan":
            return split_degrees(self._contract(features, species))
        return split_degrees(self._multiply(features, species))

    def _contract(self, features: Array, species: Array) -> Array:
        c = self.config
        contraction = SymmetricContraction(c.l_max, self.l_out_max, c.correlation, c.parity)

        def init(key: Array, shape: tuple[int, ...], dtype: str) -> Array:
            # Each order and degree starts with variance 1 over its number of paths.
            scales = [
                jnp.full(paths, paths**-0.5)
                for paths in (len(block.factors) for block in contraction.contractions)
            ]
            return jax.random.normal(key, shape, dtype) * jnp.concatenate(scales)[:, None]

        shape = (self.num_species, contraction.num_weights, c.num_channels)
        weights = self.param("weights", init, shape, self.dtype)
        return contraction(features, weights, species)

    def _multiply(self, features: Array, species: Array) -> Array:
        c = self.config
        order, channels = c.correlation, c.num_channels
        shape = (self.num_species, order, channels, c.l_max + 1)
        of_factors = self.param("factors", nn.initializers.ones, shape, self.dtype)
        shape = (self.num_species, order, channels, self.l_out_max + 1)
        of_results = self.param("results", nn.initializers.normal(1.0), shape, self.dtype)
        inputs = features.mT
        own = of_factors[species][..., Degrees(0, c.l_max).of_components]
        factors = [inputs * own[:, index] for index in range(order)]
        product = (
            GauntManyBody(c.l_max, self.l_out_max, order)
            if c.products[1] == "gaunt_grid"
            else ProductChain(c.products[1], c.l_max, self.l_out_max, order, parity=c.parity)
        )
        powers = product.partial_products(factors)
        own = of_results[species][..., Degrees(0, self.l_out_max).of_components]
        return jnp.einsum("nckm,nkcm->nmc", powers, own)


class MACE(nn.Module):
    """MACE from a padded graph to per-atom energies and the like.

    config: hyperparameters.
    numbers: element table.
    dtype: "float32" or "float64".
    """

    config: MACEConfig
    numbers: tuple[int, ...]
    dtype: str = "float32"

    @nn.compact
    def __call__(self, graph: AtomGraph) -> dict[str, Array]:
        """Return "energies" (N,) without scale and whatever else there are heads for."""
        c = self.config
        layers = self._layers(graph)
        scalars = [features[:, 0] for features in layers]
        found = {}
        for head in c.own_heads:
            # Without biases, so that an atom without neighbors has the energy E0.
            values = [
                Perceptron((), 1, self.dtype, name=f"{head}_{index}")(features)
                for index, features in enumerate(scalars[:-1])
            ]
            last = Perceptron((c.readout_width,), 1, self.dtype, name=f"{head}_last")
            values = sum(values, last(scalars[-1]))[:, 0]
            found[head] = jnp.where(graph.node_mask, values, 0)
        outputs = {"energies": found["energy"]} if "energy" in found else {}
        if "dipole" in found:
            outputs["dipole"] = centered_dipole(found["dipole"], graph, self.numbers)
        if c.has_other_heads:
            atoms = AtomFeatures(scalars[-1], split_degrees(layers[-1]))
            outputs |= OtherHeads(c, len(self.numbers), self.dtype, name="other_heads")(
                atoms, graph
            )
        return outputs

    def _layers(self, graph: AtomGraph) -> list[Array]:
        """Features of the atoms after each layer, (N, (l + 1)², C)."""
        c, dtype, num_species = self.config, self.dtype, len(self.numbers)
        basis = (
            RadialTable(c.compression, c.cutoff, dtype, name="radial")
            if c.compression
            else partial(radial_basis, config=c)
        )
        geometry = edge_geometry(graph, c.l_max, basis)
        table = self.param(
            "embedding", nn.initializers.normal(1.0), (num_species, c.num_channels), dtype
        )
        features = table[graph.species]
        if c.electronic_state:
            state = ElectronicState(
                c.electronic_state, num_species, c.num_channels, dtype, name="state"
            )
            features = features + state(graph)
        features = features[:, None]
        found = []
        for layer in range(c.num_layers):
            # Energies need but the scalars of the last layer.
            needed = c.has_other_heads or layer < c.num_layers - 1
            l_out_max = c.hidden_l_max if needed else 0
            messages = Interaction(c, dtype, name=f"interaction_{layer}")(
                features, geometry, graph.edges.index
            )
            # Element-dependent weights: of the messages in the first layer, so that nothing is
            # left of an atom without neighbors, and later of what the layer adds to.
            by_element = DegreeLinear(c.num_channels, dtype, num_species, name=f"element_{layer}")
            if layer == 0:
                messages = by_element(messages, graph.species)
            many_body = ManyBody(c, num_species, l_out_max, dtype, name=f"many_body_{layer}")
            update = DegreeLinear(c.num_channels, dtype, name=f"update_{layer}")(
                many_body(messages, graph.species)
            )
            if layer:
                kept = by_element(split_degrees(features)[: l_out_max + 1], graph.species)
                update = [new + old for new, old in zip(update, kept, strict=True)]
            features = jnp.concatenate(update, axis=1)
            found.append(features)
        return found

    def radial_functions(self, distances: Array) -> list[Array]:
        """All functions of distance (D,) Å: the weights of each layer's messages, (D, n)."""
        c, params = self.config, self.variables["params"]
        basis = radial_basis(distances, c)
        found = []
        for layer in range(c.num_layers):
            kernels = params[f"interaction_{layer}"]["radial"]
            width = kernels[f"kernel_{len(c.radial_widths)}"].shape[1]
            network = Perceptron(c.radial_widths, width, self.dtype, parent=None)
            found.append(network.apply({"params": kernels}, basis))
        return found

    def compressed(self, table: Array, matrices: list[Array]) -> dict[str, Any]:
        """Return the variables of the same model with splines in place of `radial_functions`.

        Args:
            table: coefficients of the splines, (4 · intervals, rank).
            matrices: what combines them to the functions, (rank, n) each.
        """
        params = dict(self.variables["params"]) | {"radial": {"table": table}}
        for layer, matrix in enumerate(matrices):
            name = f"interaction_{layer}"
            params[name] = dict(params[name]) | {"radial": {"kernel_0": matrix}}
        return {"params": params, "buffers": dict(self.variables.get("buffers", {}))}
