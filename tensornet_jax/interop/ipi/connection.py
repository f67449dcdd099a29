"""i-PI's protocol, as a driver of forces speaks it over one socket.

Messages have a header of twelve letters. The server asks STATUS, and gets NEEDINIT, READY or
HAVEDATA; it sends INIT with a text, POSDATA with cell and positions, and GETFORCE, to which
FORCEREADY with energy, forces, virial and a text is the answer; EXIT is the end. Numbers are
float64 and int32 in atomic units. With `batch_size` above 1 in the text of INIT, POSDATA and
FORCEREADY carry so many structures of the same atoms.

Kapil et al., Comput. Phys. Commun. 236, 214 (2019); Litman et al., arXiv:2405.15224.
"""

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
from ase import units
from jaxtyping import Float

HEADER = 12
UNIX_PREFIX = "/tmp/ipi_"
"""Of the files of UNIX sockets, as i-PI names them."""

_BATCH = re.compile(r"(?:^|,)\s*batch_size\s*[:=]\s*(\d+)\s*(?:,|$)")


class Address(NamedTuple):
    """Where a server listens.

    host: of an INET socket; empty for a UNIX socket.
    port: of an INET socket.
    path: of a UNIX socket's file.
    """

    host: str
    port: int
    path: str

    @classmethod
    def parsed(cls, text: str) -> "Address":
        """Return the address that HOST:PORT, or the name or path of a UNIX socket, stands for.

        Raises:
            ValueError: it is none of them.
        """
        host, colon, port = text.rpartition(":")
        if colon and "/" not in text:
            if not (port.isdigit() and 0 < int(port) < 65536):
                raise ValueError(
                    f"address {text}: {port or 'nothing'} is no port: write HOST:PORT, or the name "
                    "of a UNIX socket as i-PI's <address> has it"
                )
            return cls(host.strip("[]") or "localhost", int(port), "")
        if not text:
            raise ValueError("the address is empty: write HOST:PORT, or a UNIX socket's name")
        return cls("", 0, text if text.startswith("/") else UNIX_PREFIX + text)

    def connected(self, timeout: float) -> socket.socket:
        """Return a socket that is connected.

        A server that has too many connections waiting is not waited for: it may itself wait for
        what an earlier connection has to say.

        Args:
            timeout: seconds.

        Raises:
            OSError: nobody listens, or the server takes no more connections at present.
        """
        if not self.path:
            found = socket.create_connection((self.host, self.port), timeout)
            # Small messages in turn: waiting to fill packets would cost 40 ms each.
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            found = socket.socket(socket.AF_UNIX)
            found.settimeout(timeout)
            try:
                found.connect(self.path)
            except OSError:
                found.close()
                raise
        found.settimeout(None)
        return found

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class Geometry(NamedTuple):
    """A structure that a server asks about.

    cell: rows are lattice vectors, Å.
    positions: Å.
    """

    cell: Float[np.ndarray, "3 3"]
    positions: Float[np.ndarray, "atoms 3"]


class Answer(NamedTuple):
    """What a server gets for a structure.

    energy: eV.
    forces: eV/Å.
    virial: −∂E/∂ε for a strain ε of positions and cell, eV.
    extras: a text, JSON.
    """

    energy: float
    forces: Float[np.ndarray, "atoms 3"]
    virial: Float[np.ndarray, "3 3"]
    extras: str


class Status(Enum):
    """What a connection answers to STATUS."""

    UNINITIALIZED = "NEEDINIT"
    READY = "READY"
    COMPUTED = "HAVEDATA"


class ServerGoneError(ConnectionError):
    """The server closed the connection without saying EXIT."""


