"""What a run leaves on disk: log, trajectories, records and restart files under one name."""

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from tensornet_jax.md.engines.dynamics import Dynamics
from tensornet_jax.md.identity import identity_of
from tensornet_jax.md.output.restart_file import RestartError, Snapshot, read_restart, write_restart
from tensornet_jax.md.output.series import SeriesSink
from tensornet_jax.md.output.trajectory import SINKS, LogSink, Mark, Sink
from tensornet_jax.md.output.writer import Writer
from tensornet_jax.md.restart import load_restart
from tensornet_jax.md.sample import Sample
from tensornet_jax.runtime.locks import exclusive

RESTART_SUFFIX, LOCK_SUFFIX, PLOT_SUFFIX = ".restart", ".lock", ".png"
# Unless a number of steps is given, a restart file is written so often that a kill costs little,
# and so rarely that it costs little itself: after so many seconds, and so many times what it takes.
SECONDS, TIMES_ITS_COST = 15.0, 50.0


class OutputExistsError(ValueError):
    """Files of another run that this one would overwrite; the text names one and the remedy."""


class _Item(NamedTuple):
    """What the writing thread gets: a sample, and the state it shows."""

    sample: Sample
    snapshot: Snapshot


def output_lock(stem: Path) -> AbstractContextManager[None]:
    """Return the context in which the files of one name belong to this process alone.

    Raises:
        InUseError: on entering, if another process writes them.
    """
    return exclusive(
        stem.with_name(stem.name + LOCK_SUFFIX),
        f"the output {stem}",
        "wait until it has ended, or choose another output",
    )


def restart_path(stem: str | Path) -> Path:
    """Return where the restart file of a name is, or would be."""
    return Path(stem).with_name(Path(stem).name + RESTART_SUFFIX)


def last_saved_step(stem: str | Path) -> int | None:
    """Return the step from which a restart file goes on; None if there is none, or no sample."""
    try:
        found = read_restart(restart_path(stem))
    except (OSError, RestartError):
        return None
    return None if found.notes.get("marks") is None else found.snapshot.step


def sinks_of(formats: Sequence[str], *, records: bool) -> dict[str, type[Sink]]:
    """Return by name what writes the files of a run."""
    classes: dict[str, type[Sink]] = {name: SINKS[name] for name in formats}
    classes["log"] = LogSink
    return classes | ({"series": SeriesSink} if records else {})


def check_free(stem: str | Path, sinks: Iterable[type[Sink]], count: int) -> None:
    """Raise OutputExistsError if there are files that a run of so many structures would write."""
    stem = Path(stem)
    paths = [path for each in sinks for path in each.paths(stem, count)]
    for path in (*paths, stem.with_name(stem.name + PLOT_SUFFIX)):
        if path.exists():
            raise OutputExistsError(
                f"{path} exists already, and there is no {restart_path(stem).name} to go on from: "
                "choose another output, or start anew with resume: false, which overwrites it"
            )


