"""Tables, page and figures show the numbers of the records."""

import json
from dataclasses import replace

import pytest
from matplotlib.image import imread

from tensornet_jax.benchmark.cases import REGIMES, Case
from tensornet_jax.benchmark.machine import MachineFacts
from tensornet_jax.benchmark.plots import write_figures
from tensornet_jax.benchmark.records import DIRECTIONS, Record, Results, Settings
from tensornet_jax.benchmark.report import (
    fastest_lines,
    markdown,
    ratio_table,
    render,
    time_table,
    write_results,
)
from tests.benchmark.contenders_for_tests import PEAKS
from tests.text import squeezed

# contender → library, milliseconds at L = 1 forward, paths of 5
TIMES = {
    "clebsch_gordan:fused": ("tensornet_jax", 2.0, 5),
    "clebsch_gordan:sparse": ("tensornet_jax", 3.0, 5),
    "gaunt_grid:lebedev": ("tensornet_jax", 1.0, 4),
    "e3nn_jax.tensor_product": ("e3nn-jax", 8.0, 5),
    "e3nn_jax.tensor_product:summed": ("e3nn-jax", 6.0, 5),
    "e3nn_jax.s2grid:fft": ("e3nn-jax", 4.0, 4),
}


@pytest.fixture
def results():
    records = []
    for regime in REGIMES:
        for degree in (1, 2):
            case = Case(regime, degree)
            for direction, factor in zip(DIRECTIONS, (1.0, 3.0), strict=True):
                blank = Record(
                    **vars(case),
                    l1=(0, degree),
                    l2=(0, degree),
                    l3=(0, degree),
                    contender="e3x.Tensor",
                    library="e3x",
                    apart=False,
                    direction=direction,
                    reason="is not installed",
                )
                for name, (library, milliseconds, paths) in TIMES.items():
                    seconds = 1e-3 * milliseconds * factor * degree**3
                    filled = replace(
                        blank,
                        contender=name,
                        library=library,
                        apart=name == "e3nn_jax.tensor_product",
                        reason="",
                        status="measured",
                        median_s=seconds,
                        lower_quartile_s=0.9 * seconds,
                        upper_quartile_s=1.1 * seconds,
                        num_paths=len(case.triangles) if paths == 5 else 1,
                        path_list=f"{name.partition(':')[0]} {regime} L={degree}",
                    )
                    records.append(filled)
                records.append(blank)
    machine: MachineFacts = {
        "platform": "cpu",
        "device": "cpu",
        "num_devices": 1,
        "processor": "a processor",
        "threads": 2,
        "memory_bytes": None,
        "load_average": [0.1, 0.2, 0.3],
        "system": "Linux x86_64",
        "xla_flags": "",
    }
    expressivity = {r.path_list or "": r.num_paths or 1 for r in records}
    return Results(
        machine, {"jax": "0.0"}, Settings(), dict(PEAKS), records, {}, expressivity, 60.0
    )


MIMO = [Case("mimo", 1), Case("mimo", 2)]


def test_times_are_in_milliseconds_one_column_a_degree(results):
    rows = time_table(results, MIMO, "forward")
    assert rows[0] == ["ms", "L=1", "L=2"]
    assert ["clebsch_gordan:fused", "2.00", "16.0"] in rows
    assert all(row[0] != "e3x.Tensor" for row in rows)
    assert len({len(line) for line in render(rows)}) == 1


def test_ratios_are_against_the_faster_form_of_e3nn(results):
    rows = ratio_table(results, MIMO, "forward_backward")
    assert ["clebsch_gordan:fused", "3.00", "3.00"] in rows
    assert ["gaunt_grid:lebedev", "6.00", "6.00"] in rows
    assert all("e3nn" not in row[0] for row in rows)


def test_the_fastest_with_every_path_and_with_fewer_are_told_apart(results):
    lines = fastest_lines(replace(results, records=[r for r in results.records if r.l_max == 1]))
    mimo = lines[lines.index("mimo L = 1, batch 1,000, 1 channel, float32, forward + backward:") :]
    assert "every path   clebsch_gordan:fused" in mimo[1]
    assert mimo[1].endswith("5 of 5 paths")
    assert "fewer paths  gaunt_grid:lebedev" in mimo[2]
    assert "fastest peer e3nn_jax.s2grid:fft" in mimo[3]
    assert "e3nn-jax     e3nn_jax.tensor_product:summed" in mimo[4]


def test_the_page_has_machine_tables_figures_and_what_was_skipped(results):
    page = squeezed(markdown(results, ["time.png"]))
    for text in (
        "cpu (a processor), 2 threads",
        "jax 0.0",
        "![time.png](time.png)",
        "## mimo, forward + backward, batch 1,000, 1 channel, float32",
        "| clebsch_gordan:fused | 2.00 | 16.0 |",
        "e3x.Tensor: is not installed (mimo L=1, mimo L=2, simo L=1",
    ):
        assert text in page


def test_results_are_written_as_json_page_and_figures(results, tmp_path):
    results.records = [record for record in results.records if record.regime == "mimo"]
    paths = write_results(tmp_path / "new", results)
    assert [path.name for path in paths] == [
        "results.json",
        "README.md",
        "time_batch1000_channels1_float32.png",
        "time_per_expressivity_batch1000_channels1_float32.png",
        "against_e3nn_batch1000_channels1_float32.png",
        "variants_batch1000_channels1_float32.png",
    ]
    for path in paths[2:]:
        image = imread(path)
        assert image.std() > 0.01
    content = json.loads(paths[0].read_text(encoding="utf-8"))
    assert Results.from_json(content) == results


def test_figures_without_numbers_are_left_out(results, tmp_path):
    ours = [r for r in results.records if r.contender == "gaunt_grid:lebedev" and r.l_max == 2]
    bare = replace(results, records=ours, expressivity={})
    names = write_figures(tmp_path, bare)
    assert [name.partition("_batch")[0] for name in names] == ["time", "variants"]
    assert write_figures(tmp_path, replace(bare, records=[])) == []
