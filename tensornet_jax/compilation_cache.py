"""Compiled models kept on disk between runs."""

import hashlib
import os
import platform
import sys
from pathlib import Path


def silence_cache_messages() -> None:
    """Turn off an alarming message that XLA logs whenever it reads a compiled CPU program back.

    It says that tuning hints such as ``prefer-no-gather`` are no features of this processor, and
    warns of crashes; results are the same to the last bit. Only a process that has not imported
    jaxlib yet can be silenced. A ``TF_CPP_MIN_LOG_LEVEL`` that is set already stays as it is.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def enable_compilation_cache() -> Path | None:
    """Keep compiled functions on disk between runs, in the user's cache folder.

    Compiling a model takes several seconds, reading it back half a second. A cache folder that has
    already been set (`jax_compilation_cache_dir`, or the environment variable
    `JAX_COMPILATION_CACHE_DIR`) stays as it is, and so does a cache that was turned off.

    Returns:
        the folder in use, or None if the cache is turned off.
    """
    import jax

    settings = jax.config.values
    if not settings["jax_enable_compilation_cache"]:
        return None
    if settings["jax_compilation_cache_dir"]:
        return Path(settings["jax_compilation_cache_dir"])
    folder = _user_cache() / "tensornet_jax" / f"jax-{_processor()}"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


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
