"""Contenders that compile in no time, right and wrong ones."""

from dataclasses import replace
from functools import partial

import jax.numpy as jnp
import numpy as np

from tensornet_jax.benchmark.cases import Case, Contender, Task
from tensornet_jax.benchmark.machine import Peaks
from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan

PEAKS = {dtype: Peaks(dtype, 1e11, 1e10, 1e-5) for dtype in ("float32", "float64")}
CASE = Case("mimo", 1, channels=2, batch=20)


def dense_task(case: Case) -> Task:
    first, second, third = case.degrees
    tensor = np.zeros((first.size, second.size, third.size))
    for l1, l2, l3 in case.triangles:
        block = first.slice(l1), second.slice(l2), third.slice(l3)
        tensor[block] = clebsch_gordan(l1, l2, l3)
    return Task(
        function=lambda x, y: jnp.einsum("abc,...a,...b->...c", tensor.astype(x.dtype), x, y),
        computes="clebsch_gordan",
        paths=case.triangles,
        coefficients=tensor,
        output_size=third.size,
        layout="channels before components",
    )


def dense(name="dense", library="tensornet_jax", **changes) -> Contender:
    """A right contender, unless `changes` of its task make it wrong."""

    def build(case):
        return replace(dense_task(case), **{k: change(case) for k, change in changes.items()})

    return Contender(name, library, build)


def scaled(factor, case):
    function = dense_task(case).function
    return lambda x, y: factor * function(x, y)


def wrong_by(factor: float) -> Contender:
    return dense(name=f"wrong by {factor}", function=partial(scaled, factor))
