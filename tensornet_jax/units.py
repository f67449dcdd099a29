"""Named units and their values in the package's own: eV, Å, eV/Å, eV/Å³, e·Å.

A unit is a product of powers of base units, in any of the spellings that the field uses; what it
is a unit of follows from its dimension. Constants are those of `ase.units` (CODATA 2014), so that
energies agree with ASE to the last digit.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from ase import units as ase_units

Quantity = Literal["energy", "length", "force", "stress", "dipole", "charge"]

COULOMB = ase_units.Hartree * ase_units.Bohr
"""e²/(4πε₀) in eV·Å: the energy of two elementary charges 1 Å apart."""


class _Base(NamedTuple):
    """A base unit: its value and its powers of energy, length, charge and amount of substance."""

    value: float
    dimension: tuple[int, int, int, int]


_ENERGY, _MOLAR, _LENGTH = (1, 0, 0, 0), (1, 0, 0, 1), (0, 1, 0, 0)
_CHARGE, _PRESSURE, _DIPOLE = (0, 0, 1, 0), (1, -3, 0, 0), (0, 1, 1, 0)

# Spellings of which upper and lower case do not matter.
_ANY_CASE: dict[str, _Base] = {
    **dict.fromkeys(("ev", "electronvolt", "electron_volt"), _Base(1.0, _ENERGY)),
    **dict.fromkeys(("hartree", "ha", "eh", "e_h"), _Base(ase_units.Hartree, _ENERGY)),
    **dict.fromkeys(("ry", "rydberg"), _Base(ase_units.Rydberg, _ENERGY)),
    **dict.fromkeys(("kcal", "kilocalorie"), _Base(ase_units.kcal, _MOLAR)),
    **dict.fromkeys(("kj", "kilojoule"), _Base(ase_units.kJ, _MOLAR)),
    **dict.fromkeys(("mol", "mole"), _Base(ase_units.mol, (0, 0, 0, 1))),
    **dict.fromkeys(
        ("å", "ang", "angstrom", "ångström", "ångstrom", "angström"), _Base(1, _LENGTH)
    ),
    **dict.fromkeys(("bohr", "a0", "a_0", "bohr_radius"), _Base(ase_units.Bohr, _LENGTH)),
    **dict.fromkeys(("nanometer", "nanometre"), _Base(ase_units.nm, _LENGTH)),
    **dict.fromkeys(("picometer", "picometre"), _Base(1e-3 * ase_units.nm, _LENGTH)),
    "gpa": _Base(ase_units.GPa, _PRESSURE),
    "kbar": _Base(0.1 * ase_units.GPa, _PRESSURE),
    "bar": _Base(1e-4 * ase_units.GPa, _PRESSURE),
    "pascal": _Base(ase_units.Pascal, _PRESSURE),
    "debye": _Base(ase_units.Debye, _DIPOLE),
    **dict.fromkeys(("elementary_charge", "electron_charge"), _Base(1.0, _CHARGE)),
}
# Spellings that mean something else, or nothing, in another case: meV and MeV, A and a.
_EXACT: dict[str, _Base] = {
    "meV": _Base(1e-3, _ENERGY),
    "keV": _Base(1e3, _ENERGY),
    "mHa": _Base(1e-3 * ase_units.Hartree, _ENERGY),
    "mHartree": _Base(1e-3 * ase_units.Hartree, _ENERGY),
    "mEh": _Base(1e-3 * ase_units.Hartree, _ENERGY),
    "J": _Base(ase_units.J, _MOLAR),
    "cal": _Base(1e-3 * ase_units.kcal, _MOLAR),
    "A": _Base(1.0, _LENGTH),
    "nm": _Base(ase_units.nm, _LENGTH),
    "pm": _Base(1e-3 * ase_units.nm, _LENGTH),
    "kB": _Base(0.1 * ase_units.GPa, _PRESSURE),
    "MPa": _Base(1e-3 * ase_units.GPa, _PRESSURE),
    "Pa": _Base(ase_units.Pascal, _PRESSURE),
    "D": _Base(ase_units.Debye, _DIPOLE),
    "e": _Base(1.0, _CHARGE),
}
_DIMENSIONS: dict[str, tuple[int, int, int, int]] = {
    "energy": _ENERGY,
    "length": _LENGTH,
    "force": (1, -1, 0, 0),
    "stress": _PRESSURE,
    "dipole": _DIPOLE,
    "charge": _CHARGE,
}
_ATOMIC = {
    "energy": ase_units.Hartree,
    "length": ase_units.Bohr,
    "force": ase_units.Hartree / ase_units.Bohr,
    "stress": ase_units.Hartree / ase_units.Bohr**3,
    "dipole": ase_units.Bohr,
    "charge": 1.0,
}
_ATOMIC_NAMES = {"atomic units", "atomic unit", "atomic_units", "atomic_unit", "a.u.", "a.u", "au"}
# What messages offer.
_OFFERED = {
    "energy": "eV, meV, kcal/mol, kJ/mol, Hartree, Ry",
    "length": "Å, Bohr, nm",
    "force": "eV/Å, meV/Å, kcal/mol/Å, kJ/mol/Å, kJ/mol/nm, Hartree/Bohr, Ry/Bohr",
    "stress": "eV/Å^3, GPa, kbar, bar, Pa, Hartree/Bohr^3, kcal/mol/Å^3",
    "dipole": "e·Å, Debye, atomic units (e·Bohr)",
    "charge": "e",
}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[^\W\d_](?:[^\W\d]*[^\W\d_])?(?:_?0)?)\.?(?:(?:\^|\*\*)?(?P<power>-?\d+))?"
    r"|(?P<sign>[*/()])|(?P<one>1(?!\d)))"
)


def conversion_factor(name: str, quantity: Quantity) -> float:
    """Return the factor from the unit `name` to eV, Å, eV/Å, eV/Å³, e·Å or e.

    Args:
        name: the unit, e.g. `"kcal/mol/Å"`, `"kJ mol^-1 nm^-1"` or `"elementary_charge*bohr"`.
            Case differs only where it must, as in meV and MeV.
        quantity: "energy", "length", "force", "stress", "dipole" or "charge".

    Raises:
        ValueError: the unit is not known for this quantity; the message lists those that are.
    """
    if quantity not in _DIMENSIONS:
        raise ValueError(f"quantity {quantity!r} is not one of {', '.join(get_args(Quantity))}")
    factor = _factors(name).get(quantity)
    if factor is None:
        raise ValueError(
            f"unit {name!r} is not a known {quantity} unit: use one of {_OFFERED[quantity]}"
        )
    return factor


def quantities_of(name: str) -> tuple[Quantity, ...]:
    """Return what `name` is a unit of: one quantity, several for atomic units, or none."""
    return tuple(q for q in get_args(Quantity) if q in _factors(name))


@lru_cache(maxsize=256)
def _factors(name: str) -> dict[str, float]:
    """Return quantity → factor for all quantities that have this unit."""
    # The Ångström sign and the letter Å look alike and compare unequal.
    text = unicodedata.normalize("NFC", name).strip()
    if text.lower() in _ATOMIC_NAMES:
        return _ATOMIC
    try:
        value, dimension = _product(text)
    except ValueError:
        return {}
    return {quantity: value for quantity, known in _DIMENSIONS.items() if known == dimension}


def _product(text: str) -> tuple[float, tuple[int, ...]]:
    """Return value and dimension of a product of powers, read from left to right.

    Raises:
        ValueError: there is a base unit, or a sign, that is not known.
    """
    text = re.sub(r"[·⋅×]", "*", text).replace("eÅ", "e*Å").replace("eA", "e*A")
    text = re.sub(r"[\s_]+per[\s_]+", "/", text)
    text = re.sub(r"([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)", lambda m: "^" + m[1].translate(_SUPERSCRIPTS), text)
    value, dimension = 1.0, [0, 0, 0, 0]
    # Whether what stands here is below the bar, inside each parenthesis that is open.
    below, next_below, position, terms = [False], False, 0, 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise ValueError(text)
        position = found.end()
        sign = found["sign"]
        if found["name"] is not None:
            base = _base(found["name"])
            power = int(found["power"] or 1) * (-1 if next_below != below[-1] else 1)
            # Dividing keeps the last digit: Hartree / Bohr, not Hartree · (1 / Bohr).
            value = value * base.value**power if power > 0 else value / base.value**-power
            dimension = [d + power * b for d, b in zip(dimension, base.dimension, strict=True)]
            next_below, terms = False, terms + 1
        elif sign == "(":
            below.append(next_below != below[-1])
            next_below = False
        elif sign == ")":
            if len(below) == 1:
                raise ValueError(text)
            below.pop()
        elif sign is not None:
            if next_below:
                raise ValueError(text)
            next_below = sign == "/"
    if len(below) != 1 or next_below or not terms:
        raise ValueError(text)
    return value, tuple(dimension)


def _base(name: str) -> _Base:
    if name in _EXACT:
        return _EXACT[name]
    lower = name.lower()
    if lower in _ANY_CASE:
        return _ANY_CASE[lower]
    if lower.endswith("s") and len(lower) > 4 and lower[:-1] in _ANY_CASE:  # angstroms, moles
        return _ANY_CASE[lower[:-1]]
    raise ValueError(name)
