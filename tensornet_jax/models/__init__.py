"""The models: flax modules, the only place where parameters live.

A model is one file, or a few that share its name, and one line here. Its module is built as
``Module(config, numbers, dtype)`` and maps an `AtomGraph` to a dict with "energies" (N,) and
whatever else its heads predict.
"""

from collections.abc import Callable

import flax.linen as nn

from tensornet_jax.models.common import ModelConfig
from tensornet_jax.models.escn import ESCN, ESCNConfig
from tensornet_jax.models.mace import MACE, MACEConfig
from tensornet_jax.models.tensornet import TensorNet
from tensornet_jax.models.tensornet_config import TensorNetConfig

MODELS: dict[str, tuple[type[ModelConfig], Callable[..., nn.Module]]] = {
    "tensornet": (TensorNetConfig, TensorNet),
    "mace": (MACEConfig, MACE),
    "escn": (ESCNConfig, ESCN),
}
"""Model name in a configuration → (configuration class, flax module)."""
