"""An equivariant spherical channel network (arXiv:2302.03655) whose forces conserve energy.

The SO(2) convolutions are those of eSCN. Around them stands what later work found necessary for a
smooth potential (arXiv:2502.12147): an envelope on all that comes over an edge, activations by
gates or by exact products instead of a coarse grid, normalization without a limit on neighbors,
and forces that are the gradient of the energy. Nothing depends on the roll of the edges' frames.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.base import Model, ModelOutputs
from tensornet_jax.models.escn.config import ESCNConfig
from tensornet_jax.models.escn.convolution import Convolution
from tensornet_jax.models.escn.edges import EdgeNetwork, Edges, edges_of
from tensornet_jax.models.escn.layers import FeedForward, Normalization
from tensornet_jax.models.heads.features import AtomFeatures
from tensornet_jax.models.heads.levels import each_level
from tensornet_jax.models.heads.outputs import outputs_of
from tensornet_jax.models.layers import Perceptron
from tensornet_jax.models.physics.electronic_state import ElectronicState
from tensornet_jax.models.spherical.features import split_degrees
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.messages.edge_index import with_isolated_atoms
from tensornet_jax.ops.messages.message import sum_at_receivers
from tensornet_jax.ops.rotations.edge_features import to_atoms
from tensornet_jax.ops.rotations.edge_layout import EdgeLayout


class ESCN(Model[ESCNConfig]):
    """eSCN from a padded graph to per-atom energies and the like."""

    def setup(self) -> None:
        """Create the layers."""
        c, dtype, num_species = self.config, self.dtype, len(self.numbers)
        channels = c.num_channels
        self.table = self.param(
            "embedding", nn.initializers.normal(1.0), (num_species, channels), dtype
        )
        if c.electronic_state:
            self.state = ElectronicState(c.electronic_state, num_species, channels, dtype)
        self.surroundings = EdgeNetwork(c, num_species, channels * (c.l_max + 1), dtype)
        self.convolutions = [Convolution(c, num_species, dtype) for _ in range(c.num_layers)]
        self.feed_forwards = [FeedForward(c, dtype) for _ in range(c.num_layers)]
        self.norms = [Normalization(dtype) for _ in range(2 * c.num_layers + 1)]
        readout = each_level(c, Perceptron)
        self.readouts = {head: readout((c.readout_width,), 1, dtype) for head in c.own_heads}
        self.outputs = outputs_of(self)
        nn.share_scope(self, self.outputs)

    def __call__(self, graph: AtomGraph) -> ModelOutputs:
        """Return what the heads of `config` predict."""
        edges = edges_of(graph, self.config)
        start = self._start(graph, edges)
        # The same network on atoms without neighbors: what it makes of them is E0 by definition.
        alone = self._isolated(self.table)
        if edges.matrices is not None:
            # Few operations cost an accelerator less than few rows.
            num_atoms = len(start)
            apart = edges._replace(connectivity=with_isolated_atoms(edges.connectivity, len(alone)))
            both = self._features(jnp.concatenate([start, alone]), apart, graph)
            features = both[:num_atoms]
            # Not a gather, whose derivative is a scatter.
            own = graph.species[:, None] == jnp.arange(len(alone))
            read_outs = {}
            for head, readout in self.readouts.items():
                values = readout(both[:, 0])[..., 0]
                of_species = jnp.sum(jnp.where(own, values[..., None, num_atoms:], 0), axis=-1)
                read_outs[head] = values[..., :num_atoms] - of_species
        else:
            features = self._features(start, edges, graph)
            alone = self._features(alone, None, graph)[:, 0]
            read_outs = {
                head: (readout(features[:, 0]) - readout(alone)[..., graph.species, :])[..., 0]
                for head, readout in self.readouts.items()
            }
        scalars = features[:, 0]
        return self.outputs(graph, read_outs, AtomFeatures(scalars, split_degrees(features)))

    def _isolated(
        self, scalars: Float[Array, "rows channels"]
    ) -> Float[Array, "rows components channels"]:
        """Features with these scalars and nothing else."""
        size = Degrees(0, self.config.l_max).size
        return jnp.pad(scalars[:, None], [(0, 0), (0, size - 1), (0, 0)])

    def _start(self, graph: AtomGraph, edges: Edges) -> Float[Array, "atoms components channels"]:
        """The element and, in all degrees, where the neighbors are."""
        c = self.config
        degrees = Degrees(0, c.l_max)
        weights = self.surroundings(edges).reshape(-1, degrees.count, c.num_channels)
        if edges.matrices is not None:
            # The harmonics are the rows of order 0 of rotations onto the edges.
            layout, rows = EdgeLayout(c.l_max, 0, 1), edges.harmonics.T
            around = to_atoms(layout, None, rows, (weights[:, None],), edges.connectivity)
        else:
            harmonics = edges.harmonics[:, : degrees.size, None]
            around = harmonics * weights[:, degrees.of_components]
            around = sum_at_receivers(around, edges.connectivity)
        around = around * c.message_scale
        scalars = self.table[graph.species]
        if c.electronic_state:
            scalars = scalars + self.state(graph)
        return self._isolated(scalars) + around

    def _features(
        self,
        features: Float[Array, "rows components channels"],
        edges: Edges | None,
        graph: AtomGraph,
    ) -> Float[Array, "rows components channels"]:
        """Features after all layers; without edges, of isolated atoms."""
        for layer, (convolve, feed_forward) in enumerate(
            zip(self.convolutions, self.feed_forwards, strict=True)
        ):
            if edges is not None:
                features = graph.with_copies(features)
                features = features + convolve(self.norms[2 * layer](features), edges)
            features = features + feed_forward(self.norms[2 * layer + 1](features))
        return self.norms[-1](features)
