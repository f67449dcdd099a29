"""A driver of forces that stays connected to an i-PI server, by one connection or by several.

i-PI gives a structure (a bead of a ring polymer, a replica) to each connection that is free.
Structures that are there at the same time are evaluated together.
"""

import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tensornet_jax.interop.ipi.connection import Address, Connection, ServerGoneError
from tensornet_jax.interop.ipi.evaluation import Beads

RETRY = 0.2
"""Seconds between two attempts to connect."""

CONNECTING = 1.0
"""Seconds that an attempt may take."""

GATHER = 0.002
"""Seconds to wait for structures of other connections, once there are some."""

MOST_GATHERING = 0.02
"""Seconds to wait for them in all."""


@dataclass
class Driver:
    """What answers a server.

    beads: computes the answers.
    address: where the server listens.
    clients: how many connections to open.
    patience: seconds to wait for a server that does not listen, at the start or when it is gone.
    stay: go on after the server's regular end, and wait for the next one.
    tell: takes what happens.
    largest_batch: the most structures that were evaluated together.
    num_structures: how many structures were evaluated.
    """

    beads: Beads
    address: Address
    clients: int = 1
    patience: float = 60.0
    stay: bool = False
    tell: Callable[[str], object] = lambda text: None
    largest_batch: int = 0
    num_structures: int = 0
    _open: list[Connection] = field(default_factory=list)
    _next_try: float = 0.0

    def run(self) -> None:
        """Answer until the server says EXIT; connect again when it is gone without that.

        Raises:
            OSError: no server listened for as long as there is patience.
            ValueError: the server asks what cannot be answered.
        """
        try:
            while True:
                self._connect()
                try:
                    self._answer_all()
                except ServerGoneError as gone:
                    self.tell(f"{gone}; waiting for the next at {self.address}")
                else:
                    if not self.stay:
                        return
                    self.tell(f"the server has ended; waiting for the next at {self.address}")
                self._close()
        finally:
            self._close()

    def _connect(self) -> None:
        """Open the first connection; others follow while it answers."""
        end = time.monotonic() + self.patience
        while not self._open:
            try:
                self._open.append(self._connection())
            except OSError as error:
                if time.monotonic() >= end:
                    raise OSError(
                        f"no server at {self.address} for {self.patience:g} s ({error}): start "
                        "i-PI first, give the address of its <ffsocket>, or a longer --patience"
                    ) from None
                time.sleep(RETRY)
        self.tell(f"connected to {self.address}")

    def _connection(self) -> Connection:
        return Connection(self.address.connected(CONNECTING), len(self.beads.template))

    def _connect_another(self) -> bool:
        """Try to open one more connection, not too often; tell whether some are missing."""
        if len(self._open) < self.clients and time.monotonic() >= self._next_try:
            try:
                self._open.append(self._connection())
            except OSError:
                self._next_try = time.monotonic() + RETRY
        return len(self._open) < self.clients

    def _answer_all(self) -> None:
        """Answer until the server has ended all connections; replace those that it has dropped.

        Raises:
            ServerGoneError: it is gone without having said EXIT.
        """
        ended, began = False, 0.0
        while self._open:
            few = not ended and self._connect_another()
            asked = [each for each in self._open if each.asked]
            waiting = [each for each in self._open if not each.asked]
            if not asked:
                began = time.monotonic()
            ready = _readable(waiting, GATHER if asked else RETRY if few else None)
            # Others ask as well, unless nobody has anything to say, or for too long.
            if asked and not (ready and time.monotonic() < began + MOST_GATHERING):
                self._compute(asked)
            for each in ready:
                try:
                    each.react()
                except ServerGoneError:
                    self._drop(each)
                    if not (self._open or ended):
                        raise
                if each.finished:
                    ended = True
                    self._drop(each)

    def _drop(self, connection: Connection) -> None:
        connection.close()
        self._open.remove(connection)

    def _compute(self, asked: list[Connection]) -> None:
        answers = self.beads.answers([one for each in asked for one in each.asked])
        self.largest_batch = max(self.largest_batch, len(answers))
        self.num_structures += len(answers)
        for each in asked:
            count = len(each.asked)
            each.answer(answers[:count])
            answers = answers[count:]

    def _close(self) -> None:
        for each in self._open:
            each.close()
        self._open = []


def _readable(connections: list[Connection], timeout: float | None) -> list[Connection]:
    """Return those connections that have a message, waiting for the first at most so long."""
    if not connections:
        return []
    streams = {each.stream: each for each in connections}
    ready, _, _ = select.select(list(streams), [], [], timeout)
    return [streams[stream] for stream in ready]
