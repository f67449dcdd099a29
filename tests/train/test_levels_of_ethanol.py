"""Two levels of theory of one molecule: what a head learns beside another, and alone."""

import pytest

from benchmarks.levels_of_theory import LEVELS, compared

# Two runs with other random numbers differ by some percent.
MARGIN = 1.1


@pytest.mark.slow
def test_a_head_is_not_worse_beside_another_than_alone_in_half_of_the_run(shared_data):
    found = compared(shared_data("."), 60, 60)
    rows = {(record["head"], record["run"]): record for record in found}
    for head in LEVELS:
        together, alone = rows[head, "together"], rows[head, "alone, half of the steps"]
        for name in ("energy", "forces"):
            assert together[name] < MARGIN * alone[name], (head, name)
