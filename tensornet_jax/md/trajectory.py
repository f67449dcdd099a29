"""Trajectories and the log: written by a thread, so that the simulation does not wait for disks."""

import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import ase.io
import numpy as np
from ase.io.trajectory import Trajectory

from tensornet_jax.csv_files import csv_writer
from tensornet_jax.md.growing_file import SHORTER, append_rows, open_growing
from tensornet_jax.md.simulation import Sample

# Samples that may wait for the disk; then the simulation waits too.
WAITING = 16

LOG_COLUMNS = (
    "replica",
    "step",
    "time_ps",
    "potential_energy_eV",
    "kinetic_energy_eV",
    "total_energy_eV",
    "temperature_K",
    "conserved_eV",
    "pressure_GPa",
    "volume_A3",
)


class Sink(Protocol):
    """One file, or one for each structure, that samples are appended to.

    A mark is how far it has got; opened with one, whatever came later is removed first.
    """

    suffix: ClassVar[str]

    def __init__(self, stem: Path, count: int, mark: list[int] | None) -> None: ...

    def write(self, sample: Sample) -> None:
        """Append a sample, and hand it to the operating system."""
        ...

    def mark(self) -> list[int]:
        """Return how far the files have got."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


def paths_of(stem: Path, suffix: str, count: int) -> list[Path]:
    """Return the file of each structure: name.xyz, or name-000.xyz, name-001.xyz, …"""
    if count == 1:
        return [stem.with_name(stem.name + suffix)]
    return [stem.with_name(f"{stem.name}-{index:03d}{suffix}") for index in range(count)]


class ExtxyzSink:
    """Extended XYZ: 8 decimals, a file for each structure."""

    suffix: ClassVar[str] = ".xyz"

    def __init__(self, stem: Path, count: int, mark: list[int] | None) -> None:
        self._files: list[Any] = [
            _text_at(path, None if mark is None else mark[index])
            for index, path in enumerate(paths_of(stem, self.suffix, count))
        ]

    def write(self, sample: Sample) -> None:
        """Append one frame to each file."""
        for index, file in enumerate(self._files):
            ase.io.write(file, sample.atoms(index), format="extxyz")
            file.flush()

    def mark(self) -> list[int]:
        """Return the sizes of the files in bytes."""
        return [file.tell() for file in self._files]

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


class TrajSink:
    """ASE's own binary trajectory: all digits, a file for each structure."""

    suffix: ClassVar[str] = ".traj"

    def __init__(self, stem: Path, count: int, mark: list[int] | None) -> None:
        self._count = [0] * count if mark is None else list(mark)
        self._files: list[Any] = []
        for index, path in enumerate(paths_of(stem, self.suffix, count)):
            if mark is not None:
                _keep_frames(path, mark[index])
            self._files.append(Trajectory(path, "w" if mark is None else "a"))

    def write(self, sample: Sample) -> None:
        """Append one frame to each file."""
        for index, file in enumerate(self._files):
            file.write(sample.atoms(index))
            self._count[index] += 1

    def mark(self) -> list[int]:
        """Return the number of frames in each file."""
        return list(self._count)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


