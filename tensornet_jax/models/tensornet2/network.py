"""TensorNet2: TensorNet with charges of the atoms that it predicts, uses and sums up by Coulomb.

The model of AceFF-2.0, with the numbers of torchmd-net 3.1.0. After the embedding and after every
layer each atom gets charges, several sets of them side by side. They are shifted so that each set
sums to the total charge of the structure (neutral charge equilibration as in AIMNet2,
doi:10.1039/D4SC08572H), and say to the next layer's filters what kind of atoms an edge joins: a
filter is no longer the same in both directions. The Coulomb energy is the weighted mean of those of
all sets.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.base import Model, ModelOutputs
from tensornet_jax.models.heads.features import AtomFeatures, parts_of_tensors
from tensornet_jax.models.heads.levels import each_level
from tensornet_jax.models.heads.outputs import outputs_of
from tensornet_jax.models.layers import dense, layer_norm
from tensornet_jax.models.physics.electrostatics import coulomb_energies
from tensornet_jax.models.tensornet.embedding import Embedding
from tensornet_jax.models.tensornet.radial import AtDistances, RadialBasis, envelope, pair_geometry
from tensornet_jax.models.tensornet2.config import PredictedCoulomb, TensorNet2Config
from tensornet_jax.models.tensornet2.layers import MLP, ChargedInteraction, Charges
from tensornet_jax.ops.activations import ACTIVATIONS
from tensornet_jax.ops.by_atoms import settled
from tensornet_jax.ops.cartesian import RankTwo, squared_norms
from tensornet_jax.ops.interactions.coulomb import overlap_damping


class TensorNet2(Model[TensorNet2Config]):
    """TensorNet2 from a padded graph to per-atom energies, charges and the like."""

    def setup(self) -> None:
        """Create the layers."""
        c, dtype, width = self.config, self.dtype, self.config.num_channels
        self.radial = RadialBasis(c, dtype)
        self.embedding = Embedding(c, len(self.numbers), dtype)
        self.layers = [ChargedInteraction(c, dtype) for _ in range(c.num_layers)]
        self.charges = [Charges(c, dtype) for _ in range(c.num_layers + 1)]
        if "energy" in c.heads or c.has_other_heads:
            self.norm = layer_norm(dtype)
            self.linear = dense(3 * width, width, dtype)
        self.outputs = outputs_of(self)
        nn.share_scope(self, self.outputs)
        if "energy" in c.heads:
            widths = (width // 2,) * c.readout_layers + (1,)
            self.readout = each_level(c, MLP)(widths, c.activation, dtype)

    def __call__(self, graph: AtomGraph) -> ModelOutputs:
        """Return charges and what the heads of `config` predict; the dipole is of the charges."""
        c = self.config
        tensor, stages = self.tensor_and_charges(graph)
        weights = jnp.asarray(c.set_weights(), stages.dtype)
        charges = stages @ weights
        read_outs, atoms, coulomb = {}, None, None
        if "dipole" in c.own_heads:
            # Charges are what all levels have in common.
            levels = () if c.num_levels == 1 else (c.num_levels,)
            read_outs["dipole"] = jnp.broadcast_to(charges, (*levels, *charges.shape))
        if "energy" in c.heads or c.has_other_heads:
            invariants = squared_norms(tensor)
            invariants = invariants.reshape(invariants.shape[0], -1)
            features = ACTIVATIONS[c.activation](self.linear(self.norm(invariants)))
            atoms = AtomFeatures(features, parts_of_tensors(tensor))
            if "energy" in c.heads:
                read_outs["energy"] = self.readout(features)[..., 0]
        if "energy" in c.heads and c.coulomb:
            coulomb = self._coulomb(stages, c.coulomb, graph) @ weights
        return self.outputs(graph, read_outs, atoms, charges=charges, energies_in_eV=coulomb)

    def tensor_and_charges(self, graph: AtomGraph) -> tuple[RankTwo, Float[Array, "atoms charges"]]:
        """Tensors of the atoms after the last layer, and the charges of all stages, e."""
        c, edges = self.config, graph.edges.index
        directions, radial = pair_geometry(c, graph, self._at)
        # Not deferred: the charges of each stage read the tensors too.
        tensor = settled(self.embedding(graph, directions, radial))
        stages = [self.charges[0](tensor, graph)]
        for layer, charges in zip(self.layers, self.charges[1:], strict=True):
            tensor = layer(tensor, stages[-1], edges, radial)
            stages.append(charges(tensor, graph))
        return tensor, jnp.concatenate(stages, axis=-1)

    def _coulomb(
        self, charges: Float[Array, "atoms charges"], coulomb: PredictedCoulomb, graph: AtomGraph
    ) -> Float[Array, "atoms charges"]:
        """Coulomb energies of all sets of charges, eV."""

        def left_out(distances: Float[Array, " pairs"]) -> Float[Array, " pairs"]:
            return 1 - overlap_damping(distances, coulomb.damping_radius)

        found = coulomb_energies(charges, graph, coulomb, self.config.cutoff, left_out)
        return coulomb.scale * found

    def _at(self, distances: Float[Array, " pairs"]) -> AtDistances:
        values = envelope(self.config, distances, self.config.cutoff_lower)
        return AtDistances(self.radial(distances), values)
