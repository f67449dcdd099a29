"""What a structure says of its electrons: total charge, spin multiplicity, charges of its atoms."""

import ase
import numpy as np


def total_charge(atoms: ase.Atoms) -> float:
    """Total charge of a structure in e, from ``atoms.info["charge"]``; 0 if absent."""
    if "charge" not in atoms.info:
        return 0.0
    charge = atoms.info["charge"]
    if np.ndim(charge) != 0 or not np.isfinite(float(charge)):
        raise ValueError(f'atoms.info["charge"] must be one finite number, not {charge!r}')
    return float(charge)


def spin_multiplicity(atoms: ase.Atoms) -> int:
    """Spin multiplicity 2S + 1 of a structure, from ``atoms.info["spin"]``.

    Raises:
        ValueError: there is none, it is not a positive integer, or the structure cannot have it:
            too few electrons, or an odd number of them for an odd multiplicity. Electrons are
            counted where the total charge is an integer.
    """
    if "spin" not in atoms.info:
        raise ValueError(
            "this potential depends on the spin, and the structure has none: give its "
            'multiplicity 2S + 1 as atoms.info["spin"], 1 for a singlet; if a data file has it '
            "under another name, labels.spin says which"
        )
    given = atoms.info["spin"]
    value = np.asarray(given)
    if value.size != 1 or value.dtype.kind not in "iuf" or value.item() not in range(1, 1000):
        raise ValueError(
            'atoms.info["spin"] is the multiplicity 2S + 1, an integer, 1 for a singlet, not '
            f"{given!r}; if the data have numbers of unpaired electrons, set labels.spin to their "
            "key and labels.units.spin to unpaired_electrons"
        )
    multiplicity = int(value.item())
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
        own = copied.info.setdefault(name, value)
        if np.any(own != value):
            raise ValueError(
                f'atoms.info["{name}"] is {own!r}, and {name} was given as {value!r}: keep one'
            )
    return copied


def fixed_charges(atoms: ase.Atoms) -> np.ndarray:
    """Charges of the atoms, (N,) e, from ``atoms.set_initial_charges``; ValueError if not set."""
    if not atoms.has("initial_charges"):
        raise ValueError(
            "this potential has a Coulomb energy of fixed charges, and the structure has none: "
            "give it some by atoms.set_initial_charges (zeros, if that is meant)"
        )
    charges = np.array(atoms.get_initial_charges(), np.float64)
    if not np.isfinite(charges).all():
        raise ValueError(f"initial charges must be finite, not {charges.tolist()}")
    return charges
