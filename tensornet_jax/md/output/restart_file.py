"""The file of a restart of a simulation, a sealed file (`tensornet_jax.runtime.sealed_file`)."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from tensornet_jax.runtime.sealed_file import (
    Arrays,
    DamagedError,
    Json,
    OtherVersionError,
    SealedFormat,
    SealError,
)


def _earlier_checksum(text: str, arrays: Arrays) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


# Version 1 had a digest of the model's printed configuration, and no engine but that on the device;
# from version 3 on the checksum is that of all sealed files.
FORMAT = SealedFormat(
    "tensornet_jax_restart",
    version=3,
    earlier={1: _earlier_checksum, 2: _earlier_checksum},
    allow_nan=True,
)


class RestartError(ValueError):
    """A restart file that cannot be used; the text says why and what to do."""


@dataclass(frozen=True)
class Snapshot:
    """The state of a run on the host, from which it can go on.

    step: steps done.
    details: what else than arrays belongs to it, as JSON.
    arrays: by name; copies that nothing changes.
    """

    step: int
    details: Json
    arrays: dict[str, Shaped[np.ndarray, "..."]]


@dataclass(frozen=True)
class RestartFile:
    """What a restart file says.

    version: of its format.
    identity: which run it belongs to, see `tensornet_jax.md.identity`.
    notes: JSON of whoever wrote it.
    snapshot: the state.
    """

    version: int
    identity: Json
    notes: Json
    snapshot: Snapshot


def write_restart(path: Path, identity: Json, snapshot: Snapshot, notes: Json) -> None:
    """Write a restart file, in place of an older one only once it is complete."""
    header = {
        "identity": identity,
        "step": snapshot.step,
        "details": snapshot.details,
        "notes": notes,
    }
    FORMAT.write(path, header, snapshot.arrays)


def read_restart(path: Path) -> RestartFile:
    """Read a restart file of this version or an earlier one.

    Raises:
        RestartError: the file is damaged, not a restart file, or of a later version.
        FileNotFoundError: there is no such file.
    """
    remedy = "take an older copy of it, or start anew with resume: false, which overwrites the run"
    try:
        header, arrays = FORMAT.read(path)
    except OtherVersionError as error:
        readable = ", ".join(map(str, sorted({*FORMAT.earlier, FORMAT.version})))
        raise RestartError(
            f"{path} has {error}, this package reads {readable}: use the version that wrote it"
        ) from error
    except DamagedError as error:
        raise RestartError(f"{path} is damaged, {error}: {remedy}") from error
    except SealError as error:
        raise RestartError(f"{path} is not a restart file, or damaged: {remedy}") from error
    version = header["format_version"]
    if version == 1:
        header["step"] = int(arrays["state.step"])
        header["details"] = {"capacity": header["capacity"]}
        header["identity"]["engine"] = "device"
    snapshot = Snapshot(header["step"], header["details"], arrays)
    return RestartFile(version, header["identity"], header["notes"], snapshot)
