"""Commands over many structures whose output grows: refused, continued, never overwritten unasked.

Beside OUTPUT stands OUTPUT.run.json: the settings, so that a run that goes on is the same run, and
the structures that failed, with the reason.
"""

import hashlib
import json
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensornet_jax.cli.signals import INTERRUPTED, interrupts, undisturbed
from tensornet_jax.runtime.locks import exclusive
from tensornet_jax.version import __version__

if TYPE_CHECKING:
    from ase import Atoms

    from tensornet_jax.data.labelled_structure import LabelledStructure
    from tensornet_jax.data.readers import Refusal

FAILED = 1
NOTHING_DONE = 2
SHOWN = 5

ForceOption = Annotated[
    bool, typer.Option("--force", help="Overwrite OUTPUT if it exists.", show_default=False)
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the structures that OUTPUT does not have yet; start if there is none.",
        show_default=False,
    ),
]


@contextmanager
def held_output(path: Path, *, force: bool, resume: bool) -> Iterator[None]:
    """Keep an output for this process alone, after it was made sure that it may be written.

    Args:
        path: the file; its folder exists.
        force: an older one may be overwritten.
        resume: an older one goes on.

    Raises:
        ValueError: it exists and neither was asked for, or both were.
        InUseError: another process writes it.
    """
    if force and resume:
        raise ValueError("--force overwrites and --resume goes on: give one of them")
    lock = path.with_name(f".{path.name}.lock")
    with exclusive(lock, str(path), "wait for it, or choose another output"):
        if path.exists() and not (force or resume):
            raise ValueError(
                f"{path} exists: --resume goes on with what it does not have yet, --force "
                "overwrites it; or choose another output"
            )
        yield


