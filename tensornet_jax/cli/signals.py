"""What ends a command from outside, as exceptions that it can answer."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes of commands that Ctrl-C or SIGTERM ended, as shells give them."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM, as batch systems do."""


_RAISED = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


@contextmanager
def interrupts(*numbers: signal.Signals) -> Iterator[Callable[[], None]]:
    """Raise KeyboardInterrupt on Ctrl-C, `Terminated` on SIGTERM, until the block is left.

    Python loses an exception that comes while it collects garbage, since JAX has a callback there.
    So a block that takes long calls what this yields from time to time: it raises what came.

    Args:
        numbers: SIGINT, SIGTERM or both; one that is ignored stays so.
    """
    arrived: list[type[KeyboardInterrupt]] = []

    def raise_what_came() -> None:
        if arrived:
            raise arrived[0]

    def receive(number: int, _: object) -> None:
        arrived.append(_RAISED[signal.Signals(number)])
        raise_what_came()

    with _received(receive, numbers):
        yield raise_what_came


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C wait until the block is left."""
    arrived: list[int] = []
    with _received(lambda number, _: arrived.append(number), (signal.SIGINT,)):
        yield
    if arrived:
        raise KeyboardInterrupt


@contextmanager
def _received(
    handler: Callable[[int, object], None], numbers: tuple[signal.Signals, ...]
) -> Iterator[None]:
    """Let a function handle signals, all but those that are ignored, until the block is left."""
    former = {number: signal.getsignal(number) for number in numbers}
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may change what signals do, and only it gets them.
        former = {}
    former = {number: each for number, each in former.items() if each is not signal.SIG_IGN}
    for number in former:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, each in former.items():
            signal.signal(number, each or signal.SIG_DFL)
