"""What a structure says of its electrons: total charge, spin multiplicity, charges of its atoms."""

from collections.abc import Mapping

import ase
import numpy as np
from jaxtyping import Float

from tensornet_jax.data.labels.config import STATE_ALIASES
from tensornet_jax.data.labels.electronic_state import stated_charge, stated_spin


def total_charge(atoms: ase.Atoms) -> float:
    """Total charge of a structure in e, as ``atoms.info`` states it; 0 if it does not.

    It is read from ``atoms.info["charge"]`` or ``atoms.info["total_charge"]``.

    Raises:
        ValueError: it is not one finite number, or the two differ.
    """
    return stated_charge(atoms.info) or 0.0


def spin_multiplicity(atoms: ase.Atoms) -> int:
    """Spin multiplicity 2S + 1 of a structure, as ``atoms.info`` states it.

    It is read from ``atoms.info["spin"]``, ``"spin_multiplicity"`` or ``"multiplicity"``.

    Raises:
        ValueError: there is none, it is not a positive integer, two of them differ, or the
            structure cannot have it: too few electrons, or an odd number of them for an odd
            multiplicity. Electrons are counted where the total charge is an integer.
    """
    multiplicity = stated_spin(atoms.info)
    if multiplicity is None:
        raise ValueError(
            "this potential depends on the spin, and the structure has none: give its "
            'multiplicity 2S + 1 as atoms.info["spin"], 1 for a singlet; if a data file has it '
            "under another name, labels.spin says which"
        )
    charge = total_charge(atoms)
    electrons = int(atoms.numbers.sum()) - charge
    paired = electrons - (multiplicity - 1)
    if electrons.is_integer() and (paired < 0 or paired % 2):
        raise ValueError(
            f"{atoms.get_chemical_formula()} with charge {charge:g} has {electrons:g} electrons, "
            f'which cannot have the multiplicity {multiplicity}: atoms.info["spin"] is 2S + 1, '
            'one more than the number of unpaired electrons, and atoms.info["charge"] is in e'
        )
    return multiplicity


def with_state(atoms: ase.Atoms, charge: float | None, spin: int | None) -> ase.Atoms:
    """Return a copy of a structure in a given state.

    Args:
        atoms: the structure; not changed.
        charge: total charge, e; None leaves what the structure says.
        spin: multiplicity 2S + 1; None leaves what the structure says.

    Raises:
        ValueError: the structure itself says something else.
    """
    copied = atoms.copy()
    for name, value in (("charge", charge), ("spin", spin)):
        if value is None:
            continue
        keys = [key for key in STATE_ALIASES[name] if key in copied.info]
        for key in keys:
            own = copied.info[key]
            if np.any(own != value):
                raise ValueError(
                    f'atoms.info["{key}"] is {own!r}, and {name} was given as {value!r}: keep one'
                )
        if not keys:
            copied.info[name] = value
    return copied


def raw_state(info: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Whatever is stated of charge and spin, unread: equal for structures in the same state.

    Unlike the functions above it raises for nothing.
    """
    return tuple((key, repr(info[key])) for key in _STATE_KEYS if key in info)


_STATE_KEYS = tuple(key for keys in STATE_ALIASES.values() for key in keys)


def fixed_charges(atoms: ase.Atoms) -> Float[np.ndarray, " atoms"]:
    """Charges of the atoms, e, from ``atoms.set_initial_charges``; ValueError if not set."""
    if not atoms.has("initial_charges"):
        raise ValueError(
            "this potential has a Coulomb energy of fixed charges, and the structure has none: "
            "give it some by atoms.set_initial_charges (zeros, if that is meant)"
        )
    charges = np.array(atoms.get_initial_charges(), np.float64)
    if not np.isfinite(charges).all():
        raise ValueError(f"initial charges must be finite, not {charges.tolist()}")
    return charges
