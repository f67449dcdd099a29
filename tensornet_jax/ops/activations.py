"""The activation functions a configuration may name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


def shifted_softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(½ + ½ eˣ), with log 2 rounded to float32 as in SchNet and torchmd-net."""
    return jax.nn.softplus(x) - float(np.float32(np.log(2.0)))


def mish(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x · tanh(softplus(x)), arXiv:1908.08681."""
    return x * jnp.tanh(jax.nn.softplus(x))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "ssp": shifted_softplus,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "mish": mish,
}
