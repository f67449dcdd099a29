"""MACE models of mace-torch (arXiv:2206.07697), read and written."""

from typing import TYPE_CHECKING

from tensornet_jax.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from tensornet_jax.interop.mace.export import to_state_dict
    from tensornet_jax.interop.mace.potentials import from_model_file, from_state_dict

__all__ = ["from_model_file", "from_state_dict", "to_state_dict"]

__getattr__ = lazy_names(
    __name__,
    {
        "from_model_file": "potentials",
        "from_state_dict": "potentials",
        "to_state_dict": "export",
    },
)
