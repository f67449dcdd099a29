"""The section of a configuration on the trained model that a run starts from."""

from typing import Annotated, Literal

import pydantic
from ase.data import atomic_numbers
from pydantic import Field

from tensornet_jax.config import NOT_SET_BY_USERS, Config, unknown_name


def _check_new_elements(value: object) -> object:
    if isinstance(value, str) and value not in ("forbid", "add"):
        raise ValueError(unknown_name(value, ("forbid", "add"), "way with new elements"))
    if isinstance(value, dict):
        for symbol in (*value, *value.values()):
            if not isinstance(symbol, str) or atomic_numbers.get(symbol, 0) < 1:
                raise ValueError(f"{symbol!r} is not the symbol of an element")
    return value


class StartConfig(Config):
    """A trained model that training starts from. Its architecture, cutoff and scale are kept."""

    model: str = Field(
        min_length=1,
        description="model file with the weights to start from",
        examples=["universal.safetensors"],
    )
    head: str | None = Field(
        default=None,
        description="of a starting model with several heads: the one that goes on, alone; or, if "
        "data.train names new heads, the one that these begin as",
    )
    reference_energies: Literal["refit", "keep"] = Field(
        default="refit",
        description="energies of isolated atoms, which the network does not see: refit takes those "
        "of data.reference_energies, where least_squares fits what the starting model leaves of "
        "the new energies; keep takes the starting model's, for data of its own level of theory",
    )
    elements: Literal["keep", "data"] = Field(
        default="keep",
        description="elements of the new model: keep all of the starting model, or only those of "
        "the data, which is faster",
    )
    new_elements: Annotated[str | dict[str, str], pydantic.BeforeValidator(_check_new_elements)] = (
        Field(
            default="forbid",
            description="elements of the data that the starting model does not know: forbid, add "
            "(each begins as the mean of the known), or {Ge: Si} (germanium begins as silicon)",
        )
    )
    sha256: str | None = Field(
        default=None,
        description="checksum of the model file, recorded when the run begins",
        json_schema_extra=NOT_SET_BY_USERS,
    )
