"""The units that a file states itself, and how they go together with those of the configuration.

What a file states and nobody contradicts is used; what contradicts the configuration, or is not
understood, is an error. A unit is stated for a key of the data (`dft_total_energy`) or for a
quantity (`energy`), by attributes, metadata, or keys such as `e_unit` and `forces_unit`.
"""

import json
import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tensornet_jax.properties import KINDS, LABELLED, PROPERTIES
from tensornet_jax.units import Quantity, conversion_factor, quantities_of

if TYPE_CHECKING:
    from tensornet_jax.data.labels.config import LabelConfig

_WORDS: dict[Quantity, tuple[str, ...]] = {
    "energy": PROPERTIES["energy"].words,
    "length": (
        *("length", "lengths", "distance", "distances", "position", "positions", "pos", "r"),
        *("coord", "coords", "coordinate", "coordinates", "geometry", "geometries", "xyz"),
        *("cell", "cells", "lattice", "box"),
    ),
    **{row.quantity: row.words for row in LABELLED if row.quantity not in (None, "energy")},
}
_QUANTITY_OF = {word: quantity for quantity, words in _WORDS.items() for word in words}
# e_unit, unit_energy, EnergyUnits, _property_unit_dict, units
_NAME = re.compile(r"^_?(?P<before>.*?)_?units?(?:_(?:of_)?(?P<after>.+))?$", re.IGNORECASE)
_NO_UNIT = {"", "-", "1", "none", "dimensionless", "unitless", "n/a", "unknown"}


@dataclass(frozen=True)
class StatedUnits:
    """What a file says about the units of its data.

    Attributes:
        keys: unit by key of the data.
        quantities: unit by quantity, for keys that have none of their own.
        unclear: statements that name neither, as text.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    quantities: Mapping[str, str] = field(default_factory=dict)
    unclear: tuple[str, ...] = ()

    def __or__(self, other: "StatedUnits") -> "StatedUnits":
        """Return both; `other`, which stands nearer to the data, wins."""
        return StatedUnits(
            {**self.keys, **other.keys},
            {**self.quantities, **other.quantities},
            (*self.unclear, *(text for text in other.unclear if text not in self.unclear)),
        )


NOTHING_STATED = StatedUnits()


def is_unit(text: str) -> bool:
    """Return whether text says more than that a number has no unit."""
    return text.strip().lower() not in _NO_UNIT


def states_units(name: str) -> bool:
    """Return whether text under this name may state a unit."""
    return _NAME.match(name) is not None


def stated_in(entries: Mapping[str, object]) -> StatedUnits:
    """Return the units that metadata state: those among `entries` whose names speak of units.

    Args:
        entries: text, or mappings of names to text, by name; others are left out.
    """
    keys: dict[str, str] = {}
    unclear: list[str] = []
    quantities: dict[str, str] = {}

    def state(name: str, unit: str) -> None:
        if not is_unit(unit):
            return
        keys[name] = unit
        if (quantity := _QUANTITY_OF.get(name.lower().strip("_ "))) is not None:
            quantities[quantity] = unit

    for name, value in entries.items():
        found = _NAME.match(str(name))
        content = _text_or_mapping(value)
        if found is None or content is None:
            continue
        stem = found["after"] or found["before"]
        if isinstance(content, Mapping):
            for key, each in content.items():
                if (unit := _text_or_mapping(each)) is not None and isinstance(unit, str):
                    state(str(key), unit)
        elif stem and stem.lower() not in ("data", "system", "label", "labels"):
            state(stem, content)
        else:
            for part in re.split(r"[,;]", content):
                _state_part(part.strip(), state, quantities, unclear, f"{name} = {content}")
    return StatedUnits(keys, quantities, tuple(dict.fromkeys(unclear)))


def _state_part(
    part: str,
    state: Callable[[str, str], None],
    quantities: dict[str, str],
    unclear: list[str],
    statement: str,
) -> None:
    """Take one part of a text such as `energy: eV, forces = eV/Å` or `eV, Å`."""
    pair = re.fullmatch(r"([\w ]+?)\s*[:=]\s*(.+)", part)
    if pair is not None:
        state(pair[1], pair[2])
        return
    meant = quantities_of(part)
    if len(meant) > 1:  # atomic units
        quantities.update({"energy": part, "length": part, "dipole": part})
    elif len(meant) == 1:
        quantities[meant[0]] = part
    elif is_unit(part):
        unclear.append(statement)


def _text_or_mapping(value: object) -> str | Mapping[object, object] | None:
    if isinstance(value, np.ndarray):
        if value.size != 1 or value.dtype.kind not in "USO":
            return None
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, str):
        return None
    value = str(value)  # numpy's own text shows its type in messages
    if value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def with_stated_units(
    config: "LabelConfig", stated: StatedUnits, found: Mapping[str, object], source: str
) -> tuple["LabelConfig", tuple[str, ...]]:
    """Return the configuration with the units that the file states, and remarks on them.

    Args:
        config: the configuration, whose units come first.
        stated: what the file states.
        found: everything that the structure carries, by key.
        source: file and frame, for messages.

    Raises:
        ValueError: as `meet`; or a tensor has a unit and no factor.
    """
    if stated == NOTHING_STATED:
        return config, ()
    for name, label in config.tensors.items():
        if label.key in stated.keys and "factor" not in label.model_fields_set:
            raise ValueError(
                f"{source}: the file says that {label.key} is in {stated.keys[label.key]!r}: state "
                f"labels.tensors.{name}.factor, from it to the unit of predictions (1.0 keeps it)"
            )
    given = {q: getattr(config.units, q) for q in _WORDS}
    keys = {
        quantity: [
            key
            for name, kind in KINDS.items()
            if kind.quantity == quantity
            for key in config.keys(name)
            if key in found
        ]
        for quantity in _WORDS
    }
    units, remarks = meet(given, keys, stated, found, source)
    return config.model_copy(update={"units": config.units.model_copy(update=units)}), remarks


def meet(
    given: Mapping[str, str | None],
    keys: Mapping[str, Sequence[str]],
    stated: StatedUnits,
    present: Container[str],
    source: str,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the units that the file states where the configuration has none, and remarks on them.

    Args:
        given: the configuration's units; None where it has none.
        keys: keys of the data that hold each quantity, the one that is used first.
        stated: what the file states.
        present: all keys of the data.
        source: file and frame, for messages.

    Raises:
        ValueError: a unit is not understood, or contradicts the configuration or another one.
    """
    # Both together say what forces and stresses are in.
    complete = given.get("energy") is not None and given.get("length") is not None
    if stated.unclear and not complete:
        raise ValueError(
            f"{source}: the file states {'; '.join(map(repr, stated.unclear))}, which is not "
            "understood: state labels.units.energy and labels.units.length, and those of force, "
            "stress and dipole where they do not follow"
        )
    units: dict[str, str] = {}
    for quantity in _WORDS:
        statements = {key: stated.keys[key] for key in keys.get(quantity, ()) if key in stated.keys}
        if not statements and quantity in stated.quantities:
            statements = {quantity: stated.quantities[quantity]}
        if not statements:
            continue
        implied = _implied(quantity, given, complete)
        factor = _agreed(statements, quantity, given.get(quantity), source)
        if factor is None:
            continue
        name, unit = next(iter(statements.items()))
        if implied is not None and not np.isclose(factor, implied, rtol=1e-3):
            own = given.get(quantity) or "the unit that follows from energy and length"
            raise ValueError(
                f"{source}: the file says {unit} of {name}, the configuration {own}: "
                f"set labels.units.{quantity} to {unit}, or correct the file"
            )
        if given.get(quantity) is None:
            units[quantity] = unit
    return units, _remarks_on(units, stated, present)


