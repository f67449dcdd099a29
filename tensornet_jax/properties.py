"""The table of properties: one row says all there is to know of what can be predicted.

Labels and their keys, loss terms, errors and plots, results of calculators, records of simulations,
exported programs and checks read it. A property of a kind that the package does not know is one
more row (`register`) and one more head (`tensors` in a model's section). Nothing here needs numpy
or jax.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from tensornet_jax.property import LABEL_PREFIX, SCALAR, Minus, Property

__all__ = [
    "DEVIATIONS",
    "FLUXES",
    "INPUTS",
    "KINDS",
    "LABELLED",
    "LABEL_PREFIX",
    "PROPERTIES",
    "SCALAR",
    "Minus",
    "Property",
    "check_name",
    "register",
    "title_of",
]

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

_UNCERTAIN = ("energy", "energies", "forces", "stress")


def _deviation_of(row: Property) -> Property:
    """The row of the standard deviation of a property, component by component."""
    return Property(
        f"{row.name}_std",
        f"Uncertainty of {row.title.lower()}",
        row.unit,
        per=row.per,
        symmetry=row.symmetry,
        mean=row.mean,
        source="uncertainty",
        where=row.where,
        on_request=True,
        shown_unit=row.shown_unit,
        shown_factor=row.shown_factor,
    )


_DEVIATIONS = tuple(_deviation_of(row) for row in _ENERGIES if row.name in _UNCERTAIN)

_FLUXES = (
    Property("heat_flux", "Heat flux", "eV·Å/fs", symmetry="i", source="velocities"),
    Property(
        "heat_flux_potential",
        "Heat flux of interactions",
        "eV·Å/fs",
        symmetry="i",
        source="velocities",
    ),
)

_rows = {row.name: row for row in (*_ENERGIES, *_CHARGES, *_TENSORS, *_DEVIATIONS, *_FLUXES)}
PROPERTIES: Mapping[str, Property] = MappingProxyType(_rows)
"""The rows by name; `register` adds to them."""

DEVIATIONS: Mapping[str, Property] = MappingProxyType({row.name: row for row in _DEVIATIONS})
"""Those of standard deviations, which a potential has if it was given an uncertainty."""

FLUXES: Mapping[str, Property] = MappingProxyType({row.name: row for row in _FLUXES})
"""Those of heat fluxes times the volume, which simulations record."""

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
