"""Training states on disk: sealed files, each of which is whole or not there at all.

A file holds whole arrays, wherever they were, so that a run goes on with any number of devices; and
one process writes it alone, so that none waits for another that has died.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree, Shaped

from tensornet_jax.runtime.sealed_file import Arrays, Json, OtherVersionError, SealedFormat

FORMAT = SealedFormat("tensornet_jax_checkpoint", version=1, allow_nan=True)
SUFFIX = ".safetensors"
KEPT = 2


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used; the text says which and what to do."""


@dataclass(frozen=True)
class Restored:
    """A checkpoint read back.

    Attributes:
        step: the step it was saved at.
        state: the saved pytree, with numpy arrays as leaves.
        progress: the saved record of plain values.
    """

    step: int
    state: PyTree[np.ndarray]
    progress: Json


class CheckpointStore:
    """The checkpoints of one run, of which the newest two are kept; one process has it at a time.

    Args:
        directory: where the checkpoints lie, a file for each step; created when missing. What a
            killed process has left unfinished there is deleted.
    """

    def __init__(self, directory: Path):
        self.directory = directory.absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in self.directory.glob(".*.partial"):
            path.unlink()

    def steps(self) -> list[int]:
        """Return the steps of the complete checkpoints, oldest first."""
        names = {path.name.removesuffix(SUFFIX) for path in self.directory.iterdir()}
        return sorted(int(name) for name in names if name.isdecimal())

    def save(self, step: int, state: PyTree, progress: Json) -> None:
        """Write one checkpoint and delete all but the newest two.

        Args:
            step: names the checkpoint; saving the same step again replaces it.
            state: pytree of arrays.
            progress: plain values that JSON can hold.
        """
        FORMAT.write(self._file(step), {"progress": progress}, _by_name(state))
        for former in self.steps()[:-KEPT]:
            self._delete(former)

    def restore(
        self, template: PyTree, on_damage: Callable[[str], None] = lambda message: None
    ) -> Restored | None:
        """Read the newest checkpoint that is intact.

        Args:
            template: a pytree like the one saved; its leaves give shape and dtype.
            on_damage: is given a sentence about each damaged checkpoint passed over. Those are
                deleted once an older one has been read, so that the run can save over them.

        Returns:
            The checkpoint, or None where there is none at all.

        Raises:
            CheckpointError: there are checkpoints, but all are damaged; or the newest one belongs
                to another model or optimizer, or to a later version of the package.
        """
        damaged = []
        for step in reversed(self.steps()):
            try:
                arrays, progress = self._read(step)
            except OtherVersionError as error:
                raise CheckpointError(
                    f"checkpoint {self._path(step)} has {error}: resume with the version of the "
                    "package that wrote it"
                ) from error
            # Of checkpoints that orbax wrote, it and tensorstore raise half a dozen types.
            except Exception as error:
                first_line = (str(error).splitlines() or [""])[0]
                damaged.append(step)
                on_damage(
                    f"checkpoint {self._path(step)} is damaged and was passed over "
                    f"({type(error).__name__}: {first_line[:200]})"
                )
                continue
            self._check_layout(step, arrays, template)
            for newer in damaged:
                self._delete(newer)
            return Restored(step, _like(template, arrays), progress)
        if damaged:
            raise CheckpointError(
                f"every checkpoint in {self.directory} is damaged (steps {sorted(damaged)}): "
                "delete the directory and start again"
            )
        return None

    def newest_progress(self) -> Json | None:
        """Return the record of plain values of the newest checkpoint that is intact."""
        for step in reversed(self.steps()):
            try:
                return self._read(step)[1]
            except Exception:  # `restore` says what is wrong with it
                continue
        return None

    def _file(self, step: int) -> Path:
        return self.directory / f"{step}{SUFFIX}"

    def _path(self, step: int) -> Path:
        """Return the file of a checkpoint, or the folder that orbax made of it."""
        file, folder = self._file(step), self.directory / str(step)
        return folder if folder.is_dir() and not file.exists() else file

    def _read(self, step: int) -> tuple[Arrays, Json]:
        path = self._path(step)
        if path.is_dir():
            from tensornet_jax.runtime.orbax_checkpoint import read_orbax_checkpoint

            return read_orbax_checkpoint(path)
        header, arrays = FORMAT.read(path)
        return arrays, header["progress"]

    def _delete(self, step: int) -> None:
        self._file(step).unlink(missing_ok=True)
        shutil.rmtree(self.directory / str(step), ignore_errors=True)

    def _check_layout(self, step: int, found: Arrays, template: PyTree) -> None:
        expected = _by_name(template)
        for name in [*expected, *found]:
            there, here = _layout(found.get(name)), _layout(expected.get(name))
            if there != here:
                raise CheckpointError(
                    f"checkpoint {self._path(step)} is of another model or optimizer: {name} is "
                    f"{there} there and {here} here: resume with the configuration it was made "
                    "with, or start in another directory"
                )


def _layout(array: Shaped[np.ndarray, "..."] | None) -> str:
    return "absent" if array is None else f"{array.dtype} {array.shape}"


def _by_name(tree: PyTree) -> dict[str, Shaped[np.ndarray, "..."]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def _like(template: PyTree, arrays: Arrays) -> PyTree[np.ndarray]:
    return jax.tree_util.tree_map_with_path(
        lambda path, _: arrays[jax.tree_util.keystr(path)], template
    )
