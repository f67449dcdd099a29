"""Which keys of the data hold labels, in which units, signs and orders."""

import re
from collections.abc import Container
from typing import Annotated, Literal

import numpy as np
import pydantic
from pydantic import Field

from tensornet_jax.config import Config
from tensornet_jax.data.labels.tensors import KeyOrTensorLabel
from tensornet_jax.properties import KINDS, LABELLED
from tensornet_jax.units import Quantity, conversion_factor

STATE_ALIASES = {
    "charge": ("charge", "total_charge"),
    "spin": ("spin", "spin_multiplicity", "multiplicity"),
}
"""Keys of `Atoms.info`, the package's own first."""

PROPERTIES = tuple(row.name for row in LABELLED)
# Searched in this order where the configuration names no key. `gradient` is dE/dr, minus the
# force; `virial` is minus the stress times the volume.
ALIASES: dict[str, tuple[str, ...]] = {name: kind.keys for name, kind in KINDS.items()}
MINUS_OF = {row.name: row.minus.name for row in LABELLED if row.minus is not None}

Sign = Literal["tension_positive", "compression_positive"]
_ORDERS = {
    "voigt": "xx,yy,zz,yz,xz,xy",
    "vasp": "xx,yy,zz,xy,yz,zx",
    "lammps": "xx,yy,zz,xy,xz,yz",
    "upper_triangle": "xx,xy,xz,yy,yz,zz",
}


def _components(order: str) -> list[str]:
    return re.split(r"[,\s]+", _ORDERS.get(order, order).strip())


def _check_order(order: str) -> str:
    found = {"".join(sorted(name)) for name in _components(order)}
    if len(_components(order)) != 6 or found != {"xx", "yy", "zz", "yz", "xz", "xy"}:
        raise ValueError(
            f"{order!r} is no order of six components: use {', '.join(_ORDERS)}, or write them "
            f"as in {_ORDERS['vasp']}"
        )
    return order


class LabelUnits(Config):
    """Units of the data; null: what the file states, else eV, Å and e·Å.

    Force and stress follow from energy and length unless they are given or stated.
    Spin is the multiplicity 2S + 1, or the number of unpaired electrons 2S.
    """

    energy: str | None = Field(
        default=None, description="null: what the file states, else eV; so for the others"
    )
    length: str | None = Field(default=None, description="null: else Å")
    force: str | None = Field(default=None, description="null: else energy/length")
    stress: str | None = Field(default=None, description="null: else energy/length^3")
    dipole: str | None = Field(default=None, description="null: else e·Å")
    spin: Literal["multiplicity", "unpaired_electrons"] = "multiplicity"

    @pydantic.model_validator(mode="after")
    def _known_units(self) -> "LabelUnits":
        for quantity in ("energy", "length", "force", "stress", "dipole"):
            self.factor(quantity)
        return self

    def factor(self, quantity: Quantity) -> float:
        """Return the factor from the data's unit of `quantity` to the package's."""
        name = getattr(self, quantity)
        if name is not None:
            return conversion_factor(name, quantity)
        power = {"force": 1, "stress": 3}.get(quantity)
        if power is None:
            return 1.0
        return self.factor("energy") / self.factor("length") ** power


