"""SIGTERM and Ctrl-C as a request that a run answers between two steps."""

import signal
import threading
from contextlib import ExitStack
from types import FrameType
from typing import Self


class StopSignals:
    """Turns SIGTERM and Ctrl-C into a request that the loop answers between two steps.

    A second signal is handled as if this were not here, so that a run that hangs can be stopped.
    Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._former = ExitStack()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                # None: a handler that was not set from Python, and cannot be put back.
                former = signal.signal(number, self._receive) or signal.SIG_DFL
                self._former.callback(signal.signal, number, former)
        return self

    def __exit__(self, *_: object) -> None:
        self._former.close()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        self._former.close()
