"""Labels of structures: where data keep them, in which units, and in canonical form."""

from typing import TYPE_CHECKING

from tensornet_jax.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from tensornet_jax.data.labels.config import LabelConfig

__all__ = ["LabelConfig"]

__getattr__ = lazy_names(__name__, {"LabelConfig": "config"})
