"""A benchmark of products refuses what made published ones wrong, and writes down the rest."""

import json
import re
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.benchmark.cases import REGIMES, Case, Contender, live_components, standard_cases
from tensornet_jax.benchmark.contenders import our_contenders
from tensornet_jax.benchmark.peers import peer_contenders
from tensornet_jax.benchmark.records import Results, Settings
from tensornet_jax.benchmark.tensor_products import run
from tensornet_jax.ops.harmonics.angular_momentum import gaunt_ratio
from tests.benchmark.contenders_for_tests import CASE, PEAKS, dense, dense_task, wrong_by

FEW = Settings(seconds=0.001, fewest=3, most=5)


def measure(*contenders, cases=(CASE,), settings=FEW) -> Results:
    return run(cases, contenders, settings, peaks=PEAKS)


def reasons(results) -> set[str]:
    assert all(r.status == "skipped" and r.median_s is None for r in results.records)
    return {record.reason for record in results.records}


# --- the cases -----------------------------------------------------------------------------------


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("l_max", range(1, 9))
def test_no_family_is_timed_on_an_empty_output(regime, l_max):
    case = Case(regime, l_max)
    assert any(gaunt_ratio(*path) > 0 for path in case.triangles)
    assert live_components(case.degrees[2], case.triangles) == case.degrees[2].size


def test_regimes_couple_what_they_say():
    assert Case("siso", 3).triangles == ((3, 3, 4),)
    assert Case("siso", 4).triangles == ((4, 4, 4),)
    assert [path.l3 for path in Case("simo", 2).triangles] == [0, 1, 2, 3, 4]
    # full Clebsch-Gordan has 6, 19, 44 paths to 2L and these to L
    assert [len(Case("mimo", degree).triangles) for degree in (1, 2, 3)] == [5, 15, 34]
    assert [len(Case("mimo", degree, full_output=True).triangles) for degree in (1, 2, 3)] == [
        6,
        19,
        44,
    ]


def test_the_committed_sweep_covers_every_regime_to_8_and_the_sizes_asked_for():
    cases = standard_cases()
    for regime in REGIMES:
        assert {case.l_max for case in cases if case.regime == regime} == set(range(1, 9))
    assert {case.channels for case in cases} == {1, 128}
    assert max(case.batch for case in cases) == 10_000
    assert {case.dtype for case in cases} == {"float32", "float64"}
    assert len(set(cases)) == len(cases)


def test_a_case_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="unknown regime 'mi'"):
        Case("mi", 2)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="l_max of a benchmark must be at least 1"):
        Case("mimo", 0)
    with pytest.raises(ValueError, match="full_output is for mimo"):
        Case("simo", 2, full_output=True)


# --- what is refused -----------------------------------------------------------------------------


def test_a_contender_that_computes_something_else_is_not_timed():
    results = measure(wrong_by(1.001), dense())
    wrong = [r for r in results.records if r.contender == "wrong by 1.001"]
    assert reasons(replace(results, records=wrong)) == {
        "computes something else: off by 1.0e-03 of the largest number"
    }
    assert {r.status for r in results.records if r.contender == "dense"} == {"measured"}


def test_a_wrong_gradient_is_found():
    def halved_gradient(case):
        function = dense_task(case).function

        @jax.custom_vjp
        def product(x, y):
            return function(x, y)

        def backward(features, cotangent):
            _, pullback = jax.vjp(function, *features)
            x, y = pullback(cotangent)
            return x, 0.5 * y

        product.defvjp(lambda x, y: (product(x, y), (x, y)), backward)
        return product

    results = measure(dense(function=halved_gradient))
    forward, backward = results.records
    assert (forward.direction, forward.status) == ("forward", "measured")
    assert backward.reason.startswith("the gradient with respect to y is wrong")


def test_an_empty_output_is_refused():
    def zero(case):
        return np.zeros_like(dense_task(case).coefficients)

    empty = {"the output is empty: no path leads to it"}
    assert reasons(measure(dense(coefficients=zero))) == empty
    assert reasons(measure(dense(paths=lambda case: ()))) == empty


def test_another_precision_is_refused(x64):
    def in_float32(case):
        return lambda x, y: dense_task(case).function(x, y).astype(jnp.float32)

    case = replace(CASE, dtype="float64")
    forward, backward = measure(dense(function=in_float32), cases=[case]).records
    assert forward.reason == "computes in float32 where float64 was asked for"
    assert backward.status == "skipped"


def test_what_does_not_fit_is_skipped_with_the_reason():
    large = replace(CASE, batch=10**9)
    [reason] = reasons(measure(dense(), cases=[large]))
    assert reason == "needs 268.2 GiB, more than the limit of 4 GiB"

    def huge_intermediate(case):
        def product(x, y):
            z = dense_task(case).function(x, y)
            outer = jnp.sort(jnp.outer(z.ravel(), jnp.arange(5000.0)), axis=0)
            return z + 0 * outer.sum()

        return product

    limit = replace(FEW, memory_bytes=10**6)
    [first, *_] = measure(dense(function=huge_intermediate), settings=limit).records
    assert first.status == "skipped"
    assert "more than the limit of 0.000931 GiB" in first.reason
    assert first.temporary_bytes is not None
    assert first.temporary_bytes > 10**6