class Hdf5Sink:
    """HDF5: one file, a group for each structure, all digits, arrays that grow along time.

    ``/000`` has numbers (n,), pbc (3,), step (T,), time_fs (T,), positions (T, n, 3) Å, velocities
    (T, n, 3) Å/fs, forces (T, n, 3) eV/Å, cell (T, 3, 3) Å, potential_energy, kinetic_energy,
    conserved (T,) eV, temperature (T,) K, and stress (T, 3, 3) eV/Å³ if it is computed.
    """

    suffix: ClassVar[str] = ".h5"

    def __init__(self, stem: Path, count: int, mark: list[int] | None) -> None:
        (path,) = paths_of(stem, self.suffix, 1)
        self._frames = 0 if mark is None else mark[0]
        self._file = open_growing(path, None if mark is None else self._frames)

    def write(self, sample: Sample) -> None:
        """Append one frame to each group."""
        for index, here in enumerate(sample.slices):
            group = self._file.require_group(f"{index:03d}")
            if "numbers" not in group:
                group["numbers"] = sample.templates[index].numbers
                group["pbc"] = sample.templates[index].pbc
            values: dict[str, Any] = {
                "step": sample.step,
                "time_fs": sample.time,
                "cell": sample.cell[index],
            }
            for name in ("positions", "velocities", "forces"):
                values[name] = getattr(sample, name)[here]
            for name in ("potential_energy", "kinetic_energy", "conserved", "temperature"):
                values[name] = getattr(sample, name)[index]
            if sample.stress is not None:
                values["stress"] = sample.stress[index]
            for name, value in values.items():
                append_rows(group, name, np.asarray(value)[None], self._frames)
        self._frames += 1
        self._file.flush()

    def mark(self) -> list[int]:
        """Return the number of frames."""
        return [self._frames]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class LogSink:
    """The log: one CSV row for each structure and sample."""

    suffix: ClassVar[str] = ".csv"

    def __init__(self, stem: Path, count: int, mark: list[int] | None) -> None:
        (path,) = paths_of(stem, self.suffix, 1)
        self._file = _text_at(path, None if mark is None else mark[0])
        self._writer = csv_writer(self._file)
        if mark is None:
            self._writer.writerow(LOG_COLUMNS)

    def write(self, sample: Sample) -> None:
        """Append one row for each structure."""
        sizes = np.abs(np.linalg.det(sample.cell))
        pressures = sample.pressure
        for index in range(len(sample)):
            potential, kinetic = sample.potential_energy[index], sample.kinetic_energy[index]
            self._writer.writerow(
                (
                    index,
                    sample.step,
                    sample.time * 1e-3,
                    potential,
                    kinetic,
                    potential + kinetic,
                    sample.temperature[index],
                    sample.conserved[index],
                    pressures[index],
                    sizes[index],
                )
            )
        self._file.flush()

    def mark(self) -> list[int]:
        """Return the size of the file in bytes."""
        return [self._file.tell()]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


SINKS: dict[str, type[Sink]] = {"extxyz": ExtxyzSink, "traj": TrajSink, "hdf5": Hdf5Sink}
"""Format in a configuration → who writes it."""


class Writer:
    """Hands samples to a thread that writes them; at most `WAITING` samples are in memory.

    An error of the thread is raised by the next call, or when the writer is closed.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)
        self._queue: queue.Queue[Sample | None] = queue.Queue(WAITING)
        self._error: BaseException | None = None
        self._raised = False
        self._thread = threading.Thread(target=self._work, name="trajectory", daemon=True)
        self._thread.start()

    def __call__(self, sample: Sample) -> None:
        """Take over a sample; waits if too many have not been written yet."""
        self._check()
        self._queue.put(sample)

    def marks(self) -> list[list[int]]:
        """Wait until everything is written, and return how far each sink has got."""
        self._queue.join()
        self._check()
        return [sink.mark() for sink in self._sinks]

    def close(self) -> None:
        """Write what is left and close the files."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        for sink in self._sinks:
            sink.close()
        self._sinks = []
        if not self._raised:
            self._check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        while True:
            sample = self._queue.get()
            try:
                if sample is None:
                    return
                # After an error the queue is only emptied, so that nobody waits for ever.
                if self._error is None:
                    for sink in self._sinks:
                        sink.write(sample)
            except BaseException as error:
                self._error = error
            finally:
                self._queue.task_done()

    def _check(self) -> None:
        if self._error is not None:
            self._raised = True
            raise OSError(f"the trajectory cannot be written: {self._error}") from self._error


def _text_at(path: Path, size: int | None) -> Any:
    """Open a text file for appending, anew or cut to a size in bytes."""
    if size is None:
        return path.open("w", newline="", encoding="utf-8")
    file = path.open("r+", newline="", encoding="utf-8")
    if path.stat().st_size < size:
        file.close()
        raise ValueError(SHORTER.format(path))
    file.truncate(size)
    file.seek(size)
    return file


def _keep_frames(path: Path, count: int) -> None:
    """Remove all frames of an ASE trajectory but the first ones."""
    reader: Any = Trajectory(path)
    with reader as frames:
        if len(frames) == count:
            return
        if len(frames) < count:
            raise ValueError(SHORTER.format(path))
        partial = path.with_name(f".{path.name}.partial")
        writer: Any = Trajectory(partial, "w")
        with writer as kept:
            for index in range(count):
                kept.write(frames[index])
    partial.replace(path)