def _remarks_on(
    units: Mapping[str, str], stated: StatedUnits, present: Container[str]
) -> tuple[str, ...]:
    """Return remarks on the units that are used, and on those stated of nothing."""
    used = [
        f"{quantity} {units[quantity]}"
        for quantity in _WORDS
        if quantity in units and conversion_factor(units[quantity], quantity) != 1.0
    ]
    remarks = (
        [f"units that the file states, or its format has, are used: {', '.join(used)}"]
        if used
        else []
    )
    # A name that nothing has may be a spelling of one that is meant.
    remarks += [
        f"the file states that {name} is in {unit}, and has nothing of this name: if labels are "
        "meant, state labels.units"
        for name, unit in stated.keys.items()
        if name not in present and name.lower() not in _QUANTITY_OF and quantities_of(unit)
    ]
    return tuple(remarks)


def _agreed(
    statements: Mapping[str, str], quantity: Quantity, given: str | None, source: str
) -> float | None:
    """Return the factor of the units stated, None where the configuration must be believed."""
    factors = {}
    for name, unit in statements.items():
        try:
            factors[name] = conversion_factor(unit, quantity)
        except ValueError as error:
            if given is not None:
                return None
            raise ValueError(
                f"{source}: the file says that {name} is in {unit!r}; {error}, and state "
                f"labels.units.{quantity}"
            ) from None
    first = next(iter(factors.values()))
    if not np.allclose(list(factors.values()), first, rtol=1e-3, atol=0):
        which = ", ".join(f"{name} in {unit}" for name, unit in statements.items())
        raise ValueError(
            f"{source}: the file has several units of {quantity} ({which}): name the key that is "
            "meant under labels"
        )
    return first


def _implied(quantity: Quantity, given: Mapping[str, str | None], complete: bool) -> float | None:
    """Return the factor that the configuration fixes for a quantity, None if it leaves it open."""
    unit = given.get(quantity)
    if unit is not None:
        return conversion_factor(unit, quantity)
    energy, length = given.get("energy"), given.get("length")
    if energy is None or length is None or quantity not in ("force", "stress"):
        return None
    power = 1 if quantity == "force" else 3
    return conversion_factor(energy, "energy") / conversion_factor(length, "length") ** power
