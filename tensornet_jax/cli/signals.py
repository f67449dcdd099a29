"""What ends a command from outside, as exceptions that it can answer."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM, as batch systems do."""


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Raise `Terminated`, a KeyboardInterrupt, on SIGTERM until the block is left."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may change what signals do, and only it gets them.
        yield
        return

    def raise_it(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, raise_it)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C wait until the block is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous or signal.SIG_DFL)
    if arrived:
        raise KeyboardInterrupt
