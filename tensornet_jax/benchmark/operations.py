"""What a function has to compute and to move, counted in its jaxpr.

XLA's own count takes the body of a loop once, however often it runs, and so misses nearly all of a
sum over neighbors that is a loop. Here loops are multiplied out.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var
from jaxtyping import Array, PyTree

# One operation for each number that goes in or comes out, whichever are more.
_ARITHMETIC = re.compile(
    "abs|add(_any)?|a?cos|a?sin|atan2?|a?tanh|cbrt|ceil|cum(sum|prod)|div|erf|exp[2]?|expm1|floor"
    "|integer_pow|log(1p|istic)?|max|min|mul|neg|pow|reduce_(max|min|prod|sum)|rem|round|rsqrt|sign"
    "|sqrt|square|sub|tan"
)


@dataclass(frozen=True)
class Operations:
    """Floating-point operations, and bytes that no fusion of operations can keep in registers.

    flops: two for each term of a matrix product, one for each number of any other arithmetic.
    bytes_accessed: factors and results of matrix products, what is gathered and scattered, and
        the arguments and results of the whole. Where they fit into a cache they need not come
        from memory.
    """

    flops: float
    bytes_accessed: float

    def __add__(self, other: "Operations") -> "Operations":
        return Operations(self.flops + other.flops, self.bytes_accessed + other.bytes_accessed)

    def times(self, factor: int) -> "Operations":
        """Return those of so many repetitions."""
        return Operations(factor * self.flops, factor * self.bytes_accessed)


def count_operations(
    function: Callable[..., PyTree[Array]], *arguments: PyTree[Array]
) -> Operations:
    """Count without running or compiling anything.

    Of branches the one with the most operations is counted. A call into a library is not looked
    into.

    Args:
        function: what to trace.
        arguments: arrays, or their shapes.

    Raises:
        ValueError: a loop whose number of rounds is not known beforehand.
    """
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    outside = sum(map(_bytes, _arrays((*jaxpr.invars, *jaxpr.outvars))))
    return _of_jaxpr(jaxpr) + Operations(0, outside)


def _of_jaxpr(jaxpr: Jaxpr) -> Operations:
    total = Operations(0, 0)
    for equation in jaxpr.eqns:
        total += _of_equation(equation)
    return total


def _of_equation(equation: JaxprEqn) -> Operations:
    name, parameters = equation.primitive.name, equation.params
    ins, outs = _arrays(equation.invars), _arrays(equation.outvars)
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        terms = prod(ins[0].shape[axis] for axis in contracted)
        return Operations(2 * terms * outs[0].size, sum(map(_bytes, (*ins, *outs))))
    if name == "gather":
        return Operations(0, _bytes(outs[0]))
    if name.startswith("scatter"):
        updates = ins[2]
        return Operations(_numbers(updates) if "add" in name else 0, 2 * _bytes(updates))
    if name == "while":
        raise ValueError("a loop whose number of rounds is not known cannot be counted")
    if name == "cond":
        branches = (_of_jaxpr(branch.jaxpr) for branch in parameters["branches"])
        return max(branches, key=lambda found: (found.flops, found.bytes_accessed))
    if _ARITHMETIC.fullmatch(name):
        return Operations(max(map(_numbers, (*ins, *outs))), 0)
    inner = Operations(0, 0)
    for jaxpr in _inside(parameters):
        inner += _of_jaxpr(jaxpr)
    return inner.times(parameters["length"]) if name == "scan" else inner


def _inside(parameters: Mapping[str, object]) -> Iterator[Jaxpr]:
    # A rule for derivatives is a parameter too, but a function and not a jaxpr.
    for value in parameters.values():
        jaxpr = getattr(value, "jaxpr", value)
        if isinstance(jaxpr, Jaxpr):
            yield jaxpr


def _arrays(variables: Iterable[Var | Literal]) -> list[ShapedArray]:
    return [v.aval for v in variables if isinstance(v.aval, ShapedArray)]


def _numbers(aval: ShapedArray) -> int:
    return aval.size if jnp.issubdtype(aval.dtype, jnp.inexact) else 0


def _bytes(aval: ShapedArray) -> int:
    return aval.size * jnp.dtype(aval.dtype).itemsize
