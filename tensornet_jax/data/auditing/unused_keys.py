"""Keys of a structure that look like labels, charges or weights and that nothing reads."""

import re
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from tensornet_jax.data.labels.config import (
    ALIASES,
    PROPERTIES,
    STATE_ALIASES,
    LabelConfig,
    property_of,
)
from tensornet_jax.data.labels.tensors import TensorLabel
from tensornet_jax.properties import LABELLED

# Energies last: other words say more of what "energy_gradient" is.
_NAMES = tuple(
    (row.name, row.look) for row in sorted(LABELLED, key=lambda row: row.name == "energy")
)
# What has one of those words in its name and is something else.
_OTHER = re.compile(
    r"predict|kinetic|gap|fermi|hull|formation|correct|cutoff|err|rms|mae|std|unc|var|tol|fmax"
    r"|per_?atom|zero_?point|key|unit|diff",
    re.IGNORECASE,
)
_WEIGHT = re.compile(
    r"(energy|forces?|virials?|stress|hessian|dipole|config|sample|force_atom|force_component)?_?"
    r"(sigma|weights?|mask)",
    re.IGNORECASE,
)
_OWN_WEIGHT = re.compile(r"config_(\w+_)?weight")
_STATE = (
    ("charge", r"(total_?|net_?|molecular_?|ref_?)*charge"),
    ("spin", r"(total_?|ref_?|molecular_?)*spin(_?multiplicity)?|(spin_?)?mult(iplicity)?"),
)
# Of ASE's calculators: per-atom shares, which no label is.
_NO_LABELS = {"energies", "stresses", "free_energy", "REF_free_energy"}


def unused_keys(
    found: Mapping[str, object],
    used: set[str],
    config: LabelConfig,
    tensors: Mapping[str, TensorLabel],
) -> tuple[str, ...]:
    """Return the keys that look like something to read and are not read, in the file's order.

    Keys of a property of which the configuration itself says where it stands are left out.

    Args:
        found: all values of a structure, by key.
        used: keys that labels were read from.
        config: which keys were looked for.
        tensors: tensors that were looked for, by name.
    """
    known = used | _searched(config) | _of_tensors(tensors)
    return tuple(
        key for key, value in found.items() if key not in known and _unused(key, value, config)
    )


def _unused(key: str, value: object, config: LabelConfig) -> bool:
    looks = look_of(key)
    if looks is None or (looks != "weight" and not _numeric(value)):
        return False
    if looks in STATE_ALIASES:
        # Charges and spins of atoms bear the same names.
        return np.asarray(value).size == 1 and getattr(config, looks) is None
    return looks not in PROPERTIES or not config.decided(looks)


@lru_cache(maxsize=4096)
def look_of(key: str) -> str | None:
    """Return what a key seems to hold, None for most; "reference" is a REF_ key of what we lack."""
    if key in _NO_LABELS or _OWN_WEIGHT.fullmatch(key):
        return None
    if _WEIGHT.fullmatch(key):
        return "weight"
    for state, pattern in _STATE:
        if re.fullmatch(pattern, key, re.IGNORECASE):
            return state
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key)
    if not _OTHER.search(words):
        for name, pattern in _NAMES:
            if re.search(rf"(?<![a-z])({pattern})(?![a-z])", words, re.IGNORECASE):
                return name
    return "reference" if key.upper().startswith("REF_") else None


def _searched(config: LabelConfig) -> set[str]:
    """Keys that were looked for, of which what is passed over is told otherwise."""
    labels = {key for kind in ALIASES for key in config.keys(kind)}
    decided = {k for kind in ALIASES if config.decided(property_of(kind)) for k in ALIASES[kind]}
    return labels | decided | {k for kind in STATE_ALIASES for k in config.state_keys(kind)}


def _of_tensors(tensors: Mapping[str, TensorLabel]) -> set[str]:
    found = {key for label in tensors.values() for key in (label.key, label.mask) if key}
    return found | {f"REF_{name}" for name in tensors}


def _numeric(value: object) -> bool:
    return np.asarray(value).dtype.kind in "iuf"
