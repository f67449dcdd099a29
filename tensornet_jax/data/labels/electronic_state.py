"""Total charge and spin multiplicity: as a structure has them, and as files and Atoms state them.

Files are read with the names and units of a configuration, by `take_state`. On Atoms, which a
calculator gets from whoever has made them, they stand under their usual names in `Atoms.info`.
"""

import warnings
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from ase import Atoms

from tensornet_jax.data.labels.config import STATE_ALIASES, LabelConfig
from tensornet_jax.data.labels.total_charge import unstated_ion
from tensornet_jax.runtime.notices import Notice

T = TypeVar("T")


class InitialChargesWarning(Notice):
    """Initial charges of the atoms sum to an ion's charge, and no total charge is stated."""


@dataclass(frozen=True)
class ElectronicState:
    """What tells two states of one geometry apart.

    Attributes:
        charge: total charge, e.
        spin: multiplicity 2S + 1, or, in data for models that have none, what stands in its place;
            None where nothing is stated.
    """

    charge: float = 0.0
    spin: int | float | None = None

    def with_given(self, charge: float | None, spin: int | None) -> "ElectronicState":
        """Return the state with what is given in place of what is there."""
        charge = self.charge if charge is None else charge
        return replace(self, charge=charge, spin=self.spin if spin is None else spin)


def take_state(
    info: MutableMapping[str, object], config: LabelConfig, source: str
) -> tuple[ElectronicState, dict[str, str]]:
    """Take charge and spin out of what a file says of a structure.

    Args:
        info: values by key; loses those that are read, and their other names.
        config: names and units.
        source: file and frame, for messages.

    Returns:
        The state, and by "charge" and "spin" the keys of what is stated.

    Raises:
        ValueError: the charge is not a number, a named key holds no number, one is not finite, or
            two keys contradict each other.
    """
    charge, charge_key = _stated(info, "charge", config, source)
    spin, spin_key = _stated(info, "spin", config, source)
    # Under their other names they could contradict what the configuration said.
    for key in STATE_ALIASES["charge"]:
        info.pop(key, None)
    if spin is not None:
        spin += config.units.spin == "unpaired_electrons"
        spin = int(spin) if spin.is_integer() else spin
        for key in STATE_ALIASES["spin"]:
            info.pop(key, None)
    elif config.spin is not None:
        # Under this name stands something else.
        info.pop("spin", None)
    keys = {"charge": charge_key, "spin": spin_key}
    state = ElectronicState(0.0 if charge is None else charge, spin)
    return state, {kind: key for kind, key in keys.items() if key is not None}


def _stated(
    info: Mapping[str, object], kind: str, config: LabelConfig, source: str
) -> tuple[float | None, str | None]:
    """Return total charge or spin; an array under the same name, of the atoms, is not it."""
    found: dict[str, float] = {}
    for key in config.state_keys(kind):
        value = np.asarray(info.get(key, ()))
        if kind == "charge" and value.size == 1 and value.dtype.kind not in "iuf":
            raise ValueError(
                f"{source}: {key} is {info[key]!r}, not a number: give the total charge in e, or "
                "name the key that holds it as labels.charge"
            )
        if value.size != 1 or value.dtype.kind not in "iuf":
            if key in info and key == getattr(config, kind):
                raise ValueError(
                    f"{source}: labels.{kind} is {key!r}, which is {info[key]!r}, not one number"
                )
            continue
        found[key] = float(value.reshape(()))
        if not np.isfinite(found[key]):
            unit = "the total charge in e" if kind == "charge" else "the multiplicity 2S + 1"
            raise ValueError(f"{source}: {key} is {found[key]}: give {unit}")
    if len(set(found.values())) > 1:
        raise ValueError(
            f"{source}: {' and '.join(found)} differ ({found}): keep one, or name the one that is "
            f"meant as labels.{kind}"
        )
    key = next(iter(found), None)
    return (None, None) if key is None else (found[key], key)


def stated_charge(info: Mapping[str, object]) -> float | None:
    """Return the total charge that `Atoms.info` states, e; None if it states none.

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


def stated_spin(info: Mapping[str, object]) -> int | None:
    """Return the spin multiplicity 2S + 1 that `Atoms.info` states; None if it states none.

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


def _agreed(found: Mapping[str, T], kind: str) -> T | None:
    if len(set(found.values())) > 1:
        raise ValueError(
            f"{' and '.join(found)} of atoms.info differ ({dict(found)}): both are the {kind} of "
            "the structure, keep one"
        )
    return next(iter(found.values()), None)


def set_state(
    info: MutableMapping[str, object], charge: float | None, spin: int | float | None
) -> None:
    """State charge and spin, whatever was stated before; None leaves what is there.

    Args:
        info: of Atoms; changed.
        charge: total charge, e.
        spin: multiplicity 2S + 1.
    """
    for kind, value in (("charge", charge), ("spin", spin)):
        if value is not None:
            for key in STATE_ALIASES[kind][1:]:
                info.pop(key, None)
            info[kind] = value


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
    text = unstated_ion("initial_charges", atoms.get_initial_charges(), where)
    if text is not None:
        warnings.warn(text, InitialChargesWarning, stacklevel=2)
    return text is not None
