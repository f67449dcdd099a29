"""The models: flax modules, the only place where parameters live.

A model is one file and one line here. Its module is built as ``Module(config, numbers, dtype)``
and maps an `AtomGraph` to a dict with "energies" (N,) and whatever else its heads predict.
"""

from tensornet_jax.models.tensornet import TensorNet, TensorNetConfig

MODELS = {"tensornet": (TensorNetConfig, TensorNet)}
"""Model name in a configuration → (configuration class, flax module)."""
