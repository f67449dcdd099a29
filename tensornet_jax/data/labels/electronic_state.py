"""Total charge and spin multiplicity as `Atoms.info` states them, under whichever usual name."""

import warnings
from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np
from ase import Atoms

from tensornet_jax.runtime.notices import Notice

STATE_ALIASES = {
    "charge": ("charge", "total_charge"),
    "spin": ("spin", "spin_multiplicity", "multiplicity"),
}
"""Keys of `Atoms.info`, the package's own first."""

# Sums of charges that a population analysis rounds to a few digits.
_ROUNDING = 5e-3


class InitialChargesWarning(Notice):
    """Initial charges of the atoms sum to an ion's charge, and no total charge is stated."""


def stated_charge(info: Mapping[str, Any]) -> float | None:
    """Return the total charge that a structure states, e; None if it states none.

    Raises:
        ValueError: it is not one finite number, or two keys contradict each other.
    """
    found: dict[str, float] = {}
    for key in STATE_ALIASES["charge"]:
        if key not in info:
            continue
        value = np.asarray(info[key])
        if value.ndim or value.dtype.kind not in "iuf" or not np.isfinite(value):
            raise ValueError(
                f'atoms.info["{key}"] must be one finite number, the total charge in e, not '
                f"{info[key]!r}: correct it, or delete the key if the structure is neutral"
            )
        found[key] = float(value)
    return _agreed(found, "charge")


def stated_spin(info: Mapping[str, Any]) -> int | None:
    """Return the spin multiplicity 2S + 1 that a structure states; None if it states none.

    Raises:
        ValueError: it is not a positive integer, or two keys contradict each other.
    """
    found: dict[str, int] = {}
    for key in STATE_ALIASES["spin"]:
        if key not in info:
            continue
        value = np.asarray(info[key])
        if value.size != 1 or value.dtype.kind not in "iuf" or value.item() not in range(1, 1000):
            raise ValueError(
                f'atoms.info["{key}"] is the multiplicity 2S + 1, an integer, 1 for a singlet, not '
                f"{info[key]!r}; if the data have numbers of unpaired electrons, set labels.spin "
                "to their key and labels.units.spin to unpaired_electrons"
            )
        found[key] = int(value.item())
    return _agreed(found, "spin")


def _agreed(found: Mapping[str, Any], kind: str) -> Any:
    if len(set(found.values())) > 1:
        raise ValueError(
            f"{' and '.join(found)} of atoms.info differ ({dict(found)}): both are the {kind} of "
            "the structure, keep one"
        )
    return next(iter(found.values()), None)


def set_state(info: MutableMapping[str, Any], charge: float | None, spin: int | None) -> None:
    """State charge and spin, whatever was stated before; None leaves what is there.

    Args:
        info: of a structure; changed.
        charge: total charge, e.
        spin: multiplicity 2S + 1.
    """
    for kind, value in (("charge", charge), ("spin", spin)):
        if value is not None:
            drop_aliases(info, kind)
            info[kind] = value


def drop_aliases(info: MutableMapping[str, Any], kind: str) -> None:
    """Remove the other names of charge or spin, so that they cannot contradict the first."""
    for key in STATE_ALIASES[kind][1:]:
        info.pop(key, None)


def warn_of_initial_charges(atoms: Atoms, where: str = "") -> bool:
    """Warn where no total charge is stated and the atoms' initial charges sum to that of an ion.

    Args:
        atoms: a structure.
        where: how the message names it, e.g. ``" (structure 3)"``.

    Returns:
        whether it did.
    """
    if not atoms.has("initial_charges") or any(k in atoms.info for k in STATE_ALIASES["charge"]):
        return False
    total = float(np.sum(atoms.get_initial_charges()))
    ion = round(total) if np.isfinite(total) else 0
    if not ion or abs(total - ion) > _ROUNDING:
        return False
    warnings.warn(
        f"the initial charges{where} sum to {ion:+d}, but no total charge is stated and 0 is "
        f'taken: set atoms.info["charge"] = {ion} for an ion, or 0 if it is neutral',
        InitialChargesWarning,
        stacklevel=2,
    )
    return True
