"""Going on as if a run had never stopped.

On CPU the continued run of the device engine is bitwise the uninterrupted one, so the positions the
neighbor lists were made for, the sizes of the padded arrays and the random keys belong to its
state. ASE's dynamics goes on from positions, momenta and the state of the random numbers.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tensornet_jax.md.engines.dynamics import Dynamics
from tensornet_jax.md.identity import MODEL, differences, identity_of
from tensornet_jax.md.output.restart_file import RestartError, read_restart, write_restart

__all__ = ["RestartError", "load_restart", "save_restart"]


def save_restart(
    path: str | os.PathLike[str], run: Dynamics, notes: Mapping[str, object] | None = None
) -> None:
    """Write the present state, in place of an older file only once it is complete.

    Args:
        path: the file.
        run: what to save.
        notes: JSON to keep along with it.
    """
    write_restart(Path(path), identity_of(run), run.snapshot(), dict(notes or {}))


def load_restart(
    path: str | os.PathLike[str], run: Dynamics, *, sampled: bool = True
) -> dict[str, object]:
    """Bring a run, made with the same arguments, to the state of a restart file.

    Args:
        path: the file.
        run: what is changed.
        sampled: whether observers have seen that state.

    Returns:
        the notes saved along with it.

    Raises:
        RestartError: the file is damaged, or of another run; what differs is named.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    saved = read_restart(path)
    differing = differences(saved.identity, run)
    for name, theirs, ours in differing:
        if name == MODEL and isinstance(theirs, str):
            continue
        if name == MODEL:
            theirs, ours = _first_difference(theirs, ours)
        raise RestartError(
            f"{path} belongs to another simulation: its {name} is {_short(theirs)}, not "
            f"{_short(ours)}. Choose another output, or start anew with resume: false, which "
            "overwrites the files of this one"
        )
    run.restore(saved.snapshot, sampled=sampled)
    if differing and not run.reproduces(saved.snapshot):
        raise RestartError(
            f"{path} belongs to another model: energy and forces of its state differ from this "
            "model's. Choose another output, or start anew with resume: false, which overwrites "
            "the files of this one"
        )
    return saved.notes


def _first_difference(theirs: object, ours: object) -> tuple[object, object]:
    """Return the first setting of the model that differs, or the digests of its parameters."""
    if not (isinstance(theirs, Mapping) and isinstance(ours, Mapping)):
        return theirs, ours
    before, now = theirs.get("settings"), ours.get("settings")
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return theirs, ours
    # What the file does not know differs only if nothing else does.
    for name in sorted(now, key=lambda name: name not in before):
        if before.get(name) != now[name]:
            return {name: before.get(name)}, {name: now[name]}
    return theirs.get("parameters"), ours.get("parameters")


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
