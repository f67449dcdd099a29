"""Total charges that a file does not state, from what it has: charges of atoms, SMILES."""

import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

# Sums of charges that partition an electron density come this close to a whole number, e.
TOLERANCE = 0.05
_BRACKET = re.compile(r"\[[^\[\]]*?(\+\d+|-\d+|\++|-+)?(?::\d+)?\]")
# Charges of atoms that are not shares of the total charge.
_OTHERS = ("nuclear", "formal_nuclear", "core", "total", "net", "image")


class ChargeRemark(str):
    """A remark on the total charge that a structure is taken to have; void where one is given."""

    __slots__ = ()


def is_atomic_charges(name: str) -> bool:
    """Return whether a key is a usual name of charges of atoms."""
    lower = name.lower()
    return lower.endswith("charges") and not lower.startswith(_OTHERS)


def whole(total: float) -> int | None:
    """Return the whole number that a sum of charges is within the tolerance, None if none."""
    if not np.isfinite(total):
        return None
    nearest = round(total)
    return int(nearest) if abs(total - nearest) <= TOLERANCE else None


def charge_of_smiles(smiles: str) -> int:
    """Return the sum of the charges that a SMILES writes inside its brackets, e.

    `[NH4+]` is 1, `[O-]` −1, `[Fe+3]` and `[Fe+++]` 3.
    """
    total = 0
    for mark in _BRACKET.findall(smiles):
        if mark:
            size = int(mark[1:]) if mark[1:].isdigit() else len(mark)
            total += size if mark[0] == "+" else -size
    return total


def derived_charge(
    atomic: Mapping[str, Float[np.ndarray, " atoms"]], smiles: str | None, where: str
) -> tuple[int | None, tuple[ChargeRemark, ...]]:
    """Return the total charge of a structure whose file states none, and remarks on it.

    Args:
        atomic: charges of the atoms (N,), e, by key; the first that sums to a whole number counts.
        smiles: of the structure, if the file has it.
        where: file and frame, for messages.

    Raises:
        ValueError: charges and SMILES say different things.
    """
    sums = {key: float(np.sum(values)) for key, values in atomic.items()}
    key = next((key for key, total in sums.items() if whole(total) is not None), None)
    by_sum = None if key is None else whole(sums[key])
    by_smiles = None if smiles is None else charge_of_smiles(smiles)
    if by_sum is not None and by_smiles is not None and by_sum != by_smiles:
        raise ValueError(
            f"{where}: {key} sum to a total charge of {by_sum:+d}, the SMILES {smiles!r} has "
            f"{by_smiles:+d}: write total charges into the file and name them as labels.charge"
        )
    charge = by_sum if by_sum is not None else by_smiles
    if charge:
        origin = f"the sum of {key}" if by_sum is not None else "its SMILES"
        text = f"the file states no total charge: {origin} gives {charge:+d}"
        return charge, (ChargeRemark(text),)
    if charge is None and sums:
        key, total = next(iter(sums.items()))
        text = (
            f"the file states no total charge, and {key} sum to {total:.2f}, not to a whole "
            "number: the structure is taken as neutral"
        )
        return None, (ChargeRemark(text),)
    return charge, ()


def unstated_ion(name: str, charges: ArrayLike, where: str = "") -> str | None:
    """Return what to say where charges of atoms sum to an ion's and no total charge is stated.

    Args:
        name: of the charges.
        charges: (N,) e.
        where: how the message names the structure, e.g. ``" (structure 3)"``.
    """
    ion = whole(float(np.sum(np.asarray(charges, float))))
    if not ion:
        return None
    return (
        f"{name}{where} sum to {ion:+d} but no total charge is stated, and 0 is taken: write "
        f"charge={ion} for an ion or charge=0 for a neutral structure, into its file or into "
        "atoms.info, or name the key that holds it as labels.charge"
    )


def unstated_charge(
    found: Mapping[str, object], numbers: Int[np.ndarray, " atoms"]
) -> tuple["ChargeRemark", ...]:
    """Return a remark where charges of atoms sum to an ion's; no total charge is stated.

    Args:
        found: everything that a structure carries, by key.
        numbers: atomic numbers.
    """
    for key, value in found.items():
        if not is_atomic_charges(key):
            continue
        array = np.asarray(value)
        if array.dtype.kind not in "iuf" or array.size != len(numbers) or not len(numbers):
            continue
        if np.array_equal(array.ravel(), numbers):  # charges of the nuclei
            continue
        if (text := unstated_ion(key, array)) is not None:
            return (ChargeRemark(text),)
    return ()
