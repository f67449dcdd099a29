"""The files of a loop, and what of it is done.

A stage is done once its ``done.json`` is there, which is written last. One without is gone on with
if its parts can (training and dynamics have files of their own to go on from, labels are kept one
by one), or done again: with the same seeds it comes to the same.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tensornet_jax.active.config import ActiveConfig
from tensornet_jax.config import ConfigError, dump_config, load_config
from tensornet_jax.runtime.locks import exclusive
from tensornet_jax.runtime.sealed_file import Json
from tensornet_jax.runtime.whole_files import write_whole
from tensornet_jax.train.run_directory import flattened

# What may differ when a loop goes on: how far it goes.
RESUMABLE = frozenset({"rounds"})


class Stage:
    """The folder of a stage; nobody else knows that it is done.

    path: the folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self._marker = path / "done.json"

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self._marker.exists()

    def begin(self) -> None:
        """Make the folder."""
        self.path.mkdir(parents=True, exist_ok=True)

    def finish(self, facts: Json) -> None:
        """Note that the stage is done; everything else must be on the disk.

        Args:
            facts: what later stages and reports want to know, as JSON.
        """
        write_whole(self._marker, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")

    def facts(self) -> Json:
        """Return what was noted.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            return json.loads(self._marker.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{self._marker}: damaged ({error}): delete it, and the stage is done again"
            ) from None


class Round:
    """The folder of a round.

    Attributes:
        number: from 0.
        path: the folder.
        train: run directory, with the model that knows how sure it is.
        explore: dynamics.
        selected: what is to be labelled, and why.
        labelled: what was labelled, in two files.
        model: of this round, with deviations.
        chosen: structures to be labelled.
        table: why each was chosen.
        report: in words.
    """

    def __init__(self, path: Path, number: int):
        self.number, self.path = number, path
        self.train, self.explore = Stage(path / "train"), Stage(path / "explore")
        self.selected, self.labelled = Stage(path / "selected"), Stage(path / "labelled")
        self.model = self.train.path / "sure.safetensors"
        self.chosen = self.selected.path / "selected.xyz"
        self.table = self.selected.path / "selected.csv"
        self.report = path / "report.md"


class LoopDirectory:
    """The folder of a loop.

    Attributes:
        path: the folder.
        config: the resolved configuration.
        first: the first structures, as a stage.
        model: the last model.
        report: on all rounds.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.first = Stage(self.path / "first")
        self.model = self.path / "model.safetensors"
        self.report = self.path / "report.md"

    def round(self, number: int) -> Round:
        """Return a round, there or not."""
        return Round(self.path / f"round-{number:03d}", number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, and keep every other loop out of it.

        Raises:
            InUseError: another process runs in it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        remedy = "wait until that loop has ended, or choose another directory"
        with exclusive(self.path / ".lock", f"the loop {self.path}", remedy):
            yield

    def record(self, config: ActiveConfig) -> None:
        """Write the configuration, which must be that of the loop's beginning but for `rounds`.

        Raises:
            ConfigError: it is another.
        """
        if self.config.exists():
            before, now = (
                flattened(each.model_dump(mode="json"))
                for each in (load_config(self.config, ActiveConfig), config)
            )
            for key in sorted(before.keys() | now.keys()):
                if before.get(key) != now.get(key) and key.split(".")[0] not in RESUMABLE:
                    raise ConfigError(
                        f"{self.config}: the loop began with {key} = {before.get(key)!r}, not "
                        f"{now.get(key)!r}: go on with the former, or choose another directory"
                    )
        write_whole(self.config, dump_config(config))
