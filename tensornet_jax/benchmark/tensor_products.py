"""Times of tensor products: every product and its peers, on the same work, in one run.

What a published comparison can get wrong is refused here or written into the record: empty outputs,
numbers that differ, outputs of different sizes, compile time in the average, one sample.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tensornet_jax.benchmark.agreement import check_agreement
from tensornet_jax.benchmark.cases import Case, Contender, Task, UnavailableError, live_components
from tensornet_jax.benchmark.machine import (
    Peaks,
    describe_machine,
    installed_versions,
    measure_peaks,
    roofline,
)
from tensornet_jax.benchmark.measure import Timing, Work, alternate, compile_work
from tensornet_jax.benchmark.records import DIRECTIONS, Direction, Record, Results, Settings
from tensornet_jax.ops.expressivity import IndeterminateRankError, expressivity
from tensornet_jax.runtime.precision import precision_scope


def run(
    cases: Iterable[Case],
    contenders: Sequence[Contender],
    settings: Settings | None = None,
    report: Callable[[str], None] = lambda line: None,
    peaks: dict[str, Peaks] | None = None,
) -> Results:
    """Measure all contenders on all cases.

    Args:
        cases: what to compute.
        contenders: who computes it; one that cannot gets a record that says why.
        settings: budget.
        report: called with a line of text now and then.
        peaks: roofs for each dtype; measured where they are missing.
    """
    settings = settings or Settings()
    start = time.perf_counter()
    results = Results(describe_machine(), installed_versions(), settings, dict(peaks or {}))
    slow: dict[tuple[str, Case], str] = {}
    for case in cases:
        if case.dtype not in results.peaks:
            report(f"peaks of this machine in {case.dtype}")
            results.peaks[case.dtype] = measure_peaks(case.dtype)
        report(f"{case.regime} L = {case.l_max}, {case.point}")
        with precision_scope(case.dtype):
            _run_case(case, contenders, results, slow)
    results.seconds = time.perf_counter() - start
    return results


@dataclass(frozen=True)
class _Entry:
    """A contender that takes part, with the record that is being filled."""

    record: Record
    task: Task
    work: Work


def _run_case(
    case: Case,
    contenders: Sequence[Contender],
    results: Results,
    slow: dict[tuple[str, Case], str],
) -> None:
    settings = results.settings
    features = _features(case, settings)
    tasks: dict[str, Task | str] = {}
    for contender in contenders:
        series = contender.name, replace(case, l_max=1)
        start = time.perf_counter()
        try:
            if features is None:
                raise UnavailableError(_too_large(3 * case.array_bytes, settings))
            if series in slow:
                raise UnavailableError(slow[series])
            tasks[contender.name] = contender.build(case)
        except (UnavailableError, ValueError) as error:
            tasks[contender.name] = str(error)
        _note_if_slow(slow, series, case, time.perf_counter() - start, settings)
    for direction in DIRECTIONS:
        entries = []
        for contender in contenders:
            record, task = _blank(case, contender, direction), tasks[contender.name]
            if features is None or isinstance(task, str):
                results.records.append(replace(record, reason=str(task)))
                continue
            record = _described(record, case, task, results)
            try:
                work = _prepare(case, task, direction, features, settings)
                series = contender.name, replace(case, l_max=1)
                _note_if_slow(slow, series, case, work.compile_s, settings)
                record = replace(
                    record, compile_s=work.compile_s, temporary_bytes=work.temporary_bytes
                )
                _check_memory(work, settings)
                record = replace(record, error=check_agreement(case, task, work, features))
            except (UnavailableError, ValueError) as error:
                results.records.append(replace(record, reason=str(error)))
                continue
            entries.append(_Entry(record, task, work))
        timings = alternate(
            [entry.work for entry in entries], settings.seconds, settings.fewest, settings.most
        )
        for entry, timing in zip(entries, timings, strict=True):
            results.records.append(_measured(entry, case, timing, results.peaks[case.dtype]))


def _note_if_slow(
    slow: dict[tuple[str, Case], str],
    series: tuple[str, Case],
    case: Case,
    seconds: float,
    settings: Settings,
) -> None:
    if seconds > settings.compile_seconds:
        slow[series] = (
            f"preparing and compiling took {seconds:.0f} s at L = {case.l_max}, more than the "
            f"limit of {settings.compile_seconds:.0f} s"
        )


def _features(case: Case, settings: Settings) -> tuple[np.ndarray, np.ndarray] | None:
    """Random x and y, (batch, channels, size) each; None if a run with them is too large."""
    # z as well, and with gradients everything twice
    if 3 * case.array_bytes > settings.memory_bytes:
        return None
    generator = np.random.default_rng(settings.seed)
    x, y = (
        generator.standard_normal((case.batch, case.channels, degrees.size), np.float32)
        for degrees in case.degrees[:2]
    )
    return x.astype(case.dtype), y.astype(case.dtype)


def _too_large(size: int, settings: Settings) -> str:
    return (
        f"needs {size / 2**30:.1f} GiB, more than the limit of "
        f"{settings.memory_bytes / 2**30:.3g} GiB"
    )


def _check_memory(work: Work, settings: Settings) -> None:
    size = (work.temporary_bytes or 0) + (work.held_bytes or 0)
    if size > settings.memory_bytes:
        raise UnavailableError(_too_large(size, settings))


def _prepare(
    case: Case,
    task: Task,
    direction: Direction,
    features: tuple[np.ndarray, np.ndarray],
    settings: Settings,
) -> Work:
    """Compile a task for its arguments."""
    x, y = (task.to_own(values) for values in features)
    if direction == "forward":
        return compile_work(task.function, x, y, *task.parameters)
    output = jax.eval_shape(task.function, x, y, *task.parameters)
    generator = np.random.default_rng(settings.seed + 1)
    cotangent = generator.standard_normal(output.shape, np.float32).astype(case.dtype)
    backward = partial(_with_gradients, task.function)
    return compile_work(backward, x, y, jnp.asarray(cotangent), *task.parameters)


def _with_gradients(
    function: Callable[..., Array], x: Array, y: Array, cotangent: Array, *parameters: Array
) -> tuple[Array, Array, Array]:
    """The output and the gradients of Σ cotangent · output.

    The output is returned because a network needs it; without it XLA would drop the forward pass
    of a bilinear map altogether.
    """
    z, pullback = jax.vjp(lambda x, y: function(x, y, *parameters), x, y)
    return z, *pullback(cotangent)


def _blank(case: Case, contender: Contender, direction: Direction) -> Record:
    ranges = [(degrees.first, degrees.last) for degrees in case.degrees]
    return Record(
        **asdict(case),
        l1=ranges[0],
        l2=ranges[1],
        l3=ranges[2],
        contender=contender.name,
        library=contender.library,
        apart=contender.apart,
        direction=direction,
    )


def _described(record: Record, case: Case, task: Task, results: Results) -> Record:
    output = f"{case.regime} L={case.l_max}{' to 2L' * case.full_output}"
    key = f"{task.computes} {output}"
    results.paths.setdefault(key, [f"{a} {b} {c}" for a, b, c in task.paths])
    if key not in results.expressivity:
        dimension = _dimension(task)
        if dimension is not None:
            results.expressivity[key] = dimension
    live = live_components(case.degrees[2], task.paths)
    return replace(
        record,
        computes=task.computes,
        layout=task.layout,
        note=task.note,
        num_paths=len(task.paths),
        path_list=key,
        output_size=task.output_size,
        live_size=task.output_size if record.apart else live,
    )


def _dimension(task: Task) -> int | None:
    """The dimension of the maps that the family reaches with its weights; None where unknown."""
    if task.computes == "clebsch_gordan":
        # A weight for each path: every map, which takes long to find out at high L.
        return len(task.paths)
    if task.product is None:
        return None
    try:
        return expressivity(task.product, max_copies=1).dimension
    except IndeterminateRankError:
        return None


def _measured(entry: _Entry, case: Case, timing: Timing, peaks: Peaks) -> Record:
    record, work = entry.record, entry.work
    assert record.live_size is not None
    numbers = case.degrees[0].size + case.degrees[1].size + record.live_size
    moved = numbers * case.num_products * np.dtype(case.dtype).itemsize
    moved *= 1 if record.direction == "forward" else 2
    return replace(
        record,
        status="measured",
        **asdict(timing),
        products_per_s=case.num_products / timing.median_s,
        bytes_per_s=moved / timing.median_s,
        flops=work.flops,
        bytes_accessed=work.bytes_accessed,
        **roofline(work, timing.median_s, peaks),
    )
