"""Random numbers of a step, drawn within it or for a block of steps ahead.

Threefry's numbers depend on nothing but keys, so that a block of steps draws the same numbers all
at once as its steps do one by one; on a GPU, where every kernel has to be launched, once costs
less.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float, Int32, Key

if TYPE_CHECKING:
    from tensornet_jax.md.state import System

Sample: TypeAlias = Callable[["System", Int32[Array, ""], DTypeLike], Array]
"""From a system, the number of a step and a dtype to random numbers."""

# Candidates for a gamma variable: at most 5 % are turned down, and of those for large systems far
# less.
CANDIDATES = 8
# Normal numbers for a candidate, which must be above a bound; with as few degrees of freedom as
# there are, 0.7 % are not.
NORMALS = 2


@dataclass(frozen=True)
class Draw:
    """One use of random numbers in a step.

    name: of the use; no other of the same integrator has it.
    sample: draws them.
    bounded: draws the same without a loop whose number of turns only the device knows; None where
        `sample` has none.
    """

    name: str
    sample: Sample
    bounded: Sample | None = None

    def of(self, system: "System", step: Int32[Array, ""], dtype: DTypeLike) -> Array:
        """Return the numbers of a step.

        Args:
            system: holds the structures' keys, and what was drawn ahead.
            step: its number.
            dtype: of the numbers.
        """
        ahead = system.ahead
        if ahead is None or self.name not in ahead.numbers:
            return self.sample(system, step, dtype)
        index = step - ahead.first
        return lax.dynamic_index_in_dim(ahead.numbers[self.name], index, keepdims=False)


@dataclass(frozen=True)
class Ahead:
    """Random numbers of a block of steps.

    first: number of its first step.
    numbers: by name of the `Draw`, steps along a first dimension.
    """

    first: Int32[Array, ""]
    numbers: dict[str, Array]


def draw_ahead(
    draws: Sequence[Draw], system: "System", first: Int32[Array, ""], count: int, dtype: DTypeLike
) -> Ahead:
    """Draw the random numbers of steps that follow each other.

    Args:
        draws: of the integrator.
        system: holds the structures' keys.
        first: number of the first step.
        count: of steps (static).
        dtype: of the numbers.
    """
    steps = first + jnp.arange(count, dtype=jnp.int32)

    def drawn(draw: Draw) -> Array:
        sample = draw.bounded or draw.sample
        return jax.vmap(lambda step: sample(system, step, dtype))(steps)

    return Ahead(first, {draw.name: drawn(draw) for draw in draws})


def bounded_gamma(
    keys: Key[Array, " structures"], shape: Float[Array, " structures"]
) -> Float[Array, " structures"]:
    """Return the gamma variables of `jax.random.gamma` for shapes ≥ 1, in a few kernels.

    Marsaglia & Tsang, doi:10.1145/358407.358414, with a number of candidates that is known when it
    is compiled: d·v with v = (1 + c·x)³ of the first normal number x that is accepted. That none
    of them is has a probability below 10⁻¹⁰; then the last one is taken.

    Args:
        keys: one for each variable.
        shape: of each distribution; at least ½.
    """
    return jax.vmap(_bounded_gamma)(keys, shape)


def _bounded_gamma(key: Key[Array, ""], shape: Float[Array, ""]) -> Float[Array, ""]:
    small = shape < 1
    d = jnp.where(small, shape + 1, shape) - 1 / 3
    c = 1 / 3 / jnp.sqrt(d)
    # As `jax.random.gamma` does for each of an array.
    (key,) = jax.random.split(key, 1)
    key, boost_key = jax.random.split(key)

    def chained(key: Key[Array, ""], _: None) -> tuple[Key[Array, ""], tuple[Array, Array]]:
        key, of_normal, of_uniform = jax.random.split(key, 3)
        return key, (of_normal, of_uniform)

    def normals(key: Key[Array, ""]) -> Float[Array, " normals"]:
        found = []
        for _ in range(NORMALS):
            key, one = jax.random.split(key)
            found.append(jax.random.normal(one, (), shape.dtype))
        return jnp.stack(found)

    _, (normal_keys, uniform_keys) = lax.scan(chained, key, length=CANDIDATES, unroll=True)
    x = jax.vmap(normals)(normal_keys)
    first = jnp.argmax(1 + c * x > 0, axis=1)
    x = jnp.take_along_axis(x, first[:, None], axis=1)[:, 0]
    base = jnp.maximum(1 + c * x, 0)
    v = base**3
    u = jax.vmap(lambda key: jax.random.uniform(key, (), shape.dtype))(uniform_keys)
    squared = x * x
    logarithm = jnp.log(jnp.where(v > 0, v, 1))
    near = u < 1 - 0.0331 * squared * squared
    accepted = (v > 0) & (near | (jnp.log(u) < 0.5 * squared + d * (1 - v + logarithm)))
    last = jnp.arange(CANDIDATES) == CANDIDATES - 1
    value = d * v[jnp.argmax(accepted | last)]
    lifted = 1 - jax.random.uniform(boost_key, (), shape.dtype)
    return jnp.where(small, value * lifted ** (1 / shape), value)
