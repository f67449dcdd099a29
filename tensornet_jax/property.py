"""What one row of the table of properties says; the rows are in `tensornet_jax.properties`."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tensornet_jax.units import Quantity

SCALAR = "scalar"
"""The symmetry of a number: it has no index, and no rotation or inversion changes it."""

LABEL_PREFIX = "REF_"
"""What keys of labels begin with once they are in the units of the table."""


@dataclass(frozen=True, kw_only=True)
class Minus:
    """What data may have in place of a property: minus it, up to a factor; fields as there."""

    name: str
    quantity: "Quantity"
    aliases: tuple[str, ...]
    weights: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of data that hold it, the best first."""
        return (LABEL_PREFIX + self.name, *self.aliases)


@dataclass(frozen=True)
class Property:
    """One row of the table.

    What it is:

    Attributes:
        name: in configurations, data, predictions, calculators and records.
        title: over plots.
        unit: of labels and predictions; "" for a number without one.
        per: one for each structure, atom, or pair of atoms.
        symmetry: "scalar", or its indices and what may be exchanged, such as "i", "ij=ji" or "ij".
        traceless: whether it has no trace over any two indices.
        mean: of structures: intensive, the mean over the atoms rather than their sum.
        positive_definite: whether predictions must be.
        sum_to_zero: of atoms: whether the mean over a structure is taken off.
        quantity: what it is measured in, if `units` converts it.
        source: which of a model's outputs it comes of or is; "tensors" is a head of its own, and
            "uncertainty" what a model has that was given one, and "velocities" what follows from
            the model and from velocities, so that only simulations have it.
        where: in which structures it has a meaning: everywhere, in molecules (no periodic
            direction), or in cells (those with a volume).
        costly: a derivative that takes a pass through the model for each of its rows.
        on_request: computed only where it is asked for by name, since it costs more.
        ase: ASE's calculators have it under this name, and every file format of ASE keeps it.

    How data have it:

    Attributes:
        aliases: keys of data after `label_key`, the best first.
        minus: what data may have in its place.
        weights: names in the keys of its weights, `config_NAME_weight`; () for its own.
        words: names under which files state its unit.
        look: regular expression of words that make a key look like it.
        section: `data.labels` and `loss` have a key of its own for it; others stand under
            `tensors` there.

    How reports show it:

    Attributes:
        shown_unit: unit that a reader wants, if it is another.
        shown_factor: from `unit` to it.
        errors_per_atom: errors are divided by the number of atoms.
    """

    name: str
    title: str
    unit: str = ""
    per: Literal["structure", "atom", "pair"] = "structure"
    symmetry: str = SCALAR
    traceless: bool = False
    mean: bool = False
    positive_definite: bool = False
    sum_to_zero: bool = False
    quantity: "Quantity | None" = None
    source: Literal["energy", "dipole", "charges", "tensors", "uncertainty", "velocities"] = (
        "tensors"
    )
    where: Literal["everywhere", "molecules", "cells"] = "everywhere"
    costly: bool = False
    on_request: bool = False
    ase: bool = False
    aliases: tuple[str, ...] = ()
    minus: Minus | None = None
    weights: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    look: str = ""
    section: bool = False
    shown_unit: str = ""
    shown_factor: float = 1.0
    errors_per_atom: bool = False

    @property
    def rank(self) -> int:
        """Number of its indices."""
        return 0 if self.symmetry == SCALAR else len(self.symmetry.split("=")[0].strip())

    def why_not(self, *, periodic: bool, has_volume: bool) -> str | None:
        """Return why structures have none of it, None where they have.

        Args:
            periodic: in any direction.
            has_volume: whether their cell spans one.
        """
        if self.where == "cells" and not has_volume:
            return f"{self.name} needs a cell with a volume"
        if self.where == "molecules" and periodic:
            return f"{self.name} has no meaning in a periodic structure"
        return None

    @property
    def label_key(self) -> str:
        """Key of labels in the units of the table."""
        return LABEL_PREFIX + self.name

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of data that hold it, the best first."""
        return (self.label_key, *self.aliases)

    @property
    def plain_unit(self) -> str:
        """Its unit as headers of files have it, cubes as ^3."""
        return self.unit.replace("³", "^3")

    @property
    def shown(self) -> tuple[str, float]:
        """Unit that a reader wants, and the factor from `unit` to it."""
        return self.shown_unit or self.unit, self.shown_factor

    @property
    def compared(self) -> "Property":
        """What its errors are counted in: itself, or its share of each atom."""
        if not self.errors_per_atom:
            return self
        return replace(
            self,
            name=f"{self.name}_per_atom",
            title=f"{self.title} per atom",
            unit=f"{self.unit}/atom",
            shown_unit=f"{self.shown_unit}/atom" if self.shown_unit else "",
            errors_per_atom=False,
        )
