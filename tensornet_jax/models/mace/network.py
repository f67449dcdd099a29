"""MACE (arXiv:2206.07697) with exchangeable tensor products.

With ``clebsch_gordan`` this is MACE: messages with one weight for each path, and the full symmetric
contraction. With any other product of the library both steps become cheaper and less free, as in
arXiv:2401.10216: messages have one weight for each degree of the filter, and the many-body step
multiplies ν differently weighted copies of the features. A Gaunt model is a Clebsch–Gordan model
whose weights are restricted; `models.mace.restriction` finds them.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from flax.typing import VariableDict
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.base import Model, ModelOutputs
from tensornet_jax.models.heads.features import AtomFeatures
from tensornet_jax.models.heads.outputs import outputs_of
from tensornet_jax.models.layers import Perceptron
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.models.mace.layers import Interaction, ManyBody
from tensornet_jax.models.physics.electronic_state import ElectronicState
from tensornet_jax.models.radial_table import RadialTable
from tensornet_jax.models.spherical.features import DegreeLinear, split_degrees
from tensornet_jax.models.spherical.geometry import edge_geometry, radial_basis


class MACE(Model[MACEConfig]):
    """MACE from a padded graph to per-atom energies and the like."""

    @nn.compact
    def __call__(self, graph: AtomGraph) -> ModelOutputs:
        """Return what the heads of `config` predict."""
        c = self.config
        layers = self._layers(graph)
        scalars = [features[:, 0] for features in layers]
        read_outs = {}
        for head in c.own_heads:
            # Without biases, so that an atom without neighbors has the energy E0.
            values = [
                Perceptron((), 1, self.dtype, name=f"{head}_{index}")(features)
                for index, features in enumerate(scalars[:-1])
            ]
            last = Perceptron((c.readout_width,), 1, self.dtype, name=f"{head}_last")
            read_outs[head] = sum(values, last(scalars[-1]))[:, 0]
        atoms = AtomFeatures(scalars[-1], split_degrees(layers[-1]))
        outputs = outputs_of(self)
        nn.share_scope(self, outputs)
        return outputs(graph, read_outs, atoms)

    def _layers(self, graph: AtomGraph) -> list[Float[Array, "atoms _ channels"]]:
        """Features of the atoms after each layer, (l + 1)² components each."""
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

    def radial_functions(
        self, distances: Float[Array, " distances"]
    ) -> list[Float[Array, "distances functions"]]:
        """The weights of each layer's messages as functions of distances in Å."""
        c, params = self.config, self.variables["params"]
        basis = radial_basis(distances, c)
        found = []
        for layer in range(c.num_layers):
            kernels = params[f"interaction_{layer}"]["radial"]
            width = kernels[f"kernel_{len(c.radial_widths)}"].shape[1]
            network = Perceptron(c.radial_widths, width, self.dtype, parent=None)
            found.append(network.apply({"params": kernels}, basis))
        return found

    def compressed(
        self,
        table: Float[Array, "coefficients rank"],
        matrices: list[Float[Array, "rank functions"]],
    ) -> VariableDict:
        """Return the variables of the same model with splines in place of `radial_functions`."""
        params = dict(self.variables["params"]) | {"radial": {"table": table}}
        for layer, matrix in enumerate(matrices):
            name = f"interaction_{layer}"
            params[name] = dict(params[name]) | {"radial": {"kernel_0": matrix}}
        return {"params": params, "buffers": dict(self.variables.get("buffers", {}))}
