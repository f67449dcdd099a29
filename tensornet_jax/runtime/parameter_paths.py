"""Nested dicts of parameters as flat ones whose keys are paths, such as "embedding/norm/scale"."""

from collections.abc import Mapping
from typing import Any


def by_path(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a nested dict under their paths joined by "/"."""
    leaves = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= by_path(value, f"{prefix}{key}/")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested dict that `by_path` took apart."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *branches, name = path.split("/")
        branch = tree
        for key in branches:
            branch = branch.setdefault(key, {})
        branch[name] = leaf
    return tree