@dataclass
class Connection:
    """One connection to a server, and what it is asked at present.

    stream: its socket.
    num_atoms: of each structure.
    batch: structures of one message.
    status: what STATUS is answered with.
    asked: structures that are to be computed; empty for none.
    answers: to what was asked last.
    finished: whether the server said EXIT.
    """

    stream: socket.socket
    num_atoms: int
    batch: int = 1
    status: Status = Status.UNINITIALIZED
    asked: tuple[Geometry, ...] = ()
    answers: tuple[Answer, ...] = ()
    finished: bool = False

    def react(self) -> None:
        """Take the next message, and answer it unless it asks about structures.

        Raises:
            ServerGoneError: there is none.
            ValueError: it is none of the protocol, comes out of turn, or is about other atoms.
        """
        header = self._bytes(HEADER).decode("ascii", "replace").strip()
        if header == "STATUS":
            self._send_header(self.status.value)
        elif header == "INIT":
            _, length = self._numbers(np.int32, 2)
            text = self._bytes(int(length)).decode("utf-8", "replace").strip("\0 ")
            found = _BATCH.search(text)
            self.batch = int(found[1]) if found else 1
            self.status = Status.READY
        elif header == "POSDATA":
            self.asked = self._geometries()
        elif header == "GETFORCE" and self.status is Status.COMPUTED:
            self._send_answers()
            self.status = Status.READY
        elif header == "EXIT":
            self.finished = True
        else:
            raise ValueError(
                f"the server sent {header!r} to a driver that is {self.status.value}: it does not "
                "speak i-PI's protocol (with i-PI, sockets of mode unix and inet, not shm)"
            )

    def answer(self, answers: Sequence[Answer]) -> None:
        """Take the answers to what was asked; the server fetches them."""
        self.answers, self.asked, self.status = tuple(answers), (), Status.COMPUTED

    def close(self) -> None:
        """Close the socket."""
        self.stream.close()

    def _geometries(self) -> tuple[Geometry, ...]:
        count, cells = 0, np.zeros(0)
        if self.batch > 1:
            (count,) = self._numbers(np.int32, 1)
            cells = self._numbers(np.float64, 18 * self.batch)
        else:
            cells = self._numbers(np.float64, 18)
            (count,) = self._numbers(np.int32, 1)
        # Whatever else was sent would be waited for without end.
        if count != self.num_atoms:
            raise ValueError(
                f"the server asks about {count} atoms, and the template has {self.num_atoms}: give "
                "the structure that the server starts from, its atoms in the same order (with "
                "i-PI, sockets of mode unix and inet, not shm)"
            )
        positions = self._numbers(np.float64, 3 * self.num_atoms * self.batch)
        # Matrices of the cell come with lattice vectors as columns, and their inverse after them.
        cells = cells.reshape(self.batch, 2, 3, 3)[:, 0].swapaxes(1, 2) * units.Bohr
        places = positions.reshape(self.batch, -1, 3) * units.Bohr
        return tuple(Geometry(cell, place) for cell, place in zip(cells, places, strict=True))

    def _send_answers(self) -> None:
        answers = self.answers
        force = units.Hartree / units.Bohr
        parts = [
            b"FORCEREADY".ljust(HEADER),
            np.array([each.energy for each in answers]) / units.Hartree,
            np.array([len(answers[0].forces)], np.int32),
            *[np.asarray(each.forces, np.float64) / force for each in answers],
            *[np.asarray(each.virial, np.float64).T / units.Hartree for each in answers],
        ]
        for each in answers:
            text = each.extras.encode()
            parts += [np.array([len(text)], np.int32), text]
        whole = b"".join(
            p if isinstance(p, bytes) else np.ascontiguousarray(p).tobytes() for p in parts
        )
        self._send(whole)

    def _send_header(self, text: str) -> None:
        self._send(text.encode("ascii").ljust(HEADER))

    def _send(self, data: bytes) -> None:
        try:
            self.stream.sendall(data)
        except OSError as error:
            raise ServerGoneError(f"the server is gone: {error}") from None

    def _numbers(self, dtype: type[np.generic], count: int) -> np.ndarray:
        size = np.dtype(dtype).itemsize * count
        return np.frombuffer(self._bytes(size), dtype)

    def _bytes(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            try:
                more = self.stream.recv(size - len(found))
            except OSError as error:
                raise ServerGoneError(f"the server is gone: {error}") from None
            if not more:
                raise ServerGoneError("the server closed the connection")
            found += more
        return bytes(found)
