"""Initialisers and layers the models share."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array


def torch_uniform(fan_in: int) -> Callable[..., Array]:
    """PyTorch's default for Linear weights and biases: uniform in ±1/√fan_in."""

    def init(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def dense(fan_in: int, features: int, dtype: str, *, use_bias: bool = True) -> nn.Dense:
    """Return a linear layer with PyTorch's default initialisation."""
    return nn.Dense(
        features,
        use_bias=use_bias,
        dtype=dtype,
        param_dtype=dtype,
        kernel_init=torch_uniform(fan_in),
        bias_init=torch_uniform(fan_in),
    )


def layer_norm(dtype: str) -> nn.LayerNorm:
    """Layer normalisation with ε = 1e-5, the variance in its numerically exact form."""
    return nn.LayerNorm(epsilon=1e-5, dtype=dtype, param_dtype=dtype, use_fast_variance=False)
