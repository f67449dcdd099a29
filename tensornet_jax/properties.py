"""The table of properties: one row says all there is to know of what can be predicted.

Labels and their keys, loss terms, errors and plots, results of calculators, records of simulations,
exported programs and checks read it. A property of a kind that the package does not know is one
more row (`register`) and one more head (`tensors` in a model's section). Nothing here needs numpy
or jax.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
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
        source: which of a model's outputs it comes of or is; "tensors" is a head of its own.
        where: in which structures it has a meaning: everywhere, in molecules (no periodic
            direction), or in cells (those with a volume).
        costly: a derivative that takes a pass through the model for each of its rows.
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
    source: Literal["energy", "dipole", "charges", "tensors"] = "tensors"
    where: Literal["everywhere", "molecules", "cells"] = "everywhere"
    costly: bool = False
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


_ENERGIES = (
    Property(
        "energy",
        "Energy",
        "eV",
        quantity="energy",
        source="energy",
        ase=True,
        aliases=(
            *("energy", "Energy", "energies", "dft_energy", "dft_total_energy"),
            *("DFT_energy", "total_energy", "potential_energy", "TotEnergy", "E"),
            *("free_energy", "REF_free_energy"),
        ),
        words=(
            *("energy", "energies", "potential_energy", "total_energy", "e", "en", "ener"),
            *("dft_energy", "ref_energy"),
        ),
        look=r"energy|energies",
        section=True,
        shown_unit="meV",
        shown_factor=1e3,
        errors_per_atom=True,
    ),
    Property("free_energy", "Free energy", "eV", source="energy", ase=True),
    Property("energies", "Energies of atoms", "eV", per="atom", source="energy", ase=True),
    Property(
        "forces",
        "Forces",
        "eV/Å",
        per="atom",
        symmetry="i",
        quantity="force",
        source="energy",
        ase=True,
        aliases=(
            *("REF_force", "forces", "Forces", "force", "atomic_forces"),
            *("dft_forces", "dft_force", "DFT_forces", "F"),
        ),
        minus=Minus(
            name="gradient",
            quantity="force",
            aliases=(
                *("REF_gradients", "gradient", "gradients"),
                *("dft_gradient", "dft_total_gradient"),
            ),
        ),
        weights=("forces", "force"),
        words=("force", "forces", "f", "gradient", "gradients", "grad", "ref_forces"),
        look=r"forces?|gradients?",
        section=True,
        shown_unit="meV/Å",
        shown_factor=1e3,
    ),
    Property(
        "stress",
        "Stress",
        "eV/Å³",
        symmetry="ij=ji",
        mean=True,
        quantity="stress",
        source="energy",
        where="cells",
        ase=True,
        aliases=("stress", "Stress", "dft_stress", "DFT_stress"),
        # Times the volume.
        minus=Minus(
            name="virial",
            quantity="energy",
            aliases=(
                *("REF_virials", "virial", "virials", "Virial", "Virials"),
                *("dft_virial", "dft_virials", "DFT_virial", "DFT_virials"),
            ),
            weights=("virials", "virial"),
        ),
        words=("stress", "stresses", "pressure", "ref_stress"),
        look=r"stress|virials?",
        section=True,
        shown_unit="meV/Å³",
        shown_factor=1e3,
    ),
    Property(
        "hessian", "Hessian", "eV/Å²", per="pair", symmetry="ij", source="energy", costly=True
    ),
)
_CHARGES = (
    Property(
        "dipole",
        "Dipole",
        "e·Å",
        symmetry="i",
        quantity="dipole",
        source="dipole",
        where="molecules",
        ase=True,
        aliases=(
            *("REF_dipoles", "dipole", "dipoles", "dipole_moment"),
            *("dft_dipole", "DFT_dipole", "scf_dipole"),
        ),
        words=("dipole", "dipoles", "dipole_moment", "dipole_moments", "mu", "ref_dipole"),
        look=r"dipoles?",
        section=True,
    ),
    Property(
        "polar_tensors",
        "Polar tensors",
        "e",
        per="atom",
        symmetry="ij",
        source="dipole",
        where="molecules",
        costly=True,
    ),
    Property("charges", "Charges", "e", per="atom", quantity="charge", source="charges", ase=True),
)
_TENSORS = (
    Property("polarizability", "Polarizability", "Å³", symmetry="ij=ji"),
    Property("hyperpolarizability", "Hyperpolarizability", "a.u.", symmetry="ijk=jik=ikj"),
    Property("quadrupole", "Quadrupole", "e·Å²", symmetry="ij=ji", traceless=True),
    Property(
        "magnetic_anisotropy", "Magnetic anisotropy", "cm⁻¹", symmetry="ij=ji", traceless=True
    ),
    Property("shielding", "Shielding", "ppm", per="atom", symmetry="ij"),
    Property("born_charges", "Born charges", "e", per="atom", symmetry="ij", sum_to_zero=True),
    Property("dielectric", "Dielectric", symmetry="ij=ji", mean=True, positive_definite=True),
    Property("piezoelectric", "Piezoelectric", "C/m²", symmetry="ijk=ikj", mean=True),
    Property(
        "elasticity",
        "Elasticity",
        "GPa",
        symmetry="ijkl=jikl=klij",
        mean=True,
        positive_definite=True,
    ),
)

_rows = {row.name: row for row in (*_ENERGIES, *_CHARGES, *_TENSORS)}
PROPERTIES: Mapping[str, Property] = MappingProxyType(_rows)
"""The rows by name; `register` adds to them."""

LABELLED = tuple(row for row in _rows.values() if row.section)
"""Those with keys of their own in `data.labels` and `loss`."""

KINDS: Mapping[str, Property | Minus] = MappingProxyType(
    {each.name: each for row in LABELLED for each in (row, row.minus) if each is not None}
)
"""What keys of `data.labels` name: those, and what data may have in their place."""

INPUTS = ("charge", "spin")
"""What structures bring beside their atoms, and so no property can be called."""


def check_name(name: str) -> None:
    """Raise ValueError unless a head may have this name."""
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]*", name):
        raise ValueError(f"name {name!r}: use letters, digits and _")
    row = _rows.get(name)
    if name in (*INPUTS, *KINDS) or (row is not None and row.source != "tensors"):
        raise ValueError(f"name {name!r} is taken by another property: choose another")


def register(row: Property) -> None:
    """Add a property that a head of its own predicts; its name is then enough in `tensors`.

    Args:
        row: what it is; data are searched for `name`, `label_key` and `aliases`. The same row
            once more changes nothing.

    Raises:
        ValueError: the name cannot be used or is taken, or the row says that the property comes of
            the energy or another output, or has a section of its own in configurations.
    """
    check_name(row.name)
    known = _rows.get(row.name)
    if known == row:
        return
    if known is not None:
        raise ValueError(f"there is a property {row.name!r} already: choose another name")
    strange = (row.source != "tensors", row.section, row.per == "pair", row.costly, row.ase)
    if any(strange) or row.errors_per_atom or row.minus is not None:
        raise ValueError(
            f"property {row.name!r}: only what a head of its own predicts, of structures or atoms, "
            "can be added: leave out source, section, costly, ase, errors_per_atom and minus"
        )
    _rows[row.name] = row


def title_of(name: str) -> str:
    """Return the title of a property, of a name that has no row its words."""
    row = _rows.get(name)
    return name.replace("_", " ").capitalize() if row is None else row.title
