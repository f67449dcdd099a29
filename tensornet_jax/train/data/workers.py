"""Processes that make examples ahead of the device, where one interpreter cannot keep up.

They are started anew instead of forked, which would hang once JAX has begun. Each opens the files
itself, and ends when the process that started it does, however that ended.
"""

import multiprocessing
import os
import signal
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.train.data.datasets import ExampleMaker
from tensornet_jax.train.data.examples import Example
from tensornet_jax.train.failure import TrainingError

_SECONDS_BETWEEN_LOOKS = 2.0


class Workers:
    """Processes that read structures and search their neighbors.

    Args:
        source: the structures; it is copied into every process, where it opens its files.
        make: what they become.
        count: processes.
    """

    def __init__(self, source: Sequence[LabelledStructure], make: ExampleMaker, count: int):
        self._count = count
        self._pool = ProcessPoolExecutor(
            count,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(source, make, os.getpid()),
        )
        # Those of a run that has ended would otherwise wait for the end of the program.
        weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)

    def make(self, indices: Sequence[int]) -> list[Example]:
        """Return the examples with these indices; several threads may ask at once.

        Raises:
            TrainingError: a process has died.
            ValueError: whatever is wrong with a structure.
        """
        shares = [list(indices[start :: self._count]) for start in range(self._count)]
        try:
            made = [iter(found) for found in self._pool.map(_make, shares)]
        except BrokenProcessPool as error:
            raise TrainingError(
                "a process that reads the data has died, for lack of memory perhaps: lower "
                "data.workers"
            ) from error
        return [next(made[place % self._count]) for place in range(len(indices))]


_OPENED: list[tuple[Sequence[LabelledStructure], ExampleMaker]] = []


def _begin(source: Sequence[LabelledStructure], make: ExampleMaker, parent: int) -> None:
    # Ctrl-C reaches every process of a terminal, and the one that trains decides what follows.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _OPENED.append((source, make))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)


def _make(indices: Sequence[int]) -> list[Example]:
    source, make = _OPENED[0]
    return [make(source[index]) for index in indices]