class Recorder:
    """An observer that writes samples, and restart files that know how far the files had got.

    Made for a run whose restart file exists, it brings the run to that state and removes what was
    written after it, so that a resumed trajectory has every frame once. Files that it cannot
    continue it leaves alone. Nothing is written before the first sample.

    simulation: the run it observes.
    restart: path of the restart file.
    resumed: whether the run goes on from it.
    """

    def __init__(
        self,
        simulation: Dynamics,
        stem: str | Path,
        formats: Sequence[str] = ("extxyz",),
        *,
        restart_every: int | None = None,
        resume: bool = True,
        locked: bool = False,
    ) -> None:
        """Take over the files of a name, in which other processes cannot write until it is closed.

        Args:
            simulation: the one it will observe.
            stem: name of all files without suffix; names of several structures get a number.
            formats: of the trajectory: "extxyz", "traj", "hdf5".
            restart_every: steps between restart files; None writes them at times, see `SECONDS`.
                One more is written when it is closed.
            resume: go on from the restart file, if there is one; False starts anew, and overwrites
                what earlier runs left under this name.
            locked: the caller is in `output_lock` of this name already.

        Raises:
            InUseError: another process writes these files.
            RestartError: the restart file is damaged, or of another simulation.
            OutputExistsError: there are such files, and no restart file from which to go on.
        """
        self.simulation = simulation
        self._stem = Path(stem)
        self.restart = restart_path(stem)
        self._every = restart_every
        self._classes = sinks_of(formats, records=simulation.record is not None)
        self._identity = identity_of(simulation)
        self._sinks: dict[str, Sink] | None = None
        self._last: Snapshot | None = None
        self._saved, self._cost = time.monotonic(), 0.0
        self.resumed = False
        with ExitStack() as stack:
            if not locked:
                stack.enter_context(output_lock(self._stem))
            if resume and self.restart.exists():
                self._go_on()
            elif resume:
                check_free(self._stem, self._classes.values(), len(simulation.structures))
            self._start = simulation.snapshot()
            self._lock = stack.pop_all()
        self._writer: Writer[_Item] = Writer(self._write)

    def __call__(self, sample: Sample) -> None:
        """Write a sample, and a restart file if it is time."""
        self._writer(_Item(sample, self.simulation.snapshot()))

    def save(self) -> None:
        """Write everything that waits, and a restart file of the last sample."""
        self._writer.drain()
        self._save()

    @property
    def begun(self) -> bool:
        """Whether the files are those of this run: it goes on, or has written a sample."""
        return self._sinks is not None

    def close(self) -> None:
        """Write what waits, and close the files; no restart file is written."""
        try:
            self._writer.close()
        finally:
            for sink in (self._sinks or {}).values():
                sink.close()
            self._sinks = None
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Whatever ended the run, its last complete sample is worth going on from; after an error of
        # the disk there is nowhere to keep it.
        try:
            if not self._writer.failed:
                self.save()
        finally:
            self.close()

    # --- opening -----------------------------------------------------------------------------

    def _go_on(self) -> None:
        notes = read_restart(self.restart).notes
        saved = notes.get("marks")
        if saved is not None and set(saved) != set(self._classes):
            raise RestartError(
                f"{self.restart} belongs to a run that wrote {sorted(saved)}, not "
                f"{sorted(self._classes)}: keep formats as they were, or use resume: false, which "
                "overwrites the files"
            )
        load_restart(self.restart, self.simulation, sampled=saved is not None)
        if saved is None:
            return
        ends = notes.get("ends", {})
        self._sinks = self._opened({name: Mark(saved[name], ends.get(name)) for name in saved})
        self.resumed = True

    def _opened(self, marks: dict[str, Mark] | None) -> dict[str, Sink]:
        count = len(self.simulation.structures)
        return {
            name: each(self._stem, count, None if marks is None else marks[name])
            for name, each in self._classes.items()
        }

    # --- in the writing thread ---------------------------------------------------------------

    def _write(self, item: _Item) -> None:
        sample, snapshot = item
        first = self._sinks is None
        if self._sinks is None:
            # First: if a kill leaves these files without a sample, it tells which run they are of.
            write_restart(self.restart, self._identity, self._start, {"marks": None})
            self._sinks = self._opened(None)
        for sink in self._sinks.values():
            sink.write(sample)
        self._last = snapshot
        if self._every is not None:
            due = sample.step % self._every == 0
        else:
            due = time.monotonic() - self._saved >= max(SECONDS, TIMES_ITS_COST * self._cost)
        if first or due:
            self._save()

    def _save(self) -> None:
        if self._last is None or self._sinks is None:
            return
        begun = time.monotonic()
        marks = {name: sink.mark() for name, sink in self._sinks.items()}
        notes = {
            "marks": {name: mark.sizes for name, mark in marks.items()},
            "ends": {name: mark.ends for name, mark in marks.items()},
        }
        write_restart(self.restart, self._identity, self._last, notes)
        self._saved = time.monotonic()
        self._cost = self._saved - begun
        self._last = None
