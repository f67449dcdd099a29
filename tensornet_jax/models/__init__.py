"""The models: flax modules, the only place where parameters live; `MODELS` has them by name.

What only describes and does not compute, such as `heads.tensor_config`, can be imported
without jax and flax: the models themselves are imported when `MODELS` is asked for.
"""

from typing import TYPE_CHECKING

from tensornet_jax.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from tensornet_jax.models.registry import MODELS

__all__ = ["MODELS"]

__getattr__ = lazy_names(__name__, {"MODELS": "registry"})
