"""How far a pass over structures is, which may take minutes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from tensornet_jax.cli.terminal import console

# Where there is no terminal.
SECONDS_BETWEEN_LINES = 30.0
_SHOWN_EVERY = 256


@contextmanager
def read_progress(what: str) -> Iterator[Callable[[int], None]]:
    """Give the block a function that takes how many structures it has done.

    Args:
        what: the work.
    """
    passes = PassProgress(console())

    def show(done: int) -> None:
        if done % _SHOWN_EVERY == 0:
            passes.show(what, done, 0)

    try:
        yield show
    finally:
        passes.close()


class PassProgress:
    """Shows how far a pass over structures is: a bar, or without a terminal a line now and then."""

    def __init__(self, console: Console):
        self._console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._told = time.monotonic()

    def show(self, what: str, done: int, total: int) -> None:
        """Show it.

        Args:
            what: the work.
            done: structures.
            total: all of them, 0 where that is not known; the same as `done` at the end.
        """
        if not self._console.is_terminal:
            now = time.monotonic()
            if now - self._told > SECONDS_BETWEEN_LINES or done == total:
                self._told = now
                of = f" of {total:,}" if total else ""
                self._console.print(f"{what}: {done:,}{of} structures", markup=False)
            return
        if self._bar is None:
            columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=total or None)
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=done)
        if done == total:
            self.close()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None
