"""How far the compiled loop goes before the host looks at it. It changes no result.

Between two looks a run cannot be interrupted. Blocks of steps are sent to a GPU one after the other
without waiting; but once a list has run out, those sent already run for nothing.
"""

import numpy as np
from jax import Array
from jaxtyping import Float

from tensornet_jax.md.blocks import BLOCK

# Steps before the first look, and seconds that later ones are apart at most.
FIRST_CHUNK, LONGEST_CHUNK = 64, 1.0
# Share of the steps that the last list lasted, for which the present one is relied upon; and of
# those that the present one has lasted, once it is older.
RELIABLE, AGAIN = 0.75, 0.25
# Intervals of fewer steps than this are taken step by step instead of in blocks.
SHORTEST_IN_BLOCKS = BLOCK // 2


class Pace:
    """Steps to go before the next look, learned from the run.

    blocks: whether the loop is one of blocks.
    """

    def __init__(self, *, blocks: bool) -> None:
        self.blocks = blocks
        self._steps = FIRST_CHUNK
        self._made, self._lasted, self._lasting = 0, 0, False

    def turns(self, steps: int) -> int | None:
        """Return the length of blocks for an interval of so many steps, None without blocks."""
        if not self.blocks:
            return None
        return 1 if 0 < steps < SHORTEST_IN_BLOCKS else BLOCK

    def steps(self, step: int, left: int, turns: int | None) -> int:
        """Return how many steps to go.

        Args:
            step: steps done.
            left: steps to the end of the interval.
            turns: steps of a block; None without blocks.
        """
        if turns is None:
            return min(left, self._steps)
        steps = self._steps
        if not self._lasting:
            age = step - self._made
            steps = min(steps, int(max(RELIABLE * self._lasted - age, AGAIN * age)))
        return min(left, max(steps // turns, 1) * turns)

    def ran(self, steps: int, seconds: float) -> None:
        """Learn how long steps took."""
        self._steps = max(1, int(steps / seconds * LONGEST_CHUNK))

    def made_lists(self, step: int, reach: Float[Array, " structures"]) -> None:
        """Learn that lists were made.

        Args:
            step: steps done.
            reach: Å by which they reach beyond the cutoff; infinite where a list never runs out.
        """
        self._made, self._lasted = step, step - self._made
        self._lasting = bool(np.isinf(np.asarray(reach)).all())
