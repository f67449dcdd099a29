"""What a program compiled for a GPU costs, read from its optimized HLO.

XLA's text lists the kernels of a program in the order of their launches. Each is taken to read its
operands and to write its result once; what a cache saves or what is gathered twice is not known.
A loop of known length counts once a turn, any other for one turn, and of the branches of a
conditional one counts: the most expensive or the cheapest.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from .hlo import Computation, Instruction, moved, parsed

# No kernels: names for what is there already.
_FREE = {"after-all", "bitcast", "constant", "get-tuple-element", "parameter", "tuple"}
_FREE |= {"async-done", "copy-done", "partition-id", "replica-id"}
# A loop with more than this share of a program's kernels is one over steps.
_SHARE_OF_STEPS = 0.5


@dataclass(frozen=True)
class Kernel:
    """A kernel and what all its launches move.

    name: in the HLO, and the operation that it comes from.
    kind: of fusion, or the library that is called.
    """

    name: str
    kind: str
    launches: int
    bytes: int


@dataclass(frozen=True)
class Cost:
    """What a program, or one turn of a loop, costs.

    kernels: in the order of their first launch.
    dynamic_loops: loops whose number of turns only the device knows: each turn waits for the host.
    conditionals: the same holds for their choice.
    loops: the loops in it, with their turns and what one costs.
    """

    kernels: tuple[Kernel, ...] = ()
    dynamic_loops: int = 0
    conditionals: int = 0
    loops: tuple["Loop", ...] = ()

    @property
    def launches(self) -> int:
        """How many kernels are launched."""
        return sum(each.launches for each in self.kernels)

    @property
    def bytes(self) -> int:
        """Bytes that they read and write."""
        return sum(each.bytes for each in self.kernels)

    @property
    def kinds(self) -> Counter[str]:
        """Launches by kind of kernel."""
        found: Counter[str] = Counter()
        for each in self.kernels:
            found[each.kind] += each.launches
        return found

    def largest(self, count: int) -> list[Kernel]:
        """Return the kernels that move most."""
        return sorted(self.kernels, key=lambda each: -each.bytes)[:count]

    def times(self, turns: int) -> "Cost":
        """Return the cost of so many turns; loops count as they do in one."""
        kernels = tuple(
            replace(each, launches=turns * each.launches, bytes=turns * each.bytes)
            for each in self.kernels
        )
        return replace(self, kernels=kernels)

    def and_also(self, other: "Cost") -> "Cost":
        """Return the cost of both, one after the other."""
        return Cost(
            self.kernels + other.kernels,
            self.dynamic_loops + other.dynamic_loops,
            self.conditionals + other.conditionals,
            self.loops + other.loops,
        )


@dataclass(frozen=True)
class Loop:
    """A loop.

    turns: None where only the device knows them.
    turn: what one costs, the condition included.
    """

    turns: int | None
    turn: Cost

    @property
    def total(self) -> Cost:
        """What all turns cost; one where they are not known."""
        return self.turn.times(self.turns or 1)


@dataclass(frozen=True)
class Stepwise:
    """A program that takes steps in a loop.

    step: what a step costs.
    steps: taken in a block, 1 where only the device knows.
    around: kernels that are launched once a block, around the steps.
    """

    step: Cost
    steps: int
    around: int


Choose: TypeAlias = Callable[[Iterable[Cost]], Cost]


def most_expensive(branches: Iterable[Cost]) -> Cost:
    """Return the branch that moves most bytes."""
    return max(branches, key=lambda each: (each.bytes, each.launches))


def cheapest(branches: Iterable[Cost]) -> Cost:
    """Return the branch that moves fewest bytes."""
    return min(branches, key=lambda each: (each.bytes, each.launches))


def cost_of(hlo: str, choose: Choose = most_expensive) -> Cost:
    """Return what a program costs.

    Args:
        hlo: its optimized HLO, as `jax.stages.Compiled.as_text` returns it.
        choose: the branch of a conditional that counts.

    Raises:
        ValueError: the text has no entry, or an array of an unknown type.
    """
    computations, entry = parsed(hlo)
    return _Reader(computations, choose).cost(entry)


def stepwise(program: Cost) -> Stepwise:
    """Return what a step of a program costs that takes steps in loops.

    Each loop that has most of the kernels around it is one over steps, or over blocks of steps.
    """
    step, steps = program, 1
    while True:
        total = step.launches
        loops = [each for each in step.loops if each.total.launches > _SHARE_OF_STEPS * total]
        if not loops:
            break
        steps *= loops[0].turns or 1
        step = loops[0].turn
    return Stepwise(step, steps, program.launches - steps * step.launches)


def scatters(hlo: str) -> int:
    """Return how many scatters there are; GPUs sum them by atomics, in an order of their own."""
    return len(re.findall(r"[\s)}]scatter\(", hlo))


@dataclass(frozen=True)
class _Reader:
    computations: dict[str, Computation]
    choose: Choose
    known: dict[str, Cost] = field(default_factory=dict)

    def cost(self, name: str) -> Cost:
        if name not in self.known:
            rows = self.computations[name]
            total = Cost()
            for each in rows.values():
                total = total.and_also(self._of(each, rows))
            self.known[name] = total
        return self.known[name]

    def _of(self, row: Instruction, rows: Computation) -> Cost:
        if row.opcode in _FREE:
            return Cost()
        if row.opcode == "while":
            return self._loop(row)
        if row.opcode == "conditional":
            keys = "branch_computations", "true_computation", "false_computation"
            chosen = self.choose([self.cost(name) for name in row.called(*keys)])
            return Cost(conditionals=1).and_also(chosen)
        if row.opcode in ("call", "async-start"):
            return self.cost(row.called("to_apply", "calls")[0])
        inner = self.computations[row.called("calls")[0]] if row.opcode == "fusion" else {}
        source = re.search(r'op_name="([^"]+)"', row.attributes)
        name = f"{row.name} {source[1]}" if source else row.name
        return Cost((Kernel(name, _kind(row), 1, moved(row, rows, inner)),))

    def _loop(self, row: Instruction) -> Cost:
        number = re.search(r'"known_trip_count":\{"n":"(\d+)"', row.attributes)
        # Where the host knows how often, it does not ask.
        parts = ("body",) if number else ("body", "condition")
        turn = Cost()
        for name in row.called(*parts):
            turn = turn.and_also(self.cost(name))
        loop = Loop(int(number[1]) if number else None, turn)
        total = replace(loop.total, loops=(loop,))
        return total if number else total.and_also(Cost(dynamic_loops=1))


def _kind(row: Instruction) -> str:
    if row.opcode == "fusion":
        found = re.search(r"kind=k(\w+)", row.attributes)
        return f"fusion {found[1]}" if found else "fusion"
    if row.opcode == "custom-call":
        found = re.search(r'custom_call_target="([^"]+)"', row.attributes)
        return found[1] if found else row.opcode
    return row.opcode
