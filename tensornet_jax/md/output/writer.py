"""A thread that writes what a simulation hands over, so that it does not wait for disks."""

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")

# Items that may wait for the disk; then the simulation waits too.
WAITING = 16


class Writer(Generic[ItemT]):
    """Hands items to a function, one after the other, in a thread of its own.

    An error of the thread is raised by the next call, or when the writer is closed. What an
    interrupt catches is the simulation's thread: an item is handed over wholly or not at all.
    """

    def __init__(self, write: Callable[[ItemT], None]) -> None:
        self._write = write
        self._queue: queue.Queue[tuple[ItemT] | None] = queue.Queue(WAITING)
        self._error: BaseException | None = None
        self._raised = False
        self._thread = threading.Thread(target=self._work, name="trajectory", daemon=True)
        self._thread.start()

    def __call__(self, item: ItemT) -> None:
        """Take over an item; waits if too many have not been written yet."""
        self._check()
        self._queue.put((item,))

    def drain(self) -> None:
        """Wait until everything is written."""
        self._queue.join()
        self._check()

    @property
    def failed(self) -> bool:
        """Whether something could not be written."""
        return self._error is not None

    def close(self) -> None:
        """Write what is left and end the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if not self._raised:
            self._check()

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            try:
                if item is None:
                    return
                # After an error the queue is only emptied, so that nobody waits for ever.
                if self._error is None:
                    self._write(*item)
            except BaseException as error:
                self._error = error
            finally:
                self._queue.task_done()

    def _check(self) -> None:
        if self._error is not None:
            self._raised = True
            raise OSError(f"the trajectory cannot be written: {self._error}") from self._error
