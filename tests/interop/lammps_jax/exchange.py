"""Processes that exchange features of atoms, as threads of one process.

A program in the form of exchange calls `lammps_jax.forward_comm` and `reverse_comm` in its middle,
which the plugin answers through MPI. Here they are functions of Python that wait for each other.
Structures are those of XLA's interface for such functions, `xla/ffi/api/c_api.h`.
"""

import ctypes
import threading
from collections.abc import Callable, Sequence
from ctypes import POINTER, Structure, c_int, c_int64, c_size_t, c_void_p
from importlib import import_module
from typing import TypeVar

import jax
import numpy as np

from tensornet_jax.interop.lammps_jax.division import Share

PATIENCE = 300.0  # s, of a process for the others
_COMM = import_module("lammps_jax.comm")
TARGETS: tuple[str, str] = (_COMM.FORWARD_TARGET, _COMM.REVERSE_TARGET)

Result = TypeVar("Result")


class _Base(Structure):
    _fields_ = (("size", c_size_t), ("kind", c_int), ("next", c_void_p))


class _Version(Structure):
    _fields_ = (
        *(("size", c_size_t), ("extension", c_void_p)),
        *(("major", c_int), ("minor", c_int)),
    )


class _Metadata(Structure):
    _fields_ = (("size", c_size_t), ("version", _Version))


class _MetadataExtension(Structure):
    _fields_ = (("base", _Base), ("metadata", POINTER(_Metadata)))


class _Buffer(Structure):
    _fields_ = (
        *(("size", c_size_t), ("extension", c_void_p), ("dtype", c_int)),
        *(("data", c_void_p), ("rank", c_int64), ("dims", POINTER(c_int64))),
    )


class _Values(Structure):
    _fields_ = (
        *(("size", c_size_t), ("extension", c_void_p), ("count", c_int64)),
        *(("types", c_void_p), ("values", POINTER(POINTER(_Buffer)))),
    )


class _Frame(Structure):
    _fields_ = (
        *(("size", c_size_t), ("extension", POINTER(_Base)), ("api", c_void_p)),
        *(("context", c_void_p), ("stage", c_int), ("arguments", _Values), ("results", _Values)),
    )


_Handler = ctypes.CFUNCTYPE(c_void_p, POINTER(_Frame))
_ASKS_FOR_METADATA = 1
_FLOAT64 = 12


def _array(buffer: _Buffer) -> np.ndarray:
    shape = tuple(buffer.dims[k] for k in range(buffer.rank))
    number = ctypes.c_double if buffer.dtype == _FLOAT64 else ctypes.c_float
    return np.ctypeslib.as_array(ctypes.cast(buffer.data, POINTER(number)), shape or (1,))


class Processes:
    """Processes that share a structure.

    Attributes:
        calls: what each process did, in order: "forward" or "reverse".
        changed: by how much at most a feature of a ghost differed from its owner's.
    """

    def __init__(self, shares: Sequence[Share]) -> None:
        self.shares = shares
        self.calls: list[list[str]] = [[] for _ in shares]
        self.changed = 0.0
        owner = {
            atom: (number, row)
            for number, share in enumerate(shares)
            for row, atom in enumerate(share.atoms[: share.num_owned])
        }
        self._owners = [
            [owner[atom] for atom in share.atoms[share.num_owned :]] for share in shares
        ]
        self._barrier = threading.Barrier(len(shares), timeout=PATIENCE)
        self._rows: list[np.ndarray] = [np.zeros(0)] * len(shares)
        for number in range(len(shares)):
            for target in TARGETS:
                self._register(number, target)

    def names_of(self, number: int) -> dict[str, str]:
        """What the program of a process calls, and the name of what answers it."""
        return {target: f"{target}_{id(self)}_{number}" for target in TARGETS}

    def run(self, functions: Sequence[Callable[[], Result]]) -> list[Result]:
        """Call the functions of all processes at once, and return their results."""
        results: dict[int, Result] = {}

        def call(number: int) -> None:
            try:
                results[number] = functions[number]()
            except BaseException:
                self._barrier.abort()
                raise

        threads = [
            threading.Thread(target=call, args=(number,), daemon=True)
            for number in range(len(functions))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [results[number] for number in range(len(functions))]

    def _forward(self, number: int, rows: np.ndarray) -> np.ndarray:
        everyone = self._shown(number, rows)
        made, first = rows.copy(), self.shares[number].num_owned
        for row, (owner, place) in enumerate(self._owners[number], start=first):
            made[row] = everyone[owner][place]
        self.changed = max(self.changed, float(np.abs(made - rows).max()))
        return made

    def _reverse(self, number: int, rows: np.ndarray) -> np.ndarray:
        everyone = self._shown(number, rows)
        made = rows.copy()
        for other, share in enumerate(self.shares):
            for row, (owner, place) in enumerate(self._owners[other], start=share.num_owned):
                if owner == number:
                    made[place] += everyone[other][row]
        made[self.shares[number].num_owned : len(self.shares[number].atoms)] = 0
        return made

    def _shown(self, number: int, rows: np.ndarray) -> list[np.ndarray]:
        """Show the rows of a process to the others, and return those of all."""
        self._rows[number] = rows.copy()
        self._barrier.wait()
        everyone = list(self._rows)
        self._barrier.wait()
        return everyone

    def _register(self, number: int, target: str) -> None:
        kind = "forward" if target == TARGETS[0] else "reverse"
        exchanged = self._forward if kind == "forward" else self._reverse

        def handle(frame: "ctypes._Pointer[_Frame]") -> None:
            extension = frame.contents.extension
            if extension and extension.contents.kind == _ASKS_FOR_METADATA:
                asked = ctypes.cast(extension, POINTER(_MetadataExtension)).contents
                asked.metadata.contents.version.major = 0
                asked.metadata.contents.version.minor = 1
                return
            rows = _array(frame.contents.arguments.values[0].contents)
            out = _array(frame.contents.results.values[0].contents)
            self.calls[number].append(kind)
            try:
                out[:] = exchanged(number, rows)
            except threading.BrokenBarrierError:
                out[:] = np.nan

        handler = _Handler(handle)
        capsule = jax.ffi.pycapsule(ctypes.cast(handler, c_void_p).value)
        jax.ffi.register_ffi_target(self.names_of(number)[target], capsule, platform="cpu")
        _KEPT.append(handler)


# XLA keeps their addresses for as long as the process lives.
_KEPT: list[object] = []
