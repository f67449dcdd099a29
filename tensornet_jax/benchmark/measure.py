"""Times of compiled functions: compiling apart, contenders in turn, medians with their spread."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import jax
import numpy as np
from jaxtyping import Array, PyTree


@dataclass(frozen=True)
class Work:
    """A compiled function with its arguments, and what XLA says that it does.

    Attributes:
        function: what was compiled.
        compiled: the program.
        arguments: what it is run on.
        compile_s: seconds for tracing and compiling.
        flops: floating-point operations by XLA's cost analysis; None where it does not say.
        bytes_accessed: bytes that XLA's fused operations read and write; None where unknown.
        temporary_bytes: size of intermediate arrays; None where unknown.
        held_bytes: size of the arguments and results; None where unknown.
    """

    function: Callable[..., PyTree[Array]]
    compiled: jax.stages.Compiled
    arguments: tuple[PyTree[Array], ...]
    compile_s: float
    flops: float | None
    bytes_accessed: float | None
    temporary_bytes: int | None
    held_bytes: int | None

    def __call__(self) -> PyTree[Array]:
        """Run it on its arguments."""
        return self.compiled(*self.arguments)


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, over all samples.

    Attributes:
        median_s: the figure to quote.
        lower_quartile_s, upper_quartile_s: the spread; half of the samples lie between.
        minimum_s: the fastest.
        samples: how many calls were timed.
    """

    median_s: float
    lower_quartile_s: float
    upper_quartile_s: float
    minimum_s: float
    samples: int


def compile_work(function: Callable[..., PyTree[Array]], *arguments: PyTree[Array]) -> Work:
    """Compile a function for its arguments without running it.

    Args:
        function: what to trace; its arguments are not constants to the compiler.
        arguments: arrays.
    """
    start = perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = perf_counter() - start
    costs = _costs(compiled)
    memory = compiled.memory_analysis()
    return Work(
        function=function,
        compiled=compiled,
        arguments=arguments,
        compile_s=seconds,
        flops=costs.get("flops"),
        bytes_accessed=costs.get("bytes accessed"),
        temporary_bytes=getattr(memory, "temp_size_in_bytes", None),
        held_bytes=None
        if memory is None
        else memory.argument_size_in_bytes + memory.output_size_in_bytes,
    )


def _costs(compiled: jax.stages.Compiled) -> dict[str, float]:
    costs = compiled.cost_analysis()
    # Older and newer backends give a dict, some a list with one dict for each program.
    costs = costs[0] if isinstance(costs, list) else costs
    return {name: float(value) for name, value in (costs or {}).items() if value >= 0}


def alternate(
    functions: Sequence[Callable[[], PyTree[Array]]],
    seconds: float = 0.5,
    fewest: int = 7,
    most: int = 200,
    warm_up: int = 2,
) -> list[Timing]:
    """Time functions in turn, so that what else the machine does strikes all of them alike.

    Each gets about the same time and so its own number of samples, spread evenly over the whole
    measurement; who begins a round changes from round to round. A sample is one call until its
    results are there.

    Args:
        functions: functions without arguments that return arrays.
        seconds: wanted for each function, as far as `fewest` and `most` allow.
        fewest, most: bounds on the samples of each.
        warm_up: calls of each that are not counted, at least 1; the last one tells how long a
            call takes.
    """
    samples: list[list[float]] = [[] for _ in functions]
    for function in functions:
        for _ in range(warm_up - 1):
            jax.block_until_ready(function())
    counts = [int(np.clip(seconds / _time(f), fewest, most)) for f in functions]
    rounds = max(counts, default=0)
    for k in range(rounds):
        for offset in range(len(functions)):
            i = (k + offset) % len(functions)
            if (k + 1) * counts[i] // rounds > k * counts[i] // rounds:
                samples[i].append(_time(functions[i]))
    return [_timing(values) for values in samples]


def _time(function: Callable[[], PyTree[Array]]) -> float:
    start = perf_counter()
    jax.block_until_ready(function())
    return perf_counter() - start


def _timing(samples: Sequence[float]) -> Timing:
    lower, median, upper = np.percentile(samples, [25, 50, 75])
    return Timing(float(median), float(lower), float(upper), min(samples), len(samples))
