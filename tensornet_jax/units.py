"""Named units and their values in the package's own: eV, Å, eV/Å, eV/Å³, e·Å.

Constants are those of `ase.units` (CODATA 2014), so that energies agree with ASE to the last digit.
"""

import unicodedata
from typing import Literal, get_args

from ase import units as ase_units

Quantity = Literal["energy", "length", "force", "stress", "dipole"]

COULOMB = ase_units.Hartree * ase_units.Bohr
"""e²/(4πε₀) in eV·Å: the energy of two elementary charges 1 Å apart."""

# The first spelling of each unit is the one that messages show.
_ENERGY: dict[tuple[str, ...], float] = {
    ("eV", "ev", "electronvolt"): 1.0,
    ("meV",): 1e-3,
    ("kcal/mol",): ase_units.kcal / ase_units.mol,
    ("kJ/mol", "kj/mol"): ase_units.kJ / ase_units.mol,
    ("Hartree", "hartree", "Ha", "Eh"): ase_units.Hartree,
    ("Ry", "Rydberg", "rydberg"): ase_units.Rydberg,
}
_LENGTH: dict[tuple[str, ...], float] = {
    ("Å", "A", "Ang", "Angstrom", "angstrom", "Ångström", "ångström"): 1.0,
    ("Bohr", "bohr", "a0"): ase_units.Bohr,
    ("nm",): ase_units.nm,
}
_PRESSURE: dict[tuple[str, ...], float] = {
    ("GPa",): ase_units.GPa,
    ("kbar", "kBar", "kB"): 0.1 * ase_units.GPa,
    ("bar",): 1e-4 * ase_units.GPa,
    ("Pa",): ase_units.Pascal,
}
_DIPOLE: dict[tuple[str, ...], float] = {
    ("e·Å", "e*Å", "eÅ", "e*A", "eA", "e*angstrom", "e*Angstrom", "e·Angstrom"): 1.0,
    ("Debye", "debye", "D"): ase_units.Debye,
    ("atomic units", "a.u.", "au", "e·Bohr", "e*Bohr", "e*bohr", "e·a0"): ase_units.Bohr,
}


def _per_length(power: int) -> dict[tuple[str, ...], float]:
    suffixes = ("",) if power == 1 else (f"^{power}", "³", f"**{power}")
    return {
        tuple(f"{e}/{x}{s}" for s in suffixes for e in energies for x in lengths): energy
        / length**power
        for energies, energy in _ENERGY.items()
        for lengths, length in _LENGTH.items()
    }


_UNITS: dict[str, dict[tuple[str, ...], float]] = {
    "energy": _ENERGY,
    "length": _LENGTH,
    "force": _per_length(1),
    "stress": {**_per_length(3), **_PRESSURE},
    "dipole": _DIPOLE,
}
_FACTORS: dict[str, dict[str, float]] = {
    quantity: {spelling: factor for names, factor in units.items() for spelling in names}
    for quantity, units in _UNITS.items()
}


def conversion_factor(name: str, quantity: Quantity) -> float:
    """Return the factor from the unit `name` to eV, Å, eV/Å, eV/Å³ or e·Å.

    Args:
        name: the unit, e.g. `"kcal/mol/Å"`. Upper and lower case differ, as meV and MeV do.
        quantity: "energy", "length", "force", "stress" or "dipole".

    Raises:
        ValueError: the unit is not known for this quantity; the message lists those that are.
    """
    if quantity not in _FACTORS:
        raise ValueError(f"quantity {quantity!r} is not one of {', '.join(get_args(Quantity))}")
    # The Ångström sign and the letter Å look alike and compare unequal.
    factor = _FACTORS[quantity].get(unicodedata.normalize("NFC", name).strip())
    if factor is None:
        accepted = ", ".join(names[0] for names in _UNITS[quantity])
        raise ValueError(f"unit {name!r} is not a known {quantity} unit: use one of {accepted}")
    return factor
