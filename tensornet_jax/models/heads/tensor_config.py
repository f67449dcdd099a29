"""Which scalars and tensors a model predicts beside energies: the configuration of their heads."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tensornet_jax.config import Config, unknown_name
from tensornet_jax.ops.harmonics.angular_momentum import is_triangle
from tensornet_jax.properties import PROPERTIES, Property, check_name, title_of
from tensornet_jax.tensors.symmetry import TensorSymmetry, tensor_symmetry

SQUARES = ("ij=ji", "ijkl=jikl=klij")
"""Symmetries whose tensors are symmetric matrices, of vectors or of strains."""

# What a head has of the row of its property.
_OF_ROW = (
    *("name", "symmetry", "traceless", "per", "mean", "positive_definite", "sum_to_zero", "unit"),
)


class TensorHead(Config):
    """A scalar or tensor that the model predicts, of each atom or of the whole structure."""

    name: str = Field(
        description="name of the property, in data, predictions and calculator",
        examples=["polarizability"],
    )
    symmetry: str = Field(
        default="ij=ji",
        description="its indices and their symmetry: i, ij (none), ij=ji, ij=-ji, ijk=ikj, "
        "ijkl=jikl=klij (elasticity); scalar for a number",
    )
    traceless: bool = Field(default=False, description="no trace over any two indices")
    per: Literal["structure", "atom"] = Field(
        default="structure", description="a tensor of the structure, or of each atom"
    )
    mean: bool = Field(
        default=False,
        description="the structure's tensor is the mean over its atoms, as of an intensive "
        "property; false: their sum",
    )
    positive_definite: bool = Field(
        default=False,
        description="make every prediction positive definite, of ij=ji or ijkl=jikl=klij: atoms "
        "have squares of symmetric tensors",
    )
    sum_to_zero: bool = Field(
        default=False,
        description="per atom only: take off the structure's mean, as the acoustic sum rule of "
        "Born charges asks",
    )
    unit: str = Field(default="", description="unit of labels and predictions, for reports")
    width: int = Field(default=32, ge=1, description="channels of the read-out")

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        check_name(value)
        return value

    @field_validator("symmetry")
    @classmethod
    def _check_symmetry(cls, value: str) -> str:
        tensor_symmetry(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "TensorHead":
        space = self.space
        strange = [b.degree for b in space.blocks if b.degree == 0 and not space.is_natural(0)]
        if strange:
            raise ValueError(
                f"symmetry {self.symmetry}: its fully antisymmetric part is a pseudoscalar, which "
                "no head can predict: state a symmetry without it, such as ijk=ikj"
            )
        if self.positive_definite and (self.symmetry not in SQUARES or self.traceless):
            raise ValueError(
                f"positive_definite is for {' and '.join(SQUARES)} with traces, "
                f"not for {self.symmetry}{' without' if self.traceless else ''}"
            )
        if self.per == "atom" and self.mean:
            raise ValueError("mean is for tensors of structures: leave it out with per: atom")
        if self.per == "structure" and self.sum_to_zero:
            raise ValueError("sum_to_zero is for tensors of atoms: set per: atom")
        if self.sum_to_zero and self.positive_definite:
            raise ValueError("sum_to_zero and positive_definite contradict each other: keep one")
        return self

    @property
    def space(self) -> TensorSymmetry:
        """The tensors it may predict."""
        return tensor_symmetry(self.symmetry, self.traceless)

    @property
    def row(self) -> Property:
        """What it predicts, as a row of the table: as it stands there but for what is stated."""
        stated = {field: getattr(self, field) for field in _OF_ROW}
        known = PROPERTIES.get(self.name)
        if known is None:
            return Property(title=title_of(self.name), **stated)
        if known.unit != self.unit:
            stated |= {"shown_unit": "", "shown_factor": 1.0, "quantity": None}
        return replace(known, **stated)

    @property
    def highest_degree(self) -> int:
        """The highest degree among its irreducible parts."""
        return self.space.blocks[-1].degree


def known_head(name: str) -> TensorHead:
    """Return the head of a property that the table has.

    Raises:
        ValueError: it has no such row, or a head cannot be called so.
    """
    row = PROPERTIES.get(name)
    if row is None or row.source != "tensors":
        known = tuple(row.name for row in PROPERTIES.values() if row.source == "tensors")
        message = unknown_name(name, known, "tensor")
        raise ValueError(f"{message}; any other is a section with name, symmetry and so on")
    return TensorHead(**{field: getattr(row, field) for field in _OF_ROW})


def _known(value: object) -> object:
    return known_head(value) if isinstance(value, str) else value


NamedTensorHead = Annotated[TensorHead, BeforeValidator(_known)]
"""A section of `tensors` in a model's configuration, or the name of a known one."""


def coupled_degrees(degree: int, natural: bool, highest: int) -> list[tuple[int, int]]:
    """Pairs of degrees 1 … `highest` that couple to a degree of natural parity, or of the other."""
    return [
        (first, second)
        for first in range(1, highest + 1)
        for second in range(first, highest + 1)
        if is_triangle(first, second, degree) and ((first + second + degree) % 2 == 0) == natural
    ]


def check_reachable(heads: Sequence[TensorHead], highest: int, remedy: str) -> None:
    """Raise ValueError if features up to a degree cannot make a part of some head's tensor.

    Args:
        heads: the heads.
        highest: degree of the model's features.
        remedy: what to change in the model, for the message.
    """
    for head in heads:
        for block in head.space.blocks:
            natural = head.space.is_natural(block.degree)
            direct = natural and block.degree <= highest
            if not direct and not coupled_degrees(block.degree, natural, highest):
                raise ValueError(
                    f"tensor {head.name} has a part of degree {block.degree}, out of reach of "
                    f"features up to degree {highest}: {remedy}"
                )
