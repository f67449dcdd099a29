"""Named units."""

import numpy as np
import pytest
from ase import units

from tensornet_jax.units import conversion_factor, quantities_of


@pytest.mark.parametrize(
    ("name", "quantity", "expected"),
    [
        ("eV", "energy", 1.0),
        ("meV", "energy", 1e-3),
        ("kcal/mol", "energy", 0.04336410),
        ("kJ/mol", "energy", 0.01036427),
        ("Hartree", "energy", 27.211386),
        ("Ry", "energy", 13.605693),
        ("Å", "length", 1.0),
        ("Bohr", "length", 0.52917721),
        ("nm", "length", 10.0),
        ("eV/Å", "force", 1.0),
        ("Hartree/Bohr", "force", 51.422067),
        ("kcal/mol/Å", "force", 0.04336410),
        ("eV/Å^3", "stress", 1.0),
        ("GPa", "stress", 1 / 160.21766),
        ("kbar", "stress", 1 / 1602.1766),
        ("Hartree/Bohr^3", "stress", 183.6315),
        ("e·Å", "dipole", 1.0),
        ("Debye", "dipole", 0.20819434),
        ("atomic units", "dipole", 0.52917721),
    ],
)
def test_factor_equals_published_value(name, quantity, expected):
    assert conversion_factor(name, quantity) == pytest.approx(expected, rel=2e-6)


def test_factors_agree_with_ase_to_the_last_digit():
    assert conversion_factor("Hartree/Bohr", "force") == units.Hartree / units.Bohr
    assert conversion_factor("Debye", "dipole") == units.Debye


def test_spellings_of_one_unit_agree():
    for spelling in ("Å", "\u212b", "A\u030a", "A", "angstrom", " Å "):
        assert conversion_factor(spelling, "length") == 1.0
    for spelling in ("eV/A^3", "eV/Å³", "eV/Å**3"):
        assert conversion_factor(spelling, "stress") == 1.0


@pytest.mark.parametrize(
    ("first", "spellings", "quantity"),
    [
        (
            "e·Bohr",
            ("elementary_charge*bohr", "elementary_charge * bohr", "e bohr", "e*a0"),
            "dipole",
        ),
        ("kcal/mol/Å", ("kcal/(mol*Angstrom)", "kcal mol^-1 Å⁻¹", "(KCAL/MOL)/ang"), "force"),
        ("kJ/mol/nm", ("kilojoule/(nanometer*mole)", "kj mol-1 nm-1"), "force"),
        ("kJ/mol", ("kilojoules_per_mole", "kJ / mole"), "energy"),
        ("Hartree/Bohr", ("hartree/bohr", "Ha/a0", "Eh / bohr", "a.u.", "au"), "force"),
        ("eV/Å", ("eV/angstrom", "eV/Ang.", "eV per Angstrom", "electron_volt/angstroms"), "force"),
        ("eV/Å^3", ("eV/angstrom**3", "eV Å^-3"), "stress"),
        ("GPa", ("gpa", "GPA"), "stress"),
        ("Hartree", ("hartrees", "HARTREE", "E_h", "a.u."), "energy"),
    ],
)
def test_the_spellings_of_the_field_are_understood(first, spellings, quantity):
    expected = conversion_factor(first, quantity)
    for spelling in spellings:
        assert conversion_factor(spelling, quantity) == pytest.approx(expected, rel=1e-14), spelling


def test_a_unit_tells_what_it_is_a_unit_of():
    assert quantities_of("kcal/mol") == ("energy",)
    assert quantities_of("elementary_charge") == ("charge",)
    assert "dipole" in quantities_of("a.u.")
    for text in (
        "eV/atom",
        "mev",
        "d",
        "kcal",
        "",
        "/",
        "eV//Å",
        "eV/",
        "3 eV",
        "(eV",
        "SI",
        "1/eV",
    ):
        assert quantities_of(text) == (), text


def test_unknown_unit_is_refused_with_the_accepted_names():
    with pytest.raises(ValueError, match=r"'MeV' is not a known energy unit.*kcal/mol"):
        conversion_factor("MeV", "energy")
    with pytest.raises(ValueError, match="eV' is not a known force unit"):
        conversion_factor("eV", "force")
    with pytest.raises(ValueError, match="quantity 'mass'"):
        conversion_factor("u", "mass")  # type: ignore[arg-type]


def test_force_factors_are_energy_over_length():
    for energy in ("eV", "kcal/mol", "Hartree", "Ry"):
        for length in ("Å", "Bohr", "nm"):
            ratio = conversion_factor(energy, "energy") / conversion_factor(length, "length")
            assert np.isclose(conversion_factor(f"{energy}/{length}", "force"), ratio, rtol=1e-14)
