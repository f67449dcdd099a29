"""Which records of a benchmark belong together."""

from collections.abc import Iterable, Sequence

from tensornet_jax.benchmark.cases import Case
from tensornet_jax.benchmark.records import Direction, Record, Results

BASELINE = "e3nn_jax.tensor_product"
TITLES = {"forward": "forward", "forward_backward": "forward + backward"}


def measured(
    records: Iterable[Record], case: Case | None = None, direction: Direction | None = None
) -> list[Record]:
    """Return the records with times, of one case and direction where those are given."""
    return [
        record
        for record in records
        if record.median_s is not None
        and (case is None or record.case == case)
        and (direction is None or record.direction == direction)
    ]


def cases_of(results: Results) -> list[Case]:
    """Return the cases in the order in which they were measured."""
    return list(dict.fromkeys(record.case for record in results.records))


def series_of(results: Results) -> dict[tuple[str, str], list[Case]]:
    """Return (regime, sizes) → cases that differ in L only."""
    series: dict[tuple[str, str], list[Case]] = {}
    for case in cases_of(results):
        series.setdefault((case.regime, case.point), []).append(case)
    return {key: sorted(cases, key=lambda case: case.l_max) for key, cases in series.items()}


def seconds_of(record: Record) -> float:
    """Return the median of a measured record."""
    assert record.median_s is not None
    return record.median_s


def baseline(records: Sequence[Record]) -> Record | None:
    """Return the faster of e3nn-jax's two forms, paths apart or summed, of one case."""
    found = [r for r in records if r.contender.partition(":")[0] == BASELINE]
    return min(found, key=seconds_of, default=None)
