"""Download published data files: checked, whole or not at all, and never over a file."""

import contextlib
import io
import os
import shutil
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

import ase.io

from tensornet_jax.data.formats.layouts import read_layout
from tensornet_jax.data.published.datasets import PublishedFile
from tensornet_jax.runtime.whole_files import sha256_of

TIMEOUT = 60.0
"""Seconds without an answer after which a server is given up."""


@dataclass(frozen=True)
class Fetched:
    """What became of a file."""

    path: Path
    sha256: str | None
    """Of the published file; None where nothing was downloaded."""
    verified: bool
    """Whether the registry's checksum says that it is the right one."""


def fetch_file(
    file: PublishedFile,
    folder: Path,
    *,
    downloads: Path | None = None,
    timeout: float = TIMEOUT,
) -> Fetched:
    """Put a published file into a folder; a file of that name is left as it is.

    Args:
        file: what to fetch.
        folder: where to; made where it is missing.
        downloads: folder with the published file, taken in place of a download.
        timeout: seconds to wait for an answer.

    Raises:
        ValueError: the published file is not the one that is known, or the file that is there
            already is another one.
        OSError: it cannot be downloaded, or not be written; the message has the address, the
            checksum, and where to put a file downloaded by hand.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / file.path
    if target.exists():
        return _as_it_is(file, target)
    with _temporary(folder, file.path) as raw, _temporary(folder, file.path) as finished:
        _download(file, folder, raw, downloads, timeout)
        digest = sha256_of(raw)
        if file.sha256 is not None and digest != file.sha256:
            source = file.url if downloads is None else downloads / file.download_name
            raise ValueError(
                f"{source}: the file has sha256 {digest}, not {file.sha256}: it was cut off or has "
                "changed; nothing was written"
            )
        if file.layout is None:
            result = raw
        else:
            _rewrite(file, raw, finished)
            result = finished
        _move_where_nothing_is(result, target)
    return Fetched(target, digest, verified=file.sha256 is not None)


def _as_it_is(file: PublishedFile, target: Path) -> Fetched:
    if file.layout is None and file.sha256 is not None:
        digest = sha256_of(target)
        if digest != file.sha256:
            raise ValueError(
                f"{target} is there, and is not the published file (sha256 {digest}, not "
                f"{file.sha256}): move it away, or fetch into another folder"
            )
        return Fetched(target, None, verified=True)
    return Fetched(target, None, verified=False)


def _download(
    file: PublishedFile, folder: Path, raw: Path, downloads: Path | None, timeout: float
) -> None:
    if downloads is not None:
        shutil.copyfile(downloads / file.download_name, raw)
        return
    try:
        with urllib.request.urlopen(file.url, timeout=timeout) as answer, raw.open("wb") as out:
            length = answer.headers.get("Content-Length")
            shutil.copyfileobj(answer, out)
        if length is not None and raw.stat().st_size != int(length):
            raise ConnectionError(f"it ended after {raw.stat().st_size} of {length} bytes")
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(error, HTTPError):
            reason = error
            error.close()  # it holds the answer
        checksum = "not known" if file.sha256 is None else file.sha256
        raise ConnectionError(
            f"{file.url} cannot be downloaded: {reason}\n"
            f"  Without a connection here: download it elsewhere as {file.download_name} (sha256 "
            f"{checksum}), and fetch again with --from and the folder it is in; "
            f"{folder / file.path} is made of it."
        ) from error


def _rewrite(file: PublishedFile, raw: Path, finished: Path) -> None:
    assert file.layout is not None
    content = raw.read_bytes()
    if file.member is not None:
        content = _member(content, file.member)
    structures = read_layout(content, file.layout)
    for what, expected, found in (
        ("structures", file.structures, len(structures)),
        ("atoms", file.atoms, sum(map(len, structures))),
    ):
        if expected not in (None, found):
            raise ValueError(f"{file.url}: {found} {what}, not {expected}: the file has changed")
    ase.io.write(finished, structures, format="extxyz")


def _member(archive: bytes, name: str) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
            found = opened.extractfile(name)
            if found is not None:
                return found.read()
    except (KeyError, tarfile.TarError) as error:
        raise ValueError(f"the archive has no file {name}: {error}") from error
    raise ValueError(f"the archive has no file {name}")


@contextlib.contextmanager
def _temporary(folder: Path, name: str) -> Iterator[Path]:
    """Give a file in the same folder, which a rename does not leave, and remove it after."""
    descriptor, path = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=folder)
    os.close(descriptor)
    try:
        yield Path(path)
    finally:
        Path(path).unlink(missing_ok=True)


def _move_where_nothing_is(source: Path, target: Path) -> None:
    # mkstemp's files are for their owner alone; data are for whom other new files are.
    umask = os.umask(0)
    os.umask(umask)
    source.chmod(0o666 & ~umask)
    try:
        os.link(source, target)  # unlike a rename it fails if the target has appeared meanwhile
    except FileExistsError:
        raise ValueError(f"{target} has appeared while it was fetched: left as it is") from None
    except OSError:  # a file system without links
        source.replace(target)
