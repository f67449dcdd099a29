"""XLA's text of an optimized program: its computations, and what one kernel of them moves."""

import re
from dataclasses import dataclass, replace
from typing import TypeAlias

# s8 is the workspace of a library's call, which is scratch, not traffic.
_WIDTHS = {"pred": 1, "s8": 0, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4}
_WIDTHS |= {"u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16}
_WIDTHS |= {"token": 0, "opaque": 0}
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,]*)\]")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)")
_NAME = re.compile(r"%([\w.\-]+)")


@dataclass(frozen=True)
class Instruction:
    """A line of HLO.

    operands: names of other instructions.
    attributes: what follows the operands.
    """

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    is_root: bool

    def called(self, *keys: str) -> list[str]:
        """Return the computations that the attributes name under keys."""
        found = []
        for key in keys:
            listed = re.search(rf"\b{key}=(\{{[^}}]*\}}|%?[\w.\-]+)", self.attributes)
            found += re.findall(r"[\w.\-]+", listed[1]) if listed else []
        return found


Computation: TypeAlias = dict[str, Instruction]


def parsed(hlo: str) -> tuple[dict[str, Computation], str]:
    """Return the computations of a program by name, and the name of the one that is run.

    Raises:
        ValueError: the text has no entry.
    """
    computations: dict[str, Computation] = {}
    entry, current = None, None
    for line in hlo.splitlines():
        start = _COMPUTATION.match(line)
        if start:
            current = computations.setdefault(start[2], {})
            entry = start[2] if start[1] else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (found := _INSTRUCTION.match(line)):
            root, name, shape, opcode, rest = found.groups()
            inside, attributes = _split_at_close(rest)
            operands = (inside,) if opcode == "parameter" else tuple(_NAME.findall(inside))
            row = Instruction(name, shape, opcode, operands, attributes, root is not None)
            current[name] = row
    if entry is None:
        raise ValueError("this is no HLO: it has no ENTRY")
    return computations, entry


def _split_at_close(rest: str) -> tuple[str, str]:
    """Split what follows an opening parenthesis at the one that closes it."""
    depth = 1
    for found in re.finditer(r"[()]", rest):
        depth += 1 if found[0] == "(" else -1
        if depth == 0:
            return rest[: found.start()], rest[found.end() :]
    return rest, ""


def moved(row: Instruction, rows: Computation, inner: Computation) -> int:
    """Return bytes that a kernel reads and writes, each operand and result once.

    Of an array that it only cuts pieces out of, or puts a piece into, it is the pieces.

    Args:
        row: the kernel.
        rows: the computation that it is in.
        inner: what it computes, if it is a fusion; else empty.

    Raises:
        ValueError: an array of an unknown type.
    """
    inner = inner or _alone(row, rows)
    parameters = {int(p.operands[0]): p for p in inner.values() if p.opcode == "parameter"}
    read = 0
    for index, name in enumerate(row.operands):
        parameter = parameters.get(index)
        piece = None if parameter is None else _piece(parameter.name, inner)
        if piece is None:
            piece = _size(rows[name].shape) if name in rows else 0
        read += piece
    return read + sum(_written(each, inner) for each in _results(inner))


def _alone(row: Instruction, rows: Computation) -> Computation:
    """Return an instruction that is no fusion as one of a single operation."""
    names = [f"{index}" for index in range(len(row.operands))]
    inner = {
        name: Instruction(name, rows[operand].shape, "parameter", (name,), "", False)
        for name, operand in zip(names, row.operands, strict=True)
        if operand in rows
    }
    return inner | {row.name: replace(row, operands=tuple(names), is_root=True)}


def _piece(name: str, inner: Computation) -> int | None:
    """Return what is read of an array of which only pieces are; None if all of it is."""
    users = [each for each in inner.values() if name in each.operands]
    total = 0
    for user in users:
        first_only = user.operands[0] == name and name not in user.operands[1:]
        if user.opcode == "bitcast":
            below = _piece(user.name, inner)
            if below is None:
                return None
            total += below
        elif user.opcode == "dynamic-slice" and first_only:
            total += _size(user.shape)
        elif not (user.opcode == "dynamic-update-slice" and first_only):
            return None
    return total if users else None


def _written(result: Instruction, inner: Computation) -> int:
    """Return what is written of a result: where it is put into an array, the piece."""
    source = result
    while source.opcode == "bitcast" and source.operands[0] in inner:
        source = inner[source.operands[0]]
    if source.opcode == "dynamic-update-slice":
        return _size(inner[source.operands[1]].shape)
    return _size(result.shape)


def _results(inner: Computation) -> list[Instruction]:
    """Return what a fused computation returns."""
    found = [each for each in inner.values() if each.is_root]
    if found and found[0].opcode == "tuple":
        return [inner[name] for name in found[0].operands]
    return found


def _size(shape: str) -> int:
    total = 0
    for kind, dimensions in _ARRAY.findall(shape):
        if kind not in _WIDTHS:
            raise ValueError(f"the size of {kind} in {shape} is not known")
        count = _WIDTHS[kind]
        for dimension in filter(None, dimensions.split(",")):
            count *= int(dimension)
        total += count
    return total
