"""Compiled models kept on disk between runs."""

import contextlib
import hashlib
import os
import platform
import sys
import tempfile
from pathlib import Path

SIZE_VARIABLE = "TENSORNET_JAX_CACHE_GB"
DEFAULT_SIZE = 2.0
"""GB (10⁹ bytes)."""


def silence_cache_messages() -> None:
    """Turn off an alarming message that XLA logs whenever it reads a compiled CPU program back.

    It says that tuning hints such as ``prefer-no-gather`` are no features of this processor, and
    warns of crashes; results are the same to the last bit. Only a process that has not imported
    jaxlib yet can be silenced. A ``TF_CPP_MIN_LOG_LEVEL`` that is set already stays as it is, but
    for 1, which JAX sets and leaves to what its process starts, as a notebook does. It is set for
    child processes as well, so that only the command line calls this.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def enable_compilation_cache() -> Path | None:
    """Keep compiled functions of this process on disk between runs, in the user's cache folder.

    Compiling a model takes several seconds, reading it back half a second. A cache folder that has
    already been set (`jax_compilation_cache_dir`, or the environment variable
    `JAX_COMPILATION_CACHE_DIR`) stays as it is, and so does a cache that was turned off. Otherwise
    what has not been used for longest is deleted from the folder until it is smaller than
    `TENSORNET_JAX_CACHE_GB` (environment variable; default 2, and 0 for no cache). Where no file
    can be written, as in a read-only home, there is no cache.

    Returns:
        the folder in use, or None if there is no cache.

    Raises:
        ValueError: `TENSORNET_JAX_CACHE_GB` is not a number.
    """
    import jax

    settings = jax.config.values
    if not settings["jax_enable_compilation_cache"]:
        return None
    if settings["jax_compilation_cache_dir"]:
        return Path(settings["jax_compilation_cache_dir"])
    size = _largest_size()
    folder = _writable_folder() if size else None
    if folder is not None:
        _shrink(folder, size)
        jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def _largest_size() -> float:
    """Bytes that the cache may have when a process begins."""
    text = os.environ.get(SIZE_VARIABLE) or str(DEFAULT_SIZE)
    try:
        size = float(text)
    except ValueError:
        size = -1.0
    if not size >= 0:
        raise ValueError(
            f"{SIZE_VARIABLE} is {text!r}: give the size of the compilation cache in GB, e.g. 2, "
            "or 0 for none"
        )
    return size * 1e9


def _writable_folder() -> Path | None:
    """Return the cache folder, made if need be; None where it cannot be written to."""
    # RuntimeError: there is no home. One that does not exist is not made.
    try:
        base = _user_cache()
        if base is None:
            return None
        folder = base / "tensornet_jax" / f"jax-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):
        return None


def _shrink(folder: Path, size: float) -> None:
    """Delete files, those unused for longest first, until the rest is no larger than `size`."""
    files = []
    # Another process may be deleting too.
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                if entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    used = max(found.st_atime, found.st_mtime)
                    files.append((used, found.st_size, entry.path))
    excess = sum(length for _, length, _ in files) - size
    for _, length, path in sorted(files):
        if excess <= 0:
            return
        with contextlib.suppress(OSError):
            Path(path).unlink()
        excess -= length


def _user_cache() -> Path | None:
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"])
    if sys.platform not in ("win32", "darwin") and os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"])
    home = Path.home()
    if not home.is_dir():
        return None
    within = {"win32": ("AppData", "Local"), "darwin": ("Library", "Caches")}
    return home.joinpath(*within.get(sys.platform, (".cache",)))


def _processor() -> str:
    """Short fingerprint of the processor's instruction set.

    The nodes of a cluster share a home folder but not always a processor, and a program compiled
    for one may hold instructions that another lacks.
    """
    description = platform.machine() + platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        description += next((x for x in lines if x.startswith(("flags", "Features"))), "")
    return hashlib.sha256(description.encode()).hexdigest()[:8]
