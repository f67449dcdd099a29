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

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.common import dense, layer_norm
from tensornet_jax.models.heads.features import AtomFeatures, parts_of_tensors
from tensornet_jax.models.heads.read_outs import OtherHeads, centered_dipole
from tensornet_jax.models.physics.electrostatics import coulomb_energies
from tensornet_jax.models.tensornet.embedding import Embedding
from tensornet_jax.models.tensornet.radial import AtDistances, RadialBasis, envelope, pair_geometry
from tensornet_jax.models.tensornet2.config import PredictedCoulomb, TensorNet2Config
from tensornet_jax.models.tensornet2.layers import MLP, ChargedInteraction, Charges
from tensornet_jax.ops.activations import ACTIVATIONS
from tensornet_jax.ops.cartesian import RankTwo, squared_norms
from tensornet_jax.ops.interactions.coulomb import overlap_damping


class TensorNet2(nn.Module):
    """TensorNet2 from a padded graph to per-atom energies, charges and the like.

    config: hyperparameters.
    numbers: element table.
    dtype: "float32" or "float64".
    """

    config: TensorNet2Config
    numbers: tuple[int, ...]
    dtype: str = "float32"

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
        if c.has_other_heads:
            self.other_heads = OtherHeads(c, len(self.numbers), dtype)
        if "energy" in c.heads:
            self.readout = MLP((width // 2,) * c.readout_layers + (1,), c.activation, dtype)

    def __call__(self, graph: AtomGraph) -> dict[str, Array]:
        """Return "charges" (N,) e, and as far as there are heads "energies" (N,) without scale, the
        Coulomb energies as "energies_in_eV" (N,), "dipole" (B, 3) of the charges, and tensors.
        """
        c = self.config
        tensor, charges = self.tensor_and_charges(graph)
        weights = jnp.asarray(c.set_weights(), charges.dtype)
        outputs = {"charges": charges @ weights}
        if "dipole" in c.own_heads:
            outputs["dipole"] = centered_dipole(outputs["charges"], graph, self.numbers)
        if "energy" in c.heads or c.has_other_heads:
            invariants = squared_norms(tensor)
            invariants = invariants.reshape(invariants.shape[0], -1)
            features = ACTIVATIONS[c.activation](self.linear(self.norm(invariants)))
        if c.has_other_heads:
            atoms = AtomFeatures(features, parts_of_tensors(tensor))
            outputs |= self.other_heads(atoms, graph)
        if "energy" in c.heads:
            outputs["energies"] = jnp.where(graph.node_mask, self.readout(features)[:, 0], 0)
            if c.coulomb:
                outputs["energies_in_eV"] = self._coulomb(charges, c.coulomb, graph) @ weights
        return outputs

    def tensor_and_charges(self, graph: AtomGraph) -> tuple[RankTwo, Array]:
        """Tensors of the atoms after the last layer, and charges (N, (L + 1) · Q) of all stages."""
        c, edges = self.config, graph.edges.index
        directions, radial = pair_geometry(c, graph, self._at)
        tensor = self.embedding(graph, directions, radial)
        stages = [self.charges[0](tensor, graph)]
        for layer, charges in zip(self.layers, self.charges[1:], strict=True):
            tensor = layer(tensor, stages[-1], edges, radial)
            stages.append(charges(tensor, graph))
        return tensor, jnp.concatenate(stages, axis=-1)

    def _coulomb(self, charges: Array, coulomb: PredictedCoulomb, graph: AtomGraph) -> Array:
        """Coulomb energies of all sets of charges, (N, (L + 1) · Q) eV."""

        def left_out(distances: Array) -> Array:
            return 1 - overlap_damping(distances, coulomb.damping_radius)

        found = coulomb_energies(charges, graph, coulomb, self.config.cutoff, left_out)
        return coulomb.scale * found

    def _at(self, distances: Array) -> AtDistances:
        values = envelope(self.config, distances, self.config.cutoff_lower)
        return AtDistances(self.radial(distances), values)
