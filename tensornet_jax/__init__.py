"""tensornet_jax: equivariant molecular potentials in JAX."""

from typing import TYPE_CHECKING

from tensornet_jax.runtime.backend import check_backend
from tensornet_jax.runtime.former_names import keep_former_names
from tensornet_jax.runtime.lazy_names import lazy_names
from tensornet_jax.version import __version__

check_backend()
keep_former_names()

if TYPE_CHECKING:
    from tensornet_jax.calculator import Calculator, TensorNetCalculator
    from tensornet_jax.potential.model_file import load_model

__all__ = ["Calculator", "TensorNetCalculator", "__version__", "load_model"]

__getattr__ = lazy_names(
    __name__,
    {
        "Calculator": "calculator",
        "TensorNetCalculator": "calculator",
        "load_model": "potential.model_file",
    },
)