class GrowingOutput:
    """The output of one command over many structures.

    structures: by their place in the input, without those that could not be read.
    todo: indices of the structures that are not in the file yet, in order.
    file: the file, in its format.
    goes_on: whether an earlier run of the command has begun it.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, object],
        structures: "Sequence[LabelledStructure]",
        refused: "Sequence[Refusal]",
        *,
        resume: bool,
        only_growing: bool = False,
    ) -> None:
        """Start, or go on with, a file that this process holds by `held_output`.

        Args:
            path: the file.
            settings: what results depend on, as JSON can hold it, but for the structures.
            structures: the input.
            refused: what of the input could not be read.
            resume: go on with a file that exists.
            only_growing: see `structure_file`.

        Raises:
            ValueError: an unknown format, or a file that other settings or structures made.
        """
        from tensornet_jax.data.formats.structure_file import OneStructure, structure_file

        places = sorted({*range(len(structures) + len(refused))} - {r.index for r in refused})
        self.path, self.structures = path, dict(zip(places, structures, strict=True))
        self._count = len(structures) + len(refused)
        self._sidecar = path.with_name(f"{path.name}.run.json")
        self._settings = {**settings, "input": fingerprint(structures)}
        self._failed: list[dict[str, int | str]] = []
        self.file = structure_file(path, only_growing=only_growing)
        if isinstance(self.file, OneStructure) and self._count > 1:
            raise ValueError(
                f"{path}: this format is written for one structure, and there are "
                f"{self._count}: end the name in .xyz, .extxyz, .traj or .db"
            )
        self._refused = refused
        self._converged: dict[int, bool] = {}
        self._raise_what_came: Callable[[], None] = lambda: None
        self.goes_on = resume and self._sidecar.exists()
        if resume and path.exists():
            self._check_same_run()
            self._converged = self.file.kept()
        self.todo = [k for k in places if k not in self._converged]
        if self._converged:
            typer.echo(f"{len(self._converged)} of {self._count} structures are in {path}")

    def write(self, index: int, atoms: "Atoms", *, converged: bool | None = None) -> None:
        """Write a finished structure; it is in the file on return."""
        from tensornet_jax.data.formats.structure_file import CONVERGED, INDEX

        atoms.info[INDEX] = index
        if converged is not None:
            atoms.info[CONVERGED] = converged
        with undisturbed():
            self.file.append(atoms)
        self._converged[index] = converged is not False
        self._raise_what_came()

    def fail(self, index: int, reason: Exception) -> None:
        """Note that a structure is left out, tell why, and go on."""
        self._note_failure(index, self.structures[index].source, str(reason))

    def _note_failure(self, index: int, source: str, reason: str) -> None:
        reason = reason.removeprefix(f"{source}: ")
        self._failed.append({"index": index, "structure": source, "reason": reason})
        self._write_sidecar()
        typer.echo(f"error: {source}: {reason}", err=True)

    def finish(self) -> None:
        """Close the file and tell what is in it; exit with 1 unless all is well, 2 if nothing is.

        Raises:
            typer.Exit: some structure failed or has not converged.
        """
        self.file.close()
        count, done = self._count, len(self._converged)
        if done:
            typer.echo(f"written: {self.path} ({done} structures)")
        else:
            self._sidecar.unlink(missing_ok=True)
        if self._failed:
            shown = [f"  {each['structure']}: {each['reason']}" for each in self._failed[:SHOWN]]
            more = len(self._failed) - len(shown)
            where = f"; {self._sidecar} has the reasons" if done else ""
            text = f"{len(self._failed)} of {count} structures failed and are left out{where}:"
            typer.echo(
                "\n".join([text, *shown, *([f"  and {more} more"] if more else [])]), err=True
            )
        unconverged = sum(not each for each in self._converged.values())
        if unconverged:
            typer.echo(f"{unconverged} of {count} not converged: raise --steps or --fmax", err=True)
        if self._failed or unconverged:
            raise typer.Exit(FAILED if done else NOTHING_DONE)

    @contextmanager
    def growing(self) -> Iterator[None]:
        """Write in this block: only now is an older file gone, whatever was refused before.

        However the block is left the file is closed, and Ctrl-C is told what there is already.
        """
        if not self._converged:
            self.path.unlink(missing_ok=True)
        self._write_sidecar()
        for each in self._refused:
            self._note_failure(each.index, each.source, str(each.reason))
        try:
            with interrupts(signal.SIGINT) as self._raise_what_came:
                yield
        except KeyboardInterrupt:
            typer.echo(
                f"interrupted: {len(self._converged)} of {self._count} structures are in "
                f"{self.path}; the same command with --resume goes on",
                err=True,
            )
            raise typer.Exit(INTERRUPTED) from None
        finally:
            self.file.close()

    def _check_same_run(self) -> None:
        try:
            before = json.loads(self._sidecar.read_text("utf-8"))["settings"]
        except (OSError, ValueError, KeyError):
            raise ValueError(
                f"{self.path} cannot go on: {self._sidecar}, which says how it was made, is "
                "missing or damaged: choose another output, or overwrite it with --force"
            ) from None
        now = json.loads(json.dumps(self._settings))
        differing = sorted(k for k in before | now if before.get(k) != now.get(k))
        if differing:
            told = ", ".join(
                f"{key} ({_shown(before.get(key))}, now {_shown(now.get(key))})"
                for key in differing
            )
            raise ValueError(
                f"{self.path} was made with another {told}: choose another output, or overwrite it "
                "with --force"
            )

    def _write_sidecar(self) -> None:
        content = {
            "written_by": {"tensornet_jax": __version__},
            "settings": self._settings,
            "failed": self._failed,
        }
        beside = self._sidecar.with_name(f".writing.{self._sidecar.name}")
        beside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        beside.replace(self._sidecar)


def fingerprint(structures: "Sequence[LabelledStructure]") -> str:
    """Return a checksum of geometries, elements, cells and states."""
    digest = hashlib.sha256()
    for structure in structures:
        atoms, state = structure.atoms, structure.state
        for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc):
            digest.update(array.tobytes())
        digest.update(json.dumps([str(state.charge), str(state.spin)]).encode())
    return digest.hexdigest()


def check_new(path: Path, *, force: bool) -> None:
    """Raise ValueError if a file exists and may not be overwritten."""
    if path.exists() and not force:
        raise ValueError(f"{path} exists: choose another output, or overwrite it with --force")


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 16 else f"{text[:12]}…"
