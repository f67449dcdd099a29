"""Layers and initializers that models share."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float


def torch_uniform(fan_in: int) -> Callable[..., Array]:
    """PyTorch's default for Linear weights and biases: uniform in ±1/√fan_in."""

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        bound = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def dense(
    fan_in: int, features: int, dtype: str, *, use_bias: bool = True, name: str | None = None
) -> nn.Dense:
    """Return a linear layer with PyTorch's default initialization."""
    return nn.Dense(
        features,
        name=name,
        use_bias=use_bias,
        dtype=dtype,
        param_dtype=dtype,
        kernel_init=torch_uniform(fan_in),
        bias_init=torch_uniform(fan_in),
    )


def in_one_product(
    layers: Sequence[nn.Dense], values: Float[Array, "*rows old"]
) -> Float[Array, "*rows new"]:
    """Return side by side what several linear layers, all with biases, make of the same numbers.

    One product for all, and one for all of their derivatives.
    """
    kernels, biases = (
        jnp.concatenate([layer.get_variable("params", name) for layer in layers], axis=-1)
        for name in ("kernel", "bias")
    )
    return values @ kernels + biases


def layer_norm(dtype: str, name: str | None = None) -> nn.LayerNorm:
    """Layer normalization with ε = 1e-5, the variance in its numerically exact form."""
    return nn.LayerNorm(
        epsilon=1e-5, dtype=dtype, param_dtype=dtype, use_fast_variance=False, name=name
    )


def _gain_of_silu() -> float:
    """1/√⟨silu(z)²⟩ for normal z, which keeps the variance through a layer."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    values = nodes / (1 + np.exp(-nodes))
    return float(np.sqrt(np.sum(weights) / np.sum(weights * values**2)))


SILU_GAIN = _gain_of_silu()
SILU_GAIN_OF_E3NN = 1.6791767923989418
"""The same number as e3nn 0.4.4 has it, from a million random z: 0.16 % more."""
SIGMOID_GAIN_OF_E3NN = 1.8467055342154763
"""That of the sigmoid, from the same z."""


def normal_kernel(fan_in: int) -> nn.initializers.Initializer:
    """Normal numbers of variance 1/fan_in, which keep the variance of what they multiply."""
    return nn.initializers.normal(fan_in**-0.5)


def kernel_of(
    module: nn.Module, name: str, shape: tuple[int, ...], dtype: str, *, unit: bool
) -> Array:
    """Return a matrix (…, in, out) of a module, scaled so that it keeps the variance.

    Args:
        module: whose parameter it is.
        name: of the parameter.
        shape: of the matrix, or of one for each species before it.
        dtype: of the parameter.
        unit: whether the parameter has variance 1, as in e3nn, and the factor is in the network;
            false where the parameter itself is small.
    """
    if not unit:
        return module.param(name, normal_kernel(shape[-2]), shape, dtype)
    kernel = module.param(name, nn.initializers.normal(1.0), shape, dtype)
    return kernel * shape[-2] ** -0.5


def scale_of_species(module: nn.Module, num_species: int, dtype: str) -> Array:
    """Return the factor of what e3nn sums over one-hot species, a buffer of a module.

    It is 1 over the root of their number; as a buffer, so that a model to which elements are added
    says the same of the old ones.
    """
    factor = num_species**-0.5
    return module.variable("buffers", "species_scale", lambda: jnp.asarray(factor, dtype)).value


class Perceptron(nn.Module):
    """Hidden layers of silu without biases: zero in, zero out.

    widths: of the hidden layers.
    features: numbers that come out.
    unit: as in `kernel_of`; then the gain of silu is e3nn's too.
    """

    widths: tuple[int, ...]
    features: int
    dtype: str
    unit: bool = False

    @nn.compact
    def __call__(self, values: Float[Array, "*rows channels"]) -> Float[Array, "*rows features"]:
        """Return as many numbers for each row as there are features."""
        for index, width in enumerate((*self.widths, self.features)):
            shape = (values.shape[-1], width)
            values = values @ kernel_of(self, f"kernel_{index}", shape, self.dtype, unit=self.unit)
            if index < len(self.widths):
                gain = SILU_GAIN_OF_E3NN if self.unit else SILU_GAIN
                values = gain * jax.nn.silu(values)
        return values
