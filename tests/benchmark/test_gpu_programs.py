"""What is read from a GPU program's text is what the text says, and reports show it."""

import jax
import pytest
from matplotlib.image import imread

from benchmarks.gpu.cases import BATCHED, BOXES, FORCES, FORMS, GRADIENT, Case, all_cases
from benchmarks.gpu.compiling import (
    PLUGIN,
    MissingCompilerError,
    as_on_gpu,
    placeholders,
    prepare,
)
from benchmarks.gpu.cost import Cost, Kernel, cheapest, cost_of, scatters, stepwise
from benchmarks.gpu.devices import ATTAINED, DEVICES, LAUNCH, LAUNCH_IN_GRAPH
from benchmarks.gpu.report import memory_of, plot, report
from tensornet_jax.ops.kernels.launch import launch

# A step of 1000 numbers in a loop of 10, within one whose end the device decides.
HLO = """
HloModule jit_f, is_scheduled=true

%fused_add (p0: f32[1000], p1: f32[1000]) -> f32[1000] {
  %p0 = f32[1000]{0} parameter(0)
  %p1 = f32[1000]{0} parameter(1)
  ROOT %sum = f32[1000]{0} add(%p0, %p1)
}

%fused_row (p0: f32[10,1000], p1: s32[]) -> f32[1,1000] {
  %p0 = f32[10,1000]{1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %row = f32[1,1000]{1,0} dynamic-slice(%p0, %p1, %zero), dynamic_slice_sizes={1,1000}
}

%fused_put (p0: f32[10,1000], p1: f32[1,1000], p2: s32[]) -> f32[10,1000] {
  %p0 = f32[10,1000]{1,0} parameter(0)
  %p1 = f32[1,1000]{1,0} parameter(1)
  %p2 = s32[] parameter(2)
  %zero = s32[] constant(0)
  ROOT %put = f32[10,1000]{1,0} dynamic-update-slice(%p0, %p1, %p2, %zero)
}

%fused_scatter (p0: f32[1000], p1: s32[50,1], p2: f32[50]) -> f32[1000] {
  %p0 = f32[1000]{0} parameter(0)
  %p1 = s32[50,1]{1,0} parameter(1)
  %p2 = f32[50]{0} parameter(2)
  ROOT %scattered = f32[1000]{0} scatter(%p0, %p1, %p2), to_apply=%plus
}

%few (a: f32[1000]) -> f32[1000] {
  %a = f32[1000]{0} parameter(0)
  ROOT %copied = f32[1000]{0} copy(%a)
}

%many (a: f32[1000]) -> f32[1000] {
  %a = f32[1000]{0} parameter(0)
  %first = f32[1000]{0} fusion(%a, %a), kind=kLoop, calls=%fused_add
  ROOT %second = f32[1000]{0} fusion(%first, %a), kind=kLoop, calls=%fused_add
}

%step (state: (f32[1000], s32[])) -> (f32[1000], s32[]) {
  %state = (f32[1000]{0}, s32[]) parameter(0)
  %x = f32[1000]{0} get-tuple-element(%state), index=0
  %i = s32[] get-tuple-element(%state), index=1
  %product = (f32[1000]{0}, s8[4194304]{0}) custom-call(%x, %x), custom_call_target="__cublas$gemm"
  %y = f32[1000]{0} get-tuple-element(%product), index=0
  %choice = f32[1000]{0} conditional(%i, %y, %y), branch_computations={%few, %many}
  %z = f32[1000]{0} fusion(%choice, %y), kind=kLoop, calls=%fused_add, metadata={op_name="f/add"}
  ROOT %next = (f32[1000]{0}, s32[]) tuple(%z, %i)
}

%always (state: (f32[1000], s32[])) -> pred[] {
  %state = (f32[1000]{0}, s32[]) parameter(0)
  %i = s32[] get-tuple-element(%state), index=1
  ROOT %goes_on = pred[] copy(%i)
}

%block (state: (f32[1000], s32[])) -> (f32[1000], s32[]) {
  %state = (f32[1000]{0}, s32[]) parameter(0)
  ROOT %steps = (f32[1000]{0}, s32[]) while(%state), condition=%always, body=%step, \
backend_config={"known_trip_count":{"n":"10"}}
}

ENTRY %main (x: f32[1000], rows: f32[10,1000], i: s32[], w: s32[50,1], v: f32[50]) -> f32[10,1000] {
  %x = f32[1000]{0} parameter(0)
  %rows = f32[10,1000]{1,0} parameter(1)
  %i = s32[] parameter(2)
  %w = s32[50,1]{1,0} parameter(3)
  %v = f32[50]{0} parameter(4)
  %start = (f32[1000]{0}, s32[]) tuple(%x, %i)
  %end = (f32[1000]{0}, s32[]) while(%start), condition=%always, body=%block
  %row = f32[1,1000]{1,0} fusion(%rows, %i), kind=kLoop, calls=%fused_row
  %scattered = f32[1000]{0} fusion(%x, %w, %v), kind=kInput, calls=%fused_scatter
  ROOT %all = f32[10,1000]{1,0} fusion(%rows, %row, %i), kind=kLoop, calls=%fused_put
}
"""
ROW = 4 * 1000
CHEAP_STEP = (2 + 1) * ROW + 2 * ROW + 3 * ROW
DEAR_STEP = CHEAP_STEP - 2 * ROW + (2 + 1) * ROW + 3 * ROW


