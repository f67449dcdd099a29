"""The SO(2) convolution (eSCN, arXiv:2302.03655)."""

from typing import TYPE_CHECKING

from tensornet_jax.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from tensornet_jax.ops.so2.convolution import edge_convolution, so2_weights_from_clebsch_gordan

__all__ = ["edge_convolution", "so2_weights_from_clebsch_gordan"]

__getattr__ = lazy_names(
    __name__, {"edge_convolution": "convolution", "so2_weights_from_clebsch_gordan": "convolution"}
)
