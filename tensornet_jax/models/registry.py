"""The models by name.

A model is a folder and one line here. Its configuration is read without jax and flax, which come
with its network when the first one is built.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from tensornet_jax.models.config import ModelConfig
from tensornet_jax.models.escn.config import ESCNConfig
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.models.tensornet2.config import TensorNet2Config

if TYPE_CHECKING:
    from tensornet_jax.models.base import Model

Network: TypeAlias = "Callable[..., Model[ModelConfig]]"
"""Makes the module of ``config, numbers, dtype``: a subclass of `models.base.Model`."""


@dataclass(frozen=True)
class NetworkIn:
    """A network of this package whose module is imported when it is first called.

    module: below `tensornet_jax.models`.
    name: of the class.
    """

    module: str
    name: str

    def __call__(
        self, config: ModelConfig, numbers: tuple[int, ...], dtype: str = "float32"
    ) -> "Model[ModelConfig]":
        """Make the module."""
        network: Network = getattr(import_module(f"tensornet_jax.models.{self.module}"), self.name)
        return network(config, numbers, dtype)


MODELS: dict[str, tuple[type[ModelConfig], Network]] = {
    "tensornet": (TensorNetConfig, NetworkIn("tensornet.network", "TensorNet")),
    "tensornet2": (TensorNet2Config, NetworkIn("tensornet2.network", "TensorNet2")),
    "mace": (MACEConfig, NetworkIn("mace.network", "MACE")),
    "escn": (ESCNConfig, NetworkIn("escn.network", "ESCN")),
}
"""Model name in a configuration → (configuration class, network)."""
