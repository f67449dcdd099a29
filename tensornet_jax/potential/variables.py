"""What a model is called with, and what it gives."""

from typing import TypeAlias

from flax.typing import Collection
from jax import Array

Variables: TypeAlias = dict[str, Collection]
"""Of a module: its "params" and "buffers", as flax has them; beside them "uncertainty", if any."""

Outputs: TypeAlias = dict[str, Array]
"""Padded arrays by name of property, without E0."""
