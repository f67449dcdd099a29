"""Training state on disk: orbax checkpoints that are whole or not there at all.

orbax writes a checkpoint into a temporary directory and renames it when complete, so a run killed
in mid-save leaves the previous one untouched. What orbax does not notice, bytes changed afterwards,
is found by checksums. The arrays are handed to orbax end to end as one: with many, a damaged file
makes it leave reads behind that fail one by one, each with a traceback on the terminal.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import numpy as np
import orbax.checkpoint as ocp

PyTree = Any


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
    state: PyTree
    progress: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run, of which the newest two are kept.

    Use it as a context manager, or call `close`.

    Args:
        directory: where the checkpoints lie, one directory a step; created when missing.
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory).absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2,
            # A save takes a tenth of a second; waiting for it keeps the order of files on disk.
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
        )
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release orbax's threads."""
        self._manager.close()

    def steps(self) -> list[int]:
        """Return the steps of the complete checkpoints, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: PyTree, progress: dict[str, Any]) -> None:
        """Write one checkpoint and delete all but the newest two.

        Args:
            step: names the checkpoint; saving the same step again replaces it.
            state: pytree of arrays.
            progress: plain values that JSON can hold.
        """
        arrays = _named_arrays(state)
        packed = np.frombuffer(b"".join(array.tobytes() for array in arrays.values()), np.uint8)
        content = {
            "progress": progress,
            "arrays": {name: [str(a.dtype), list(a.shape)] for name, a in arrays.items()},
            "num_bytes": packed.size,
            "sha256": _digest(packed.tobytes()),
        }
        record = {"content": content, "sha256": _digest_of_record(content)}
        if step in self._manager.all_steps():
            self._manager.delete(step)
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave({"packed": packed}), record=ocp.args.JsonSave(record)
            ),
        )

    def restore(
        self, template: PyTree, on_damage: Callable[[str], None] = lambda message: None
    ) -> Restored | None:
        """Read the newest checkpoint that is intact.

        Args:
            template: a pytree like the one saved; its leaves give shape and dtype.
            on_damage: told, in a sentence, about each damaged checkpoint passed over. Those are
                deleted once an older one has been read, so that the run can save over them.

        Returns:
            The checkpoint, or None where there is none at all.

        Raises:
            CheckpointError: there are checkpoints, but all are damaged; or the newest one belongs
                to another model or optimizer.
        """
        damaged = []
        for step in reversed(self.steps()):
            try:
                restored = self._read(step, template)
            except CheckpointError:
                raise
            # orbax and tensorstore raise half a dozen types on damaged files.
            except Exception as error:
                first_line = (str(error).splitlines() or [""])[0]
                damaged.append(step)
                on_damage(
                    f"checkpoint {self.directory / str(step)} is damaged and was passed over "
                    f"({type(error).__name__}: {first_line[:200]})"
                )
                continue
            for newer in damaged:
                self._manager.delete(newer)
            return restored
        if damaged:
            raise CheckpointError(
                f"every checkpoint in {self.directory} is damaged (steps {sorted(damaged)}): "
                "delete the directory and start again"
            )
        return None

    def newest_progress(self) -> dict[str, Any] | None:
        """Return the record of plain values of the newest checkpoint whose record is intact."""
        for step in reversed(self.steps()):
            try:
                return self._record(step)["progress"]
            except Exception:  # `restore` says what is wrong with it
                continue
        return None

    def _record(self, step: int) -> dict[str, Any]:
        record = self._manager.restore(
            step, args=ocp.args.Composite(record=ocp.args.JsonRestore())
        )["record"]
        if record["sha256"] != _digest_of_record(record["content"]):
            raise ValueError("the progress record does not match its checksum")
        return record["content"]

    def _read(self, step: int, template: PyTree) -> Restored:
        content = self._record(step)
        self._check_layout(step, content["arrays"], template)
        empty = {"packed": np.zeros(content["num_bytes"], np.uint8)}
        packed = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(empty))
        )["state"]["packed"]
        if _digest(packed.tobytes()) != content["sha256"]:
            raise ValueError("the arrays do not match their checksum")
        return Restored(step, _unpacked(template, packed.tobytes()), content["progress"])

    def _check_layout(self, step: int, found: dict[str, Any], template: PyTree) -> None:
        expected = {
            name: [str(array.dtype), list(array.shape)]
            for name, array in _named_arrays(template).items()
        }
        if list(expected.items()) == list(found.items()):
            return
        name = next(
            (n for n in [*expected, *found] if expected.get(n) != found.get(n)), "the order"
        )
        raise CheckpointError(
            f"checkpoint {self.directory / str(step)} is of another model or optimizer: {name} is "
            f"{_layout(found.get(name))} there and {_layout(expected.get(name))} here: resume with "
            "the configuration it was made with, or start in another directory"
        )


def _layout(entry: list[Any] | None) -> str:
    return "absent" if entry is None else f"{entry[0]} {tuple(entry[1])}"


def _named_arrays(tree: PyTree) -> dict[str, np.ndarray]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def _unpacked(template: PyTree, packed: bytes) -> PyTree:
    leaves, structure = jax.tree.flatten(template)
    arrays, start = [], 0
    for leaf in map(np.asarray, leaves):
        array = np.frombuffer(packed, leaf.dtype, leaf.size, start).reshape(leaf.shape)
        # A copy, because frombuffer's arrays share and lock the whole buffer.
        arrays.append(array.copy())
        start += leaf.nbytes
    return jax.tree.unflatten(structure, arrays)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of_record(content: dict[str, Any]) -> str:
    return _digest(json.dumps(content, sort_keys=True).encode())
