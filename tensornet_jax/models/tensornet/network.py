"""TensorNet (arXiv:2306.06482), with the numbers of torchmd-net 3.1.0 (arXiv:2402.17660).

Where paper and code differ, the code is followed: the cutoff function enters twice (once in the
radial functions, once in the filters; `cutoff_once` gives the paper's form), and every atom has an
edge to itself with distance 0, which adds the filter at zero distance.
"""

import flax.linen as nn
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from flax.typing import VariableDict
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.base import Model, ModelOutputs
from tensornet_jax.models.heads.features import AtomFeatures, parts_of_tensors
from tensornet_jax.models.heads.levels import each_level
from tensornet_jax.models.heads.outputs import outputs_of
from tensornet_jax.models.heads.read_outs import GatedReadout, ScalarReadout
from tensornet_jax.models.layers import dense, layer_norm
from tensornet_jax.models.radial_table import RadialTable
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.models.tensornet.embedding import Embedding
from tensornet_jax.models.tensornet.interaction import Interaction
from tensornet_jax.models.tensornet.radial import AtDistances, RadialBasis, envelope, pair_geometry
from tensornet_jax.ops.activations import ACTIVATIONS
from tensornet_jax.ops.by_atoms import Deferred, by_atoms, settled
from tensornet_jax.ops.cartesian import RankTwo, squared_norms


class TensorNet(Model[TensorNetConfig]):
    """TensorNet from a padded graph to per-atom energies and the like."""

    def setup(self) -> None:
        """Create the layers."""
        c, dtype = self.config, self.dtype
        width = c.num_channels
        self.radial = (
            RadialTable(c.compression, c.cutoff, dtype) if c.compression else RadialBasis(c, dtype)
        )
        self.embedding = Embedding(c, len(self.numbers), dtype)
        self.layers = [Interaction(c, dtype) for _ in range(c.num_layers)]
        self.norm = layer_norm(dtype)
        self.linear = dense(3 * width, width, dtype)
        self.readouts = {head: self._readout() for head in c.own_heads}
        self.outputs = outputs_of(self)
        nn.share_scope(self, self.outputs)

    def __call__(self, graph: AtomGraph) -> ModelOutputs:
        """Return what the heads of `config` predict."""
        tensor = self.tensors(graph)[-1]
        features = self.features(tensor)
        read_outs = {head: readout(features) for head, readout in self.readouts.items()}
        parts = parts_of_tensors(settled(tensor))
        return self.outputs(graph, read_outs, AtomFeatures(features, parts))

    def features(self, tensor: RankTwo | Deferred) -> Float[Array, "atoms channels"]:
        """Invariant features of atoms with these tensors."""
        invariants = by_atoms(squared_norms, tensor)
        invariants = invariants.reshape(invariants.shape[0], -1)
        features = self.linear(self.norm(invariants))
        if self.config.readout == "gated":
            return features
        return ACTIVATIONS[self.config.activation](features)

    def tensors(self, graph: AtomGraph) -> list[RankTwo | Deferred]:
        """Tensors of the atoms after the embedding and after every layer."""
        c, edges = self.config, graph.edges.index
        directions, radial = pair_geometry(c, graph, self._at, self_edges=c.self_edges)
        factor = 1 + 0.1 * graph.charge if c.total_charge else jnp.ones_like(graph.charge)
        factor = factor[graph.node_graph][:, None, None]
        tensor = self.embedding(graph, directions, radial)
        history = [tensor]
        for layer in self.layers:
            if graph.from_owners is not None:
                tensor = graph.with_copies(settled(tensor))
            tensor = layer(tensor, edges, radial, factor)
            history.append(tensor)
        return history

    def radial_functions(
        self, distances: Float[Array, " distances"], species: tuple[ArrayLike, ArrayLike]
    ) -> list[Float[Array, "distances functions"]]:
        """The filters of the embedding and of each layer as functions of distances in Å."""
        values = self._at(distances)
        found = [self.embedding.filters_of(values)]
        found += [[f[:, 0] for f in layer.filters_of(values)] for layer in self.layers]
        return [jnp.concatenate(filters, axis=-1) for filters in found]

    def compressed(
        self,
        table: Float[Array, "*species coefficients rank"],
        matrices: list[Float[Array, "rank functions"]],
    ) -> VariableDict:
        """Return the variables of the same model with splines in place of `radial_functions`."""
        params = flatten_dict(dict(self.variables["params"]))
        kept = {
            path: leaf
            for path, leaf in params.items()
            if path[0] != "radial"
            and not any(name.startswith(("filter", "pair_species")) for name in path)
        }
        owners = ["embedding", *(f"layers_{k}" for k in range(self.config.num_layers))]
        for owner, matrix in zip(owners, matrices, strict=True):
            for k, kernel in enumerate(jnp.split(matrix, 3, axis=1)):
                kept[owner, f"filters_{k}", "kernel"] = kernel
        of_centre, of_neighbour = self.embedding.pair_species.tables()
        kept["embedding", "pair_species", "of_centre"] = of_centre
        kept["embedding", "pair_species", "of_neighbour"] = of_neighbour
        kept["radial", "table"] = table
        buffers = {k: v for k, v in self.variables.get("buffers", {}).items() if k != "radial"}
        return {"params": unflatten_dict(kept), "buffers": buffers}

    def _readout(self) -> GatedReadout | ScalarReadout:
        c = self.config
        if c.readout == "gated":
            return each_level(c, GatedReadout)(c.num_channels, self.dtype)
        return each_level(c, ScalarReadout)(c.num_channels, c.activation, self.dtype)

    def _at(self, distances: Float[Array, " pairs"]) -> AtDistances:
        if self.config.compression:
            # Tabulated with the cutoff function.
            return AtDistances(self.radial(distances), jnp.ones_like(distances))
        values = envelope(self.config, distances, self.config.cutoff_lower)
        return AtDistances(self.radial(distances), values)
