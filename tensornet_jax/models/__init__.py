"""The models: flax modules, the only place where parameters live; `MODELS` has them by name.

What of this room describes and does not compute, such as `tensor_config`, can be imported without
jax and flax: the models themselves are imported when `MODELS` is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensornet_jax.models.registry import MODELS

__all__ = ["MODELS"]


def __getattr__(name: str) -> Any:
    if name == "MODELS":
        from tensornet_jax.models.registry import MODELS

        return MODELS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
