"""The contract of a model: what it is built from, what it returns, what else it can do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import flax.linen as nn
import jax
from flax.typing import VariableDict
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.config import ModelConfig

ConfigT = TypeVar("ConfigT", bound=ModelConfig, covariant=True)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ModelOutputs(Mapping[str, Array]):
    """What a model predicts, as far as its configuration has heads for it; 0 for padding.

    As a mapping it has what is there, by name, the tensors beside the others.

    energies: of the atoms, without unit and without E0: the potential multiplies by its scale.
    energies_in_eV: of the atoms, what the model knows in eV, such as Coulomb energies; not scaled.
    dipole: of the structures, e·Å, about the origin that `config.dipole_form` states.
    charges: of the atoms, e.
    tensors: by the name of their head, of atoms or of structures, in the unit of the head.
    """

    energies: Float[Array, " atoms"] | None = None
    energies_in_eV: Float[Array, " atoms"] | None = None  # noqa: N815
    dipole: Float[Array, "structures 3"] | None = None
    charges: Float[Array, " atoms"] | None = None
    tensors: Mapping[str, Float[Array, "rows ..."]] = field(default_factory=dict)

    def _by_name(self) -> dict[str, Array]:
        own = {
            "energies": self.energies,
            "energies_in_eV": self.energies_in_eV,
            "dipole": self.dipole,
            "charges": self.charges,
        }
        return {name: value for name, value in own.items() if value is not None} | {**self.tensors}

    def __getitem__(self, name: str) -> Array:
        return self._by_name()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name())

    def __len__(self) -> int:
        return len(self._by_name())


class Model(nn.Module, Generic[ConfigT]):
    """A model: from a padded graph to energies of the atoms and whatever else it has heads for.

    It is the same function for every order of the atoms and for every amount of padding. What a
    model is asked for beyond that (whether it depends on the charge, how far it reaches, whether
    it can be compressed) its configuration answers.

    config: hyperparameters.
    numbers: element table, atomic numbers in the order of `AtomGraph.species`.
    dtype: of parameters and results, "float32" or "float64".
    """

    config: ConfigT
    numbers: tuple[int, ...]
    dtype: str = "float32"

    def __call__(self, graph: AtomGraph) -> ModelOutputs:
        """Return what the heads of `config` predict."""
        raise NotImplementedError

    def radial_functions(
        self, distances: Float[Array, " distances"], species: tuple[ArrayLike, ArrayLike]
    ) -> list[Float[Array, "distances functions"]]:
        """All functions of the distance in Å, network by network.

        Of a model whose configuration is `compressible`.

        Args:
            distances: Å.
            species: of an edge's receiver and sender; see `ModelConfig.tables`.
        """
        raise NotImplementedError

    def compressed(
        self,
        table: Float[Array, "*species coefficients rank"],
        matrices: list[Float[Array, "rank functions"]],
    ) -> VariableDict:
        """Return the variables of the same model with splines in place of `radial_functions`.

        Of a model whose configuration is `compressible`.

        Args:
            table: coefficients of the splines, four for each interval; where `ModelConfig.tables`
                has several, of all receivers and senders.
            matrices: what combines the splines to the functions of each network.
        """
        raise NotImplementedError
