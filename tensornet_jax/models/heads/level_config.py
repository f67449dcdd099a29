"""What a model's configuration says of levels of theory; read without jax."""

from typing import Self

from pydantic import Field, model_validator

from tensornet_jax.config import NOT_SET_BY_USERS, Config


class Levels(Config):
    """The levels of theory that a model has heads for."""

    name: str = ""
    levels: tuple[str, ...] = Field(
        default=(),
        description="names of the levels of theory, each with a head of its own (E0, scale and "
        "read-outs) on what all have in common; what data.train says of heads",
        json_schema_extra=NOT_SET_BY_USERS,
    )

    @model_validator(mode="after")
    def _distinct_levels(self) -> Self:
        if len(set(self.levels)) != len(self.levels):
            raise ValueError(f"levels {list(self.levels)} name a head twice")
        return self

    @property
    def num_levels(self) -> int:
        """How many levels of theory it has read-outs for; 1 where nobody has named any."""
        return max(1, len(self.levels))

    def require_one_level(self) -> None:
        """Raise ValueError if it has several heads, of which one has to be chosen first."""
        if self.num_levels > 1:
            raise ValueError(
                f"this model has the heads {', '.join(self.levels)}, each with energies of its "
                "own: choose one (head=… in Python, --head NAME on the command line, head: NAME "
                "in a configuration)"
            )
