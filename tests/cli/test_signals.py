"""What ends a command from outside."""

import os
import signal
from contextlib import suppress

import pytest

from tensornet_jax.cli.signals import Terminated, interrupts, undisturbed


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_an_exception_that_was_lost_is_raised_later(number, kind):
    before = signal.getsignal(number)
    with interrupts(number) as raise_what_came:
        raise_what_came()
        # As Python does in callbacks of its garbage collector.
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        with pytest.raises(kind):
            raise_what_came()
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("block", [lambda: interrupts(signal.SIGINT), undisturbed])
def test_what_is_ignored_stays_so(block):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with block():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_must_not_be_disturbed_ends_first():
    done = []

    def undisturbed_work():
        with undisturbed():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("whole")

    with pytest.raises(KeyboardInterrupt):
        undisturbed_work()
    assert done == ["whole"]
