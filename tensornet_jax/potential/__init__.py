"""A trained model and its elements: energies, forces, stress and properties of structures."""

from typing import TYPE_CHECKING

from tensornet_jax.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from tensornet_jax.potential.element_table import ElementTable
    from tensornet_jax.potential.potential import Potential

__all__ = ["ElementTable", "Potential"]

__getattr__ = lazy_names(__name__, {"ElementTable": "element_table", "Potential": "potential"})
