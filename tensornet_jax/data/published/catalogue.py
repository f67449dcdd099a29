"""Public potentials that this package converts, as their publishers describe them."""

import datetime
from collections.abc import Collection
from pathlib import Path

from ase.data import atomic_numbers
from pydantic import Field, field_validator

from tensornet_jax.config import Config, load_config

CATALOGUE = Path(__file__).with_suffix(".yaml")


class PublicPotential(Config):
    """A potential that others have trained and published."""

    name: str = Field(description="what its publisher calls it")
    publisher: str = Field(description="who published it")
    architecture: str = Field(description="the model")
    scope: str = Field(description="what it is for")
    license: str | None = Field(default=None, description="SPDX identifier")
    elements: tuple[str, ...] = Field(min_length=1, description="chemical symbols")
    level_of_theory: str | None = Field(default=None, description="what it was trained on")
    page: str = Field(pattern="^https://", description="where it is published")
    files: tuple[str, ...] = Field(min_length=1, description="what to fetch from there")
    convert: str = Field(pattern="^tensornet-jax convert ", description="what to run then")
    reference: str | None = Field(default=None, description="the paper")

    @field_validator("elements")
    @classmethod
    def _exist(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [symbol for symbol in symbols if symbol not in atomic_numbers]
        if unknown or len(set(symbols)) != len(symbols):
            raise ValueError(f"elements {list(symbols)}: unknown {unknown}, or one is named twice")
        return symbols


class Catalogue(Config):
    """All of them, and the day their publishers' pages were read."""

    checked: datetime.date = Field(description="when the pages were read")
    potentials: tuple[PublicPotential, ...]

    def named(self, name: str) -> PublicPotential:
        """Return one by its name; ValueError if there is none."""
        for potential in self.potentials:
            if potential.name.lower() == name.lower():
                return potential
        known = ", ".join(potential.name for potential in self.potentials)
        raise ValueError(f"the catalogue has no potential {name!r}; it has {known}")

    def with_elements(self, symbols: Collection[str]) -> tuple[PublicPotential, ...]:
        """Return those that know all of these elements."""
        return tuple(p for p in self.potentials if set(symbols) <= set(p.elements))


def load_catalogue() -> Catalogue:
    """Return the catalogue that comes with the package; nothing is downloaded."""
    return load_config(CATALOGUE, Catalogue)
