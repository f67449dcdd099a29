"""MACE (arXiv:2206.07697) with exchangeable tensor products.

With ``clebsch_gordan`` this is MACE: messages with one weight for each path, and the full symmetric
contraction. With any other product of the library both steps become cheaper and less free, as in
arXiv:2401.10216: messages have one weight for each degree of the filter, and the many-body step
multiplies ν differently weighted copies of the features. A Gaunt model is a Clebsch–Gordan model
whose weights are restricted; `models.mace.restriction` finds them.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from flax.typing import VariableDict
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.base import Model, ModelOutputs
from tensornet_jax.models.heads.features import AtomFeatures
from tensornet_jax.models.heads.levels import each_level
from tensornet_jax.models.heads.outputs import outputs_of
from tensornet_jax.models.layers import Perceptron, scale_of_species
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.models.mace.gated import GatedInteraction
from tensornet_jax.models.mace.layers import BiasedReadOut, Interaction, ManyBody
from tensornet_jax.models.mace.radial import RadialBasis, envelope
from tensornet_jax.models.mace.state import JointEmbedding
from tensornet_jax.models.mace.tabulated import radial_functions, with_tables
from tensornet_jax.models.physics.electronic_state import ElectronicState
from tensornet_jax.models.radial_table import RadialTable
from tensornet_jax.models.spherical.features import DegreeLinear, split_degrees
from tensornet_jax.models.spherical.geometry import EdgeGeometry, edge_geometry
from tensornet_jax.ops.safe import norm


class MACE(Model[MACEConfig]):
    """MACE from a padded graph to per-atom energies and the like."""

    @nn.compact
    def __call__(self, graph: AtomGraph) -> ModelOutputs:
        """Return what the heads of `config` predict."""
        c = self.config
        first = self._first_features(graph)
        layers = self._layers(first, graph)
        scalars = [features[:, 0] for features in layers]
        readout, read_outs = each_level(c, Perceptron), {}
        for head in c.own_heads:
            # Without biases, so that an atom without neighbors has the energy E0.
            values = [
                readout((), 1, self.dtype, c.unit_weights, name=f"{head}_{index}")(features)
                for index, features in enumerate(scalars[:-1] if c.readouts == "all" else [])
            ]
            widths = () if c.readout_width is None else (c.readout_width,)
            if c.readout_biases and c.readout_width:
                biased = each_level(c, BiasedReadOut)
                last = biased(c.readout_width, self.dtype, c.unit_weights, name=f"{head}_last")
            else:
                last = readout(widths, 1, self.dtype, c.unit_weights, name=f"{head}_last")
            read_outs[head] = sum(values, last(scalars[-1]))[..., 0]
        if c.energy_of_state and "energy" in read_outs:
            read_outs["energy"] += self._energy_of_state(first)
        atoms = AtomFeatures(scalars[-1], split_degrees(layers[-1]))
        outputs = outputs_of(self)
        nn.share_scope(self, outputs)
        return outputs(graph, read_outs, atoms)

    def _first_features(self, graph: AtomGraph) -> Float[Array, "atoms channels"]:
        """Features of the atoms before the first layer."""
        c, dtype, num_species = self.config, self.dtype, len(self.numbers)
        shape = (num_species, c.num_channels)
        table = self.param("embedding", nn.initializers.normal(1.0), shape, dtype)
        if c.unit_weights:
            table = table * scale_of_species(self, num_species, dtype)
        features = table[graph.species]
        if c.joint_embedding:
            state = JointEmbedding(c.joint_embedding, c.num_channels, dtype, name="state")
            features = features + state(graph)
        elif c.electronic_state:
            state = ElectronicState(
                c.electronic_state, num_species, c.num_channels, dtype, name="state"
            )
            features = features + state(graph)
        return features

    def _energy_of_state(
        self, features: Float[Array, "atoms channels"]
    ) -> Float[Array, "*levels atoms"]:
        """Energies of what atoms are before the first layer."""
        c = self.config
        readout = each_level(c, Perceptron)
        found = readout((), 1, self.dtype, c.unit_weights, name="energy_of_state")(features)
        # mace-torch adds it to E0, which no scale of energies is for.
        levels = found.shape[:-2]
        scale = self.variable("buffers", "state_scale", lambda: jnp.ones(levels, self.dtype)).value
        return scale[..., None] * found[..., 0]

    def _layers(
        self, features: Float[Array, "atoms channels"], graph: AtomGraph
    ) -> list[Float[Array, "atoms _ channels"]]:
        """Features of the atoms after each layer, (l + 1)² components each."""
        c, dtype, num_species = self.config, self.dtype, len(self.numbers)
        geometry = edge_geometry(graph, c.l_max, self._basis(graph))
        if c.cutoff_function == "messages" and not c.compression:
            ending = envelope(c, norm(graph.pair_vectors()))[:, 0]
            geometry = geometry._replace(envelope=jnp.where(graph.edges.pair_mask, ending, 0))
        features = features[:, None]
        found = []
        for layer in range(c.num_layers):
            # Energies need but the scalars of the last layer.
            l_out_max = c.made_in_layer(layer)
            if layer:
                features = graph.with_copies(features)
            messages, kept = self._interaction(layer, l_out_max, features, graph, geometry)
            many_body = ManyBody(c, num_species, l_out_max, dtype, name=f"many_body_{layer}")
            linear = DegreeLinear(
                c.num_channels, dtype, unit=c.unit_weights, name=f"update_{layer}"
            )
            update = linear(many_body(messages, graph.species))
            # The first features are scalars.
            update[: len(kept)] = map(jnp.add, update, kept)
            features = jnp.concatenate(update, axis=1)
            found.append(features)
        return found

    def _interaction(
        self,
        layer: int,
        l_out_max: int,
        features: Float[Array, "atoms _ channels"],
        graph: AtomGraph,
        geometry: EdgeGeometry,
    ) -> tuple[list[Array], list[Array]]:
        """By degree the messages of a layer, and the features that are kept beside them."""
        c, name, num_species = self.config, f"interaction_{layer}", len(self.numbers)
        edges = graph.edges.index
        if c.interaction == "gated":
            gated = GatedInteraction(c, layer, num_species, l_out_max, self.dtype, name=name)
            return gated(features, graph.species, geometry, edges, graph.edges.pair_mask)
        messages = Interaction(c, layer, self.dtype, name=name)(features, geometry, edges)
        # Element-dependent weights: by default of the messages in the first layer, so that nothing
        # is left of an atom without neighbors, and later of what the layer adds to.
        by_element = DegreeLinear(
            c.num_channels, self.dtype, num_species, c.unit_weights, name=f"element_{layer}"
        )
        if c.kind_of_layer(layer) == "mixed":
            return by_element(messages, graph.species), []
        return messages, by_element(split_degrees(features)[: l_out_max + 1], graph.species)

    def _basis(self, graph: AtomGraph) -> Callable[[Array], Array]:
        """Radial functions of the pairs' distances in Å."""
        c = self.config
        pairs = slice(0, graph.edges.num_pairs)
        ends = graph.edges.index.receivers[pairs], graph.edges.index.senders[pairs]
        species = graph.species[ends[0]], graph.species[ends[1]]
        if not c.compression:
            basis = RadialBasis(c, self.numbers, self.dtype, name="basis")
            return lambda distances: basis(distances, species)
        several = None if c.tables == "one" else len(self.numbers)
        table = RadialTable(c.compression, c.cutoff, self.dtype, several, name="radial")
        if c.tables != "edges":
            return lambda distances: table(distances, species)
        return lambda distances: jnp.concatenate(
            [table(distances, species), table(distances, (species[1], species[0]))], axis=1
        )

    def radial_functions(
        self, distances: Float[Array, " distances"], species: tuple[ArrayLike, ArrayLike]
    ) -> list[Float[Array, "distances functions"]]:
        """The weights of each layer's messages as functions of distances in Å, and densities."""
        return radial_functions(
            *(self.config, self.numbers, self.dtype, self.variables),
            distances,
            (jnp.asarray(species[0]), jnp.asarray(species[1])),
        )

    def compressed(
        self,
        table: Float[Array, "*species coefficients rank"],
        matrices: list[Float[Array, "rank functions"]],
    ) -> VariableDict:
        """Return the variables of the same model with splines in place of `radial_functions`."""
        return with_tables(self.config, self.variables, table, matrices)