def test_loops_of_known_length_count_every_turn_and_others_one():
    program = cost_of(HLO)
    # product, two of the branch, sum; the condition of the outer loop; row, scatter and put
    assert program.launches == 10 * 4 + 1 + 3
    assert program.kinds["__cublas$gemm"] == 10
    assert (program.dynamic_loops, program.conditionals) == (1, 1)
    assert scatters(HLO) == 1


def test_of_branches_the_dearest_counts_or_the_cheapest():
    dear, cheap = stepwise(cost_of(HLO)), stepwise(cost_of(HLO, cheapest))
    assert (dear.step.launches, cheap.step.launches) == (4, 3)
    assert (dear.step.bytes, cheap.step.bytes) == (DEAR_STEP, CHEAP_STEP)


def test_a_step_is_told_from_the_block_around_it():
    found = stepwise(cost_of(HLO))
    assert found.steps == 10
    assert found.around == 4
    assert found.step.largest(1)[0].bytes == 3 * ROW
    alone = Cost((Kernel("a", "copy", 7, 70),))
    assert (stepwise(alone).step, stepwise(alone).around) == (alone, 0)


def test_of_arrays_that_pieces_are_cut_out_of_or_put_into_the_pieces_count():
    moved = {each.name: each.bytes for each in cost_of(HLO).kernels}
    assert moved["row"] == ROW + 4 + ROW
    # the piece, its place, and the piece again as written
    assert moved["all"] == ROW + 4 + ROW
    assert moved["scattered"] == 2 * ROW + 2 * 4 * 50


def test_workspaces_of_libraries_are_no_traffic_and_kernels_are_named_by_their_source():
    moved = {each.name: each.bytes for each in cost_of(HLO).kernels}
    assert moved["product"] == 10 * 3 * ROW
    assert moved["z f/add"] == 10 * 3 * ROW


def test_what_is_no_program_or_of_unknown_size_is_an_error():
    with pytest.raises(ValueError, match="no ENTRY"):
        cost_of("HloModule nothing")
    with pytest.raises(ValueError, match="size of f4e2m1"):
        cost_of(HLO.replace("f32[1,1000]", "f4e2m1[1,1000]"))


def test_time_is_that_of_launches_or_of_bytes():
    device = DEVICES["h100"]
    assert device.seconds(500, 0) == pytest.approx(500 * LAUNCH_IN_GRAPH)
    assert device.seconds(500, 0, LAUNCH) == pytest.approx(500 * LAUNCH)
    assert device.seconds(1, 3.352e9) == pytest.approx(1e-3 / ATTAINED)


@pytest.mark.parametrize("device", DEVICES.values(), ids=list(DEVICES))
def test_devices_are_described_to_xla_by_what_differs(device):
    major, minor = device.capability
    assert f"cuda_compute_capability {{ major: {major} minor: {minor} }}" in device.target
    assert f"core_count: {device.processors}" in device.target


def test_code_that_asks_is_told_of_a_gpu():
    with as_on_gpu():
        assert jax.default_backend() == "gpu"
    assert jax.default_backend() == "cpu"


def test_without_the_compiler_one_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr("benchmarks.gpu.compiling.find_spec", {PLUGIN: None}.get)
    with pytest.raises(MissingCompilerError, match=r"pip install .*jax\[cuda12\]"):
        prepare()


