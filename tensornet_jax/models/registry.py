"""The models by name.

A model is one file, or a few that share its name, and one line here. Its module is built as
``Module(config, numbers, dtype)`` and maps an `AtomGraph` to a dict with "energies" (N,) and
whatever else its heads predict. "energies" have no unit, the potential multiplies them by its
scale; what a model knows in eV, Coulomb energies say, it returns as "energies_in_eV" (N,).
"""

from collections.abc import Callable

import flax.linen as nn

from tensornet_jax.models.common import ModelConfig
from tensornet_jax.models.escn.network import ESCN, ESCNConfig
from tensornet_jax.models.mace.network import MACE, MACEConfig
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.models.tensornet.network import TensorNet
from tensornet_jax.models.tensornet2.config import TensorNet2Config
from tensornet_jax.models.tensornet2.network import TensorNet2

MODELS: dict[str, tuple[type[ModelConfig], Callable[..., nn.Module]]] = {
    "tensornet": (TensorNetConfig, TensorNet),
    "tensornet2": (TensorNet2Config, TensorNet2),
    "mace": (MACEConfig, MACE),
    "escn": (ESCNConfig, ESCN),
}
"""Model name in a configuration → (configuration class, flax module)."""
