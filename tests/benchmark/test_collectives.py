"""Bytes that programs exchange, counted in their text."""

from tensornet_jax.benchmark.collectives import exchanged_bytes

PROGRAM = """
ENTRY %main (p: f32[4,8]) -> f32[4,8] {
  %add.1 = f32[4,8]{1,0} add(%a, %b)
  %all-reduce.2 = (s32[], f32[4,8]{1,0}, /*index=2*/pred[3]) all-reduce(%x, %y, %z), channel_id=1
  %all-reduce.3 = f64[2]{0} all-reduce(%w), replica_groups={{0,1}}
  %all-gather.4 = bf16[2,5]{1,0} all-gather(%v), dimensions={0}
  %get.5 = f32[4,8]{1,0} get-tuple-element(%all-reduce.2), index=1
}
"""


def test_results_of_collective_operations_are_counted_and_nothing_else():
    expected = {"all-reduce": 4 + 4 * 8 * 4 + 3 + 2 * 8, "all-gather": 2 * 5 * 2}
    assert exchanged_bytes(PROGRAM) == expected