def test_larger_degrees_are_skipped_once_compiling_takes_too_long():
    cases = [replace(CASE, l_max=degree) for degree in (1, 2)]
    # Of a program in the compilation cache even a hundredth of a second would be enough.
    records = measure(dense(), cases=cases, settings=replace(FEW, compile_seconds=0.0)).records
    small, large = ([r for r in records if r.l_max == degree] for degree in (1, 2))
    assert {r.status for r in small} == {"measured"}
    reason = re.compile(r"compiling took \d+ s at L = 1, more than the limit of 0 s")
    assert all(reason.search(r.reason) for r in large)


# --- what is written down ------------------------------------------------------------------------


def test_records_are_complete_and_go_through_json():
    results = measure(dense())
    forward, backward = (SimpleNamespace(**vars(record)) for record in results.records)
    for record in (forward, backward):
        assert not [name for name, value in vars(record).items() if value is None]
        assert record.compile_s > record.median_s > 0
        assert record.lower_quartile_s <= record.median_s <= record.upper_quartile_s
        assert record.samples >= 3
        assert record.products_per_s == pytest.approx(40 / record.median_s)
        assert record.error < 1e-6
    assert forward.bytes_per_s == pytest.approx(3 * 4 * 4 * 40 / forward.median_s)
    assert backward.bytes_per_s == pytest.approx(2 * 3 * 4 * 4 * 40 / backward.median_s)
    assert backward.flops > 2 * forward.flops
    assert results.expressivity == {"clebsch_gordan mimo L=1": 5}
    assert results.paths == {
        "clebsch_gordan mimo L=1": ["0 0 0", "0 1 1", "1 0 1", "1 1 0", "1 1 1"]
    }
    assert Results.from_json(json.loads(json.dumps(results.to_json()))) == results


def test_results_of_another_format_are_refused():
    with pytest.raises(ValueError, match="not of format"):
        Results.from_json({"format": 0})


def test_an_output_that_is_partly_empty_is_written_down(x64):
    from tensornet_jax.ops.tensor_products import PRODUCTS

    case = Case("simo", 2, batch=8, dtype="float64")
    grid = {"gaunt_grid": PRODUCTS["gaunt_grid"]}
    [record, *_] = measure(*our_contenders(grid), cases=[case]).records
    assert record.status == "measured", record.reason
    assert (record.output_size, record.live_size, record.num_paths) == (25, 15, 3)
    assert record.l3 == (0, 4)


# --- ours and peers ------------------------------------------------------------------------------


def test_every_product_of_ours_computes_what_it_claims(x64):
    cases = [Case("mimo", 1, channels=2, batch=9, dtype="float64")]
    results = measure(*our_contenders(), cases=cases)
    assert results.expressivity["clebsch_gordan mimo L=1"] == 5
    assert results.expressivity["gaunt_grid mimo L=1"] <= 4
    assert {r.status for r in results.records} == {"measured"}, {
        r.contender: r.reason for r in results.records if r.status == "skipped"
    }


@pytest.mark.parametrize("regime", REGIMES)
def test_peers_that_are_installed_do_the_same_work_as_ours(x64, regime):
    case = Case(regime, 1, channels=2, batch=9, dtype="float64")
    # Tracing a grid of e3nn-jax takes seconds: one regime is enough.
    peers = [c for c in peer_contenders() if regime == "mimo" or "s2grid" not in c.name]
    results = measure(*peers, cases=[case])
    for record in results.records:
        skipped = ("is not installed", "there is nothing to sum", "not some")
        assert record.status == "measured" or any(s in record.reason for s in skipped), record
    found = {r.contender: r for r in results.records if r.status == "measured"}
    product = found["e3nn_jax.tensor_product"]
    assert product.output_size == sum(2 * path.l3 + 1 for path in case.triangles)
    assert product.num_paths == len(case.triangles)
    if regime == "mimo":
        assert found["e3nn_jax.s2grid:fft"].num_paths == 4


def test_an_absent_peer_is_a_line_that_names_the_remedy(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("tensornet_jax.benchmark.peers.import_module", absent)
    found = reasons(measure(*peer_contenders(), cases=[Case("mimo", 1, batch=2)]))
    assert "e3j is not installed: pip install e3j" in found
    assert "cuequivariance-jax is not installed: pip install cuequivariance-jax" in found


def test_a_product_without_a_path_says_so():
    def nothing(name, case):
        raise ValueError(f"{name} couples nothing")

    contender = Contender("odd", "tensornet_jax", partial(nothing, "odd"))
    assert reasons(measure(contender)) == {"odd couples nothing"}
