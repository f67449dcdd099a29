"""What a compiled program exchanges between devices, from its text."""

import re

_OPERATION = re.compile(
    r"= (?P<result>\(?[^=]*?\)?) "
    r"(?P<name>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
_COMMENT = re.compile(r"/\*.*?\*/")
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)(?:e\w+)?)\[([\d,]*)\]")


def exchanged_bytes(program: str) -> dict[str, int]:
    """Return the bytes of all results of each collective operation, by its name.

    An all-reduce of n bytes over many devices moves about 2n bytes in and out of each of them.

    Args:
        program: text of an HLO module, `compiled.as_text()`.
    """
    found: dict[str, int] = {}
    # Long tuples number their elements: (f32[3], /*index=5*/f32[4]).
    for match in _OPERATION.finditer(_COMMENT.sub("", program)):
        size = sum(_size_of(array) for array in _ARRAY.finditer(match["result"]))
        found[match["name"]] = found.get(match["name"], 0) + size
    return found


def _size_of(array: re.Match[str]) -> int:
    bits = 8 if array[1] == "pred" else int(array[2])
    count = 1
    for length in filter(None, array[3].split(",")):
        count *= int(length)
    return count * max(bits // 8, 1)
