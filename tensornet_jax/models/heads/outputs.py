"""From what a model has found out about the atoms to its outputs, the same way in every model."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.base import Model, ModelOutputs
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.models.heads.features import AtomFeatures
from tensornet_jax.models.heads.levels import LEVEL_SCALES, each_level, of_level, own_level
from tensornet_jax.models.heads.read_outs import OtherHeads, centered_dipole


class Outputs(nn.Module):
    """The outputs of a model, made of its own read-outs and of the heads that all models share.

    config: of the model.
    numbers: element table.
    dtype: "float32" or "float64".
    """

    config: ModelConfig
    numbers: tuple[int, ...]
    dtype: str

    @nn.compact
    def __call__(
        self,
        graph: AtomGraph,
        read_outs: Mapping[str, Float[Array, "*levels atoms"]],
        atoms: AtomFeatures | None,
        *,
        charges: Float[Array, " atoms"] | None = None,
        energies_in_eV: Float[Array, " atoms"] | None = None,
    ) -> ModelOutputs:
        """Assemble the outputs.

        Args:
            graph: structures.
            read_outs: a number of each atom for each of `config.own_heads`: energies without unit;
                for a dipole, charges in e. Padding may have any. Of a model with several levels,
                what `each_level` makes: a row for each level.
            atoms: features for tensors, charges and dipoles of atoms; None if there are no such
                heads.
            charges: e, where the model predicts them itself, 0 for padding.
            energies_in_eV: what the model knows in eV, 0 for padding.
        """
        tensors: dict[str, Array] = {}
        if self.config.has_other_heads and atoms is not None:
            kind = each_level(self.config, OtherHeads)
            heads = kind(self.config, len(self.numbers), self.dtype, name="other_heads")
            tensors = heads(atoms, graph)
        if self.config.num_levels > 1:
            tensors, read_outs = self._of_own_levels(tensors, read_outs, graph)
        dipole = tensors.pop("dipole", None)
        charges = tensors.pop("charges", charges)
        energies = read_outs.get("energy")
        if energies is not None:
            energies = jnp.where(graph.node_mask, energies, 0)
        if "dipole" in read_outs:
            dipole = centered_dipole(read_outs["dipole"], graph, self.numbers)
        return ModelOutputs(energies, energies_in_eV, dipole, charges, tensors)

    def _of_own_levels(
        self, tensors: Mapping[str, Array], read_outs: Mapping[str, Array], graph: AtomGraph
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Of every row, what the level of its structure gives; energies in units of all levels."""
        structures = {"dipole", *(t.name for t in self.config.tensors if t.per == "structure")}
        own = own_level(graph)
        of_atoms = own[graph.node_graph]
        found = {
            name: of_level(values, own if name in structures else of_atoms)
            for name, values in tensors.items()
        }
        numbers = {name: of_level(values, of_atoms) for name, values in read_outs.items()}
        count = self.config.num_levels
        scales = self.variable("buffers", LEVEL_SCALES, jnp.ones, (count,), self.dtype).value
        if "energy" in numbers:
            numbers["energy"] = numbers["energy"] * scales[of_atoms]
        return found, numbers


def outputs_of(model: Model[ModelConfig]) -> Outputs:
    """Return the outputs of a model, for its `setup` or compact method.

    They are to be part of the model by `flax.linen.share_scope`: in model files their parameters
    stand among the model's own.
    """
    return Outputs(model.config, model.numbers, model.dtype)