def test_every_case_is_named_once():
    cases = all_cases()
    assert len({str(case) for case in cases}) == len(cases)
    typical = [case for case in cases if case.is_typical]
    assert {case.model for case in typical} == set(FORMS)
    # The others are compiled for one GPU alone: compiling all takes hours.
    assert len(typical) < len(cases) / 4


def record(case: Case, atoms: int, launches: int, kernels: str = "off", **changes):
    numbers = {
        "edges": 40 * atoms,
        "launches": launches,
        "bytes": 1_000_000 * atoms,
        "launches_with_list": launches + 5,
        "launches_around_steps": 3,
        "steps_in_block": 16,
        "temporary_bytes": 30_000_000 + 500_000 * atoms,
        "held_bytes": 4_000_000,
        "floor_bytes": 4_000_000,
        "dynamic_loops": 0,
        "conditionals": 1,
        "scatters": 2,
        "predicted_s": 1e-6 * launches,
        "predicted_without_graph_s": 2e-6 * launches,
        "jax": "0.10.1",
    }
    return {
        "device": "h100",
        "kernels": kernels,
        **vars(case),
        "atoms": atoms,
        **numbers,
        **changes,
    }


@pytest.fixture
def results():
    boxes = [Case("tensornet", "compressed", FORCES, box) for box in BOXES]
    step = Case("tensornet", "compressed", "Langevin, device list", BOXES[0])
    gradient = Case("tensornet", "as trained", GRADIENT, BATCHED)
    records = [
        record(gradient, 168, 556),
        record(step, 192, 300),
        *(record(box, atoms, 199) for box, atoms in zip(boxes, (192, 648), strict=True)),
        record(boxes[0], 192, 78, "on", bytes=90_000_000),
    ]
    return {"records": records}


def test_plain_forms_and_kernels_stand_in_one_row_in_the_order_of_the_cases(results):
    text = report(results)
    [row] = [line for line in text.splitlines() if "| 199 → 78 |" in line]
    assert row.startswith(
        "| tensornet | compressed | energy + forces | water 192, periodic | 192 |"
    )
    assert "| 192 → 90 |" in row
    assert "| 199 (398) → 78 (156) |" in row
    heads = [line for line in text.splitlines() if line.startswith("###")]
    assert heads == [
        "### Energy, forces and stress",
        "### Dynamics",
        "### Training",
        "### Memory",
    ]
    [step] = [line for line in text.splitlines() if "Langevin" in line and line.startswith("|")]
    assert "| 300 | 305 | 3 | 16 |" in step


def test_rows_tell_where_kernels_were_calls_without_code(results):
    results["records"][-1]["with_code"] = False
    marked = [line for line in report(results).splitlines() if "energy + forces° |" in line]
    assert len(marked) == 1
    assert "| 199 → 78 |" in marked[0]


def test_placeholders_are_calls_in_the_place_of_kernels():
    def doubled(x):
        def program(given, out):
            out[...] = 2 * given[...]

        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        run = launch(program, [shape], (1,), num_warps=1, interpret=False, name="doubled")
        return run(x)

    with placeholders():
        traced = str(jax.make_jaxpr(doubled)(jax.numpy.ones(16)))
    assert "placeholder_of_doubled" in traced
    assert "pallas_call" not in traced


def test_atoms_that_fit_are_on_the_line_through_two_boxes(results):
    boxes = [r for r in results["records"] if r["launches"] == 199]
    memory = memory_of(boxes)
    assert memory is not None
    assert memory.an_atom == pytest.approx(500_000)
    assert memory.fixed == pytest.approx(34_000_000)
    # The line is fitted, so that rounding may cost an atom.
    assert memory.atoms_in(24) == pytest.approx((24e9 - 34e6) / 5e5, abs=1)
    assert memory_of(boxes[:1]) is None
    assert f"| 500 | 34 | {memory.atoms_in(24):,} | {memory.atoms_in(80):,} |" in report(results)


@pytest.mark.parametrize("some", [True, False])
def test_the_picture_is_drawn_of_whatever_there_is(results, tmp_path, some):
    plot(results if some else {"records": []}, tmp_path / "figure.png")
    assert imread(tmp_path / "figure.png").size > 0