class LabelConfig(Config):
    """Which keys of the data hold the labels (None: search the usual names), and their units.

    `gradient` (dE/dr = −forces) and `virial` (−volume·stress) may be named in place of forces and
    stress. `tensors` names where other tensors stand. `charge` and `spin` are no labels but
    inputs, the total charge and the spin multiplicity.
    """

    energy: str | None = None
    forces: str | None = None
    gradient: str | None = None
    stress: str | None = None
    virial: str | None = None
    dipole: str | None = None
    charge: str | None = None
    spin: str | None = None
    tensors: dict[str, KeyOrTensorLabel] = Field(
        default={}, description="keys of tensors, by the name of the model's head"
    )
    stress_sign: Sign = Field(
        default="tension_positive",
        description="sign of stress labels: tension_positive (ASE, a compressed crystal has a "
        "negative trace) or compression_positive (what VASP prints)",
    )
    virial_sign: Sign = Field(
        default="compression_positive",
        description="sign of virials: compression_positive (−volume·stress, as MACE and QUIP "
        "write them) or tension_positive (+volume·stress)",
    )
    stress_order: Annotated[str, pydantic.AfterValidator(_check_order)] = Field(
        default="voigt",
        description="order of stresses and virials of six numbers: voigt (xx yy zz yz xz xy), vasp "
        "(xx yy zz xy yz zx), lammps (xx yy zz xy xz yz), upper_triangle (xx xy xz yy yz zz), or "
        "six names",
    )
    zero_forces: Literal["label", "missing"] = Field(
        default="label",
        description="forces of exactly zero on an atom: a label, or missing as those of frozen "
        "atoms that were never saved",
    )
    ignore: tuple[Literal["energy", "forces", "stress", "dipole"], ...] = Field(
        default=(), description="labels that are not read although the data have them"
    )
    units: LabelUnits = LabelUnits()

    @pydantic.model_validator(mode="after")
    def _one_name_each(self) -> "LabelConfig":
        for name, minus in MINUS_OF.items():
            if getattr(self, name) is not None and getattr(self, minus) is not None:
                raise ValueError(f"labels.{name} and labels.{minus} are both given: keep one")
        for kind in ALIASES:
            if property_of(kind) in self.ignore and getattr(self, kind) is not None:
                raise ValueError(f"labels.{kind} is given and {property_of(kind)} ignored")
        if self.units.spin != "multiplicity" and self.spin is None:
            # Under the usual names a multiplicity is what is meant.
            raise ValueError(
                f"labels.units.spin is {self.units.spin}: name the key that has them, labels.spin"
            )
        return self

    def configured(self) -> dict[str, str]:
        """Return property → key for the keys that are named explicitly."""
        tensors = {f"tensors.{name}": label.key for name, label in self.tensors.items()}
        return {p: key for p in ALIASES if (key := getattr(self, p)) is not None} | tensors

    def accepted(self, kind: str) -> tuple[str, ...]:
        """Return the keys that one of `configured` may be under."""
        label = self.tensors.get(kind.removeprefix("tensors."))
        if label is None or kind in ALIASES:
            return (self.configured()[kind],)
        return (label.key, *label.aliases)

    def for_keys(self, keys: Container[str]) -> "LabelConfig":
        """Return the configuration with each tensor under that of its keys which is there."""
        tensors = {name: label.for_keys(keys) for name, label in self.tensors.items()}
        same = all(label is self.tensors[name] for name, label in tensors.items())
        return self if same else self.model_copy(update={"tensors": tensors})

    def decided(self, name: str) -> bool:
        """Whether the configuration itself says where a property is, or that it is not read."""
        kinds = (name, MINUS_OF.get(name, name))
        return name in self.ignore or any(getattr(self, kind) is not None for kind in kinds)

    def state_keys(self, kind: str) -> tuple[str, ...]:
        """Return the keys to search for one of STATE_ALIASES."""
        explicit = getattr(self, kind)
        return STATE_ALIASES[kind] if explicit is None else (explicit,)

    def keys(self, kind: str) -> tuple[str, ...]:
        """Return the keys to search for a property, best first.

        Args:
            kind: one of ALIASES.
        """
        explicit = getattr(self, kind)
        if explicit is not None:
            return (explicit,)
        return () if self.decided(property_of(kind)) else ALIASES[kind]

    def sign(self, kind: str) -> float:
        """Return +1 where a key of this kind has the sign of its property, else −1."""
        if kind == "virial":
            return 1.0 if self.virial_sign == "tension_positive" else -1.0
        if kind == "stress":
            return 1.0 if self.stress_sign == "tension_positive" else -1.0
        return -1.0 if kind == "gradient" else 1.0


def matrix_of_six(six: object, order: str = "voigt") -> np.ndarray:
    """Return the symmetric (3, 3) matrix of six numbers, or texts, in a given `stress_order`."""
    values = np.asarray(six)
    matrix = np.empty((3, 3), dtype=values.dtype)
    for name, value in zip(_components(order), values, strict=True):
        i, j = ("xyz".index(axis) for axis in name)
        matrix[i, j] = matrix[j, i] = value
    return matrix


def property_of(kind: str) -> str:
    """Return what a key of this kind labels: forces for gradient, stress for virial."""
    kind = kind.removeprefix("tensors.")
    return next((name for name, minus in MINUS_OF.items() if minus == kind), kind)
