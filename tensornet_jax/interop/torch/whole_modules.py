"""Read whole modules that torch.save wrote, without running anything and without torch.

Such a file is a pickle: a program for a small machine, which can call whatever it names. Here the
program runs on a machine that has no calls. A class or function it names must be on a list, and
even then is a name only: what the program would build of it becomes a `Record` of the name, the
arguments and the state. Tensors become numpy arrays. Code in the file, such as TorchScript, stays
bytes or text.
"""

import os
import pickletools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tensornet_jax.interop.torch.module_archive import STORAGES, ModuleArchive, Storage

Found: TypeAlias = Any
"""What a file holds: records, containers, arrays, numbers, text, bytes; its user checks it."""


@dataclass(frozen=True)
class Name:
    """A class or function by its name, such as "torch.nn.functional.silu"."""

    name: str


@dataclass(eq=False)
class Record:
    """What would have been an object.

    name: of its class, or of the function that would have made it.
    arguments: of the class or function.
    state: what would have been its attributes, mostly a dict; None for none.
    """

    name: str
    arguments: tuple[Found, ...]
    state: Found = None

    @property
    def class_name(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]


_REBUILD = {
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "_codecs.encode",
    "collections.OrderedDict",
    "__builtin__.set",
    "builtins.set",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
}
_RECORDS = ("torch.Size", "torch.device", "numpy.dtype")
_PLAIN = {*_REBUILD, *(f"torch.{name}" for name in STORAGES), *_RECORDS}
_NUMPY_NUMBERS = ("f4", "f8", "i4", "i8")


