"""What a run leaves on disk: log, trajectories, records and restart files under one name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tensornet_jax.md.limits import SimulationError
from tensornet_jax.md.restart import load_restart, save_restart
from tensornet_jax.md.series import SeriesSink
from tensornet_jax.md.simulation import Sample, Simulation
from tensornet_jax.md.trajectory import SINKS, LogSink, Sink, Writer

RESTART_SUFFIX = ".restart"


class Recorder:
    """An observer that writes samples, and restart files that know how far the files had got.

    Made for a simulation whose restart file exists, it brings the simulation to that state and
    removes what was written after it, so that a resumed trajectory has every frame once.
    """

    def __init__(
        self,
        simulation: Simulation,
        stem: str | Path,
        formats: Sequence[str] = ("extxyz",),
        *,
        restart_every: int | None = None,
        resume: bool = True,
    ) -> None:
        """Open the files.

        Args:
            simulation: the one it will observe.
            stem: name of all files without suffix; names of several structures get a number.
            formats: of the trajectory: "extxyz", "traj", "hdf5".
            restart_every: steps between restart files; None writes one when it is closed.
            resume: go on from the restart file, if there is one; False starts anew.

        Raises:
            RestartError: the restart file is damaged, or of another simulation.
        """
        self._simulation = simulation
        self._stem = Path(stem)
        self.restart = self._stem.with_name(self._stem.name + RESTART_SUFFIX)
        self._every = restart_every
        self._saved: int | None = None
        classes: dict[str, type[Sink]] = {name: SINKS[name] for name in formats}
        classes["log"] = LogSink
        if simulation.record is not None:
            classes["series"] = SeriesSink
        self._names = list(classes)
        marks: dict[str, list[int] | None] = dict.fromkeys(classes)
        self.resumed = resume and self.restart.exists()
        if self.resumed:
            saved = load_restart(self.restart, simulation)["marks"]
            if set(saved) != set(classes):
                raise ValueError(
                    f"{self.restart} belongs to a run that wrote {sorted(saved)}, not "
                    f"{sorted(classes)}: keep formats as they were, or use resume: false"
                )
            marks |= saved
            self._saved = simulation.step
        else:
            # The files are about to start anew: the old restart file no longer fits them.
            self.restart.unlink(missing_ok=True)
        count = len(simulation.structures)
        sinks = [each(self._stem, count, marks[name]) for name, each in classes.items()]
        self._writer = Writer(sinks)

    def __call__(self, sample: Sample) -> None:
        """Write a sample, and a restart file if it is time."""
        self._writer(sample)
        if self._every is not None and sample.step and sample.step % self._every == 0:
            self.save()

    def save(self) -> None:
        """Write everything that waits, and a restart file of the present state."""
        marks = dict(zip(self._names, self._writer.marks(), strict=True))
        save_restart(self.restart, self._simulation, {"marks": marks})
        self._saved = self._simulation.step

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an explosion the last good state is worth keeping; after an interrupt the state on
        # the device may be gone, and after an error of the disk there is nowhere to keep it.
        try:
            sound = kind is None or issubclass(kind, SimulationError)
            if sound and self._simulation.sampled and self._saved != self._simulation.step:
                self.save()
        finally:
            self._writer.close()
