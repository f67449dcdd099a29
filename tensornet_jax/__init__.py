"""tensornet_jax: equivariant molecular potentials in JAX."""

from typing import TYPE_CHECKING, Any

from tensornet_jax.backend import check_backend
from tensornet_jax.version import __version__

check_backend()

if TYPE_CHECKING:
    from tensornet_jax.calculator import TensorNetCalculator
    from tensornet_jax.model_file import load_model

__all__ = ["TensorNetCalculator", "__version__", "load_model"]

_HOMES = {
    "TensorNetCalculator": "tensornet_jax.calculator",
    "load_model": "tensornet_jax.model_file",
}


def __getattr__(name: str) -> Any:
    # Reading a version or validating a config should not pay for importing jax and flax.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