def read_whole_module(path: str | os.PathLike[str], allowed: Collection[str]) -> Found:
    """Return what a file of torch.save holds, objects as records.

    Args:
        path: the file, a zip archive (torch ≥ 1.6).
        allowed: names of classes and functions that it may name beside tensors and plain
            containers; "mace.modules.*" for all that starts so.

    Returns:
        nests of records, dicts, lists, tuples, arrays, numbers, text and bytes.

    Raises:
        ValueError: the file is of another kind, damaged, or names something else; the message
            names it.
        FileNotFoundError: there is no such file.
    """
    archive = ModuleArchive(Path(path))
    machine = _Machine(archive, tuple(allowed))
    try:
        return machine.run(archive.entry("data.pkl"))
    except RefusedError as error:
        raise ValueError(
            f"{path} names {error}, which is none of {', '.join(allowed)}, so it is refused"
        ) from None
    # Whatever a program does that none of torch.save would, it ends here.
    except (LookupError, TypeError, AttributeError, OverflowError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no file of torch.save: {error}") from error


class RefusedError(Exception):
    """A file names what it may not name."""


@dataclass
class _Machine:
    """A stack, a memory, and what each instruction does to them."""

    archive: ModuleArchive
    allowed: tuple[str, ...]
    stack: list[Found] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memory: dict[int, Found] = field(default_factory=dict)

    def run(self, program: bytes) -> Found:
        """Run a program to its STOP."""
        for instruction, argument, _ in pickletools.genops(program):
            name = instruction.name
            if name == "STOP":
                return self.stack.pop()
            if name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _LITERALS:
                self.stack.append(argument)
            elif name in _FRESH:
                self.stack.append(_FRESH[name]())
            elif name in _STEPS:
                _STEPS[name](self, argument)
            elif name not in ("PROTO", "FRAME"):
                raise ValueError(f"instruction {name}")
        raise ValueError("no end")

    def since_mark(self) -> list[Found]:
        """Take what lies above the last mark."""
        position = self.marks.pop()
        if position > len(self.stack):
            raise ValueError("a mark above the stack")
        found = self.stack[position:]
        del self.stack[position:]
        return found

    def tuple_of(self, count: int) -> None:
        """Make a tuple of the last things."""
        if len(self.stack) < count:
            raise ValueError("an empty stack")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def name(self, module: str, name: str) -> None:
        """Name a class or function."""
        full = f"{module}.{name}"
        if full not in _PLAIN and not any(_matches(full, each) for each in self.allowed):
            raise RefusedError(full)
        self.stack.append(Name(full))

    def put_items(self, pairs: Sequence[Found]) -> None:
        """Put keys and values in turns into the dict below."""
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError("items of no dict")
        target.update(zip(pairs[::2], pairs[1::2], strict=True))

    def append(self, values: Sequence[Found]) -> None:
        """Append to the list, or add to the set, below."""
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target.update(values)
        else:
            raise TypeError("elements of no list")

    def make(self) -> None:
        """Make a record of a name and arguments, or the plain thing that it stands for."""
        arguments, made_by = self.stack.pop(), self.stack.pop()
        if not isinstance(made_by, Name) or not isinstance(arguments, tuple):
            raise TypeError("a call of no name")
        name = made_by.name
        if name in _REBUILD:
            self.stack.append(self._rebuilt(name, arguments))
        else:
            self.stack.append(Record(name, arguments))

    def _rebuilt(self, name: str, arguments: tuple[Found, ...]) -> Found:
        if name == "torch._utils._rebuild_tensor_v2":
            storage, offset, shape, strides = arguments[:4]
            if not isinstance(storage, Storage):
                raise TypeError("a tensor without storage")
            return self.archive.tensor(storage, offset, _sizes(shape), _sizes(strides))
        if name == "torch._utils._rebuild_parameter":
            if not isinstance(arguments[0], np.ndarray):
                raise TypeError("a parameter without tensor")
            return arguments[0]
        if name == "_codecs.encode":
            text, encoding = arguments
            if encoding != "latin1" or not isinstance(text, str):
                raise ValueError(f"text in the encoding {encoding}")
            return text.encode("latin1")
        if name.endswith("multiarray.scalar"):
            dtype, content = arguments
            if not isinstance(dtype, Record) or dtype.arguments[0] not in _NUMPY_NUMBERS:
                raise ValueError("a number of numpy of an unknown kind")
            (number,) = np.frombuffer(content, f"<{dtype.arguments[0]}")
            return number.item()
        if name == "collections.OrderedDict":
            return dict(*arguments)
        return set(*arguments)

    def build(self) -> None:
        """Give the record below its state."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Record):
            target.state = state
        # A dict's own attributes, as torch sets them on state dicts, say nothing of its content.
        elif not isinstance(target, dict):
            raise TypeError("a state of no object")

    def persistent(self) -> None:
        """Name a storage."""
        found = self.stack.pop()
        kind, storage, key, _, count = found
        if kind != "storage" or not isinstance(storage, Name):
            raise ValueError(f"a reference to {kind}")
        name = storage.name.removeprefix("torch.")
        if name not in STORAGES:
            raise ValueError(f"a storage of {storage.name}")
        self.stack.append(Storage(name, str(key), count))

    def stacked_name(self) -> None:
        """Name a class or function by two texts on the stack."""
        name, module = self.stack.pop(), self.stack.pop()
        self.name(str(module), str(name))


def _sizes(value: Found) -> tuple[int, ...]:
    if isinstance(value, Record):
        (value,) = value.arguments
    if not all(isinstance(number, int) for number in value):
        raise TypeError("sizes that are no numbers")
    return tuple(value)


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_FRESH: dict[str, Callable[[], Found]] = {
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}


def _store(machine: _Machine, key: int | None) -> None:
    machine.memory[len(machine.memory) if key is None else key] = machine.stack[-1]


_STEPS: dict[str, Callable[[_Machine, Found], None]] = {
    "GLOBAL": lambda m, text: m.name(*text.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.stacked_name(),
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "BINPUT": _store,
    "LONG_BINPUT": _store,
    "MEMOIZE": _store,
    "BINGET": lambda m, key: m.stack.append(m.memory[key]),
    "LONG_BINGET": lambda m, key: m.stack.append(m.memory[key]),
    "TUPLE1": lambda m, _: m.tuple_of(1),
    "TUPLE2": lambda m, _: m.tuple_of(2),
    "TUPLE3": lambda m, _: m.tuple_of(3),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.since_mark())),
    "SETITEM": lambda m, _: _with_last(m, 2, m.put_items),
    "SETITEMS": lambda m, _: m.put_items(m.since_mark()),
    "APPEND": lambda m, _: _with_last(m, 1, m.append),
    "APPENDS": lambda m, _: m.append(m.since_mark()),
    "ADDITEMS": lambda m, _: m.append(m.since_mark()),
    "REDUCE": lambda m, _: m.make(),
    "NEWOBJ": lambda m, _: m.make(),
    "BUILD": lambda m, _: m.build(),
    "BINPERSID": lambda m, _: m.persistent(),
}


def _with_last(machine: _Machine, count: int, put: Callable[[Sequence[Found]], None]) -> None:
    values = machine.stack[-count:]
    del machine.stack[-count:]
    put(values)
