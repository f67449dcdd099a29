"""The settings of a choice of structures."""

from typing import Literal, TypeAlias

from pydantic import Field

from tensornet_jax.config import Config

By: TypeAlias = Literal["deviation", "distance", "determinant"]
Of: TypeAlias = Literal["forces", "energy"]


class SelectionConfig(Config):
    """How structures are chosen, and which never are."""

    count: int = Field(default=50, ge=1, description="structures to choose, at most")
    by: By = Field(
        default="determinant",
        description="deviation: those the model is the least sure of, one by one; distance: those "
        "farthest from each other in the features of the last layer; determinant: those whose "
        "labels together say the most about the weights of the last layer",
    )
    of: Of = Field(
        default="forces",
        description="deviation only: of forces (the least certain atom's) or of the energy per "
        "atom",
    )
    closest: float = Field(
        default=0.6,
        ge=0,
        description="shortest distance of two atoms, in sums of their covalent radii, below which "
        "a structure is left out; 0 for none",
    )
    largest_force: float = Field(
        default=50.0,
        gt=0,
        description="largest predicted force on an atom, eV/Å, above which a structure is left out",
    )
