"""The configuration of a training run."""

from typing import TYPE_CHECKING

from tensornet_jax.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from tensornet_jax.train.config.run import RunConfig

__all__ = ["RunConfig"]

__getattr__ = lazy_names(__name__, {"RunConfig": "run"})
