"""What the package asks of every model's configuration; read without jax."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tensornet_jax.config import NOT_SET_BY_USERS, Config
from tensornet_jax.graph.long_range import LongRange
from tensornet_jax.models.heads.level_config import Levels
from tensornet_jax.models.heads.tensor_config import NamedTensorHead, check_reachable
from tensornet_jax.models.physics.config import AnyPrior, Coulomb, CoulombRange, finest_k_vectors
from tensornet_jax.properties import PROPERTIES, Property


class Compression(Config):
    """How the radial functions are tabulated; made by `tensornet_jax.potential.compress`.

    rank: functions that all the model's radial functions are combined from.
    intervals: equal parts of the distance from 0 to the cutoff, each with a cubic of its own.
    """

    rank: int = Field(ge=1)
    intervals: int = Field(ge=4)


class Answers(Config):
    """What a model answers unless it knows better."""

    @property
    def compressible(self) -> bool:
        """Whether the module has `radial_functions` that can be tabulated, and runs on tables."""
        return False

    def compressed(self, compression: Compression) -> Self:
        """Return the configuration of the compressed model; see `Model.compressed`."""
        return self.model_copy(update={"compression": compression})

    @property
    def highest_degree(self) -> int:
        """The highest degree of the features that heads see."""
        return 2

    @property
    def degree_remedy(self) -> str:
        """What to do about a tensor that needs a higher degree."""
        return "use mace or escn with features of a higher degree"

    @property
    def last_weights(self) -> tuple[str, ...]:
        """Paths of the weights that energies of atoms are linear in, below "params"; () for none.

        They are those of the last linear layer of the energy's read-out, biases left out, by which
        the package knows how sure a model is of its energies.
        """
        return ()

    @property
    def tables(self) -> Literal["one", "pairs", "edges"]:
        """What has radial functions of its own.

        ``one``: nothing; they are the same for all elements. ``pairs``: two elements, in either
        order. ``edges``: the element of a receiver and that of a sender.
        """
        return "one"

    def check_state(self, charge: float, spin: int, where: str = "") -> None:
        """Raise ValueError where the model knows no structures of such a charge or spin.

        Args:
            charge: total charge, e.
            spin: multiplicity; 0 where the model does not depend on it.
            where: how the message names the structure.
        """


class ModelConfig(Levels, Answers):
    """What the package asks of every model's configuration.

    A model adds a `name`, the same as in ``MODELS``, and its hyperparameters. Its answers to the
    questions below are properties that it may override.
    """

    cutoff: float = Field(default=5.0, gt=0, description="cutoff radius, Å")
    heads: tuple[Literal["energy", "dipole"], ...] = Field(
        default=("energy",),
        description="what the model predicts besides derivatives and tensors",
    )
    dipole_form: Literal["charges", "charges_and_dipoles"] = Field(
        default="charges",
        description="of the dipole head: charges (torchmd-net's, unconstrained, about the center "
        "of mass), or charges that sum to the total charge and dipoles of the atoms",
    )
    tensors: tuple[NamedTensorHead, ...] = Field(
        default=(),
        description="tensors to predict: names of known ones (polarizability, shielding, "
        "elasticity, ...), or sections with name, symmetry and so on",
    )
    priors: tuple[AnyPrior, ...] = Field(
        default=(),
        description="energies that are added to the network's and need not be learned: zbl, d2, "
        "coulomb",
    )
    electronic_state: tuple[Literal["charge", "spin"], ...] = Field(
        default=(),
        description="what the atoms' first features know of the electrons: the structure's total "
        "charge, its spin multiplicity",
    )
    compression: Compression | None = Field(
        default=None,
        description="left by tensornet-jax compress; null for a model to be trained",
        json_schema_extra=NOT_SET_BY_USERS,
    )

    committee: int | None = Field(
        default=None,
        ge=2,
        description="left by training.committee: models of other weights whose mean this is",
        json_schema_extra=NOT_SET_BY_USERS,
    )

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        names = [*self.heads, *(head.name for head in self.tensors)]
        if len(set(names)) != len(names):
            raise ValueError(f"heads and tensors {names} name one twice")
        if not names:
            raise ValueError("nothing to predict: give heads, e.g. [energy], or tensors")
        if self.compression is not None and not self.compressible:
            raise ValueError("compression: this model has no functions of distance alone")
        check_reachable(self.tensors, self.highest_degree, self.degree_remedy)
        finest_k_vectors(self.coulomb_ranges, self.cutoff)
        return self

    @model_validator(mode="after")
    def _distinct_state(self) -> Self:
        if len(set(self.electronic_state)) != len(self.electronic_state):
            raise ValueError(f"electronic_state {list(self.electronic_state)} names an input twice")
        return self

    @model_validator(mode="after")
    def _check_head_scales(self) -> Self:
        for prior in self.priors:
            if prior.head_scales and len(prior.head_scales) != self.num_levels:
                raise ValueError(
                    f"prior {prior.name} has {len(prior.head_scales)} head_scales, and the model "
                    f"{self.num_levels} heads"
                )
        return self

    @property
    def reach(self) -> float:
        """Distance in Å beyond which atoms have no energy together; may be infinite."""
        ranges = [each.molecule_reach() for each in self.coulomb_ranges]
        return max([self.cutoff, *ranges, *(prior.reach(self.cutoff) for prior in self.priors)])

    @property
    def long_cutoff(self) -> float | None:
        """Reach of a second list of pairs in Å, infinite for all; None where none is needed."""
        return self.reach if self.reach > self.cutoff else None

    @property
    def coulomb_ranges(self) -> tuple[CoulombRange, ...]:
        """Which charges count in each Coulomb energy of the model."""
        return tuple(prior for prior in self.priors if isinstance(prior, Coulomb))

    @property
    def long_range(self) -> LongRange | None:
        """What structures need beyond the cutoff; None for nothing."""
        if self.long_cutoff is None:
            return None
        reaches = [each.periodic_reach(self.cutoff) for each in self.coulomb_ranges]
        reaches += [prior.periodic_reach(self.cutoff) for prior in self.priors]
        k_vectors = finest_k_vectors(self.coulomb_ranges, self.cutoff)
        return LongRange(self.reach, max([self.cutoff, *reaches]), k_vectors)

    @property
    def needs_charges(self) -> bool:
        """Whether structures have to bring the charges of their atoms."""
        return any(isinstance(p, Coulomb) and p.charges == "fixed" for p in self.priors)

    @property
    def sees_charge(self) -> bool:
        """Whether anything it predicts depends on the total charge, or on charges of the atoms."""
        return "charge" in self.electronic_state or self.predicts_charges or self.needs_charges

    @property
    def needs_spin(self) -> bool:
        """Whether structures have to bring a spin multiplicity."""
        return "spin" in self.electronic_state

    @property
    def predicts_charges(self) -> bool:
        """Whether the model has charges of the atoms among its outputs."""
        return self.has_atomic_dipoles or self.sums_predicted_charges

    @property
    def sums_predicted_charges(self) -> bool:
        """Whether a prior is the Coulomb energy of charges that the model predicts."""
        return any(isinstance(p, Coulomb) and p.charges == "predicted" for p in self.priors)

    @property
    def has_atomic_dipoles(self) -> bool:
        """Whether its dipole has the form "charges_and_dipoles"."""
        return "dipole" in self.heads and self.dipole_form == "charges_and_dipoles"

    @property
    def predicted(self) -> dict[str, Property]:
        """What the model predicts, and what follows from it, by name and in the table's order."""
        sources = {*self.heads, *(("charges",) if self.predicts_charges else ())}
        own = {row.name: row for row in PROPERTIES.values() if row.source in sources}
        return own | {head.name: head.row for head in self.tensors}

    @property
    def own_heads(self) -> tuple[str, ...]:
        """The heads that the model makes itself of its scalars."""
        return tuple(h for h in self.heads if h != "dipole" or not self.has_atomic_dipoles)

    @property
    def has_other_heads(self) -> bool:
        """Whether it needs `heads.read_outs.OtherHeads`."""
        return bool(self.tensors) or self.has_atomic_dipoles or self.sums_predicted_charges

    @property
    def num_hops(self) -> int:
        """How many cutoffs away from an atom lie the atoms that its energy depends on."""
        raise NotImplementedError(f"{type(self).__name__} does not say how far its messages go")

    @property
    def of_all_atoms(self) -> tuple[str, ...]:
        """What of its energy depends on all atoms of a structure at once, however far apart."""
        coulomb = ("Coulomb energies",) if self.coulomb_ranges else ()
        return (*coulomb, *(f"electronic_state: {name}" for name in self.electronic_state))

    def require_local(self) -> None:
        """Raise ValueError if energies of atoms depend on more than what lies around them.

        Such a potential cannot be evaluated part by part, as engines with domain decomposition do.
        """
        if self.of_all_atoms:
            raise ValueError(
                f"this {self.name} has {', '.join(self.of_all_atoms)}: they depend on all atoms at "
                "once and cannot be divided over processes that know some of the atoms each; run "
                "it with tensornet-jax md or the ASE calculator"
            )

    def require_energy(self) -> None:
        """Raise ValueError if the model has no energy, and so no forces to move atoms by."""
        if "energy" not in self.heads:
            raise ValueError(
                f"this {self.name} predicts no energy, and so no forces that move atoms, only "
                f"{', '.join(self.predicted)}: take a model with the head energy, or `predict`"
            )

    def fitted(self, avg_num_neighbors: float) -> Self:
        """Return the configuration with what it leaves to the training data filled in.

        Args:
            avg_num_neighbors: mean number of neighbors of an atom within the cutoff.
        """
        return self


def require_single(config: ModelConfig, purpose: str) -> None:
    """Raise ValueError if a model is a committee, and what is asked for is of one.

    Args:
        config: of the model.
        purpose: what is asked for, as the message says it: "be compressed".
    """
    if config.committee:
        raise ValueError(
            f"this {config.name} is a committee of {config.committee}, which cannot {purpose}: "
            "take a member of it (tensornet_jax.potential.members)"
        )


def require_last_layer(config: ModelConfig) -> None:
    """Raise ValueError if no energy is linear in the weights of a last layer.

    Args:
        config: of the model.
    """
    config.require_energy()
    config.require_one_level()
    if not config.last_weights:
        raise ValueError(
            f"this {config.name} does not say what the last linear layer of its energies is: its "
            "configuration needs the property last_weights"
        )
