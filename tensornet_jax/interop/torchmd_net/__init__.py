"""TensorNets of torchmd-net (arXiv:2402.17660), read and written."""

from typing import TYPE_CHECKING

from tensornet_jax.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from tensornet_jax.interop.torchmd_net.checkpoint import from_checkpoint, from_state_dict

__all__ = ["from_checkpoint", "from_state_dict"]

__getattr__ = lazy_names(
    __name__, {"from_checkpoint": "checkpoint", "from_state_dict": "checkpoint"}
)
