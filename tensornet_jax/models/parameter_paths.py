"""Nested dicts of parameters as flat ones whose keys are paths, such as "embedding/norm/scale"."""

from collections.abc import Mapping

from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import PyTree


def by_path(tree: PyTree) -> dict[str, PyTree]:
    """Return the leaves of a nested dict under their paths joined by "/"."""
    return flatten_dict(tree, sep="/")


def nested(leaves: Mapping[str, PyTree]) -> dict[str, PyTree]:
    """Return the nested dict that `by_path` took apart."""
    return unflatten_dict(leaves, sep="/")
