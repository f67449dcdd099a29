"""The file of a restart: a safetensors file with arrays and a JSON header; no pickle.

It has a checksum, and takes the place of an older one only when it is complete.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from tensornet_jax.runtime.whole_files import write_whole

# Version 1 had a digest of the model's printed configuration, and no engine but that on the device.
FORMAT_VERSION = 2
READABLE = (1, 2)
ENTRY = "tensornet_jax_restart"
BLANK = "0" * 64


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
    details: dict[str, Any]
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class RestartFile:
    """What a restart file says.

    version: of its format.
    identity: which run it belongs to, see `tensornet_jax.md.identity`.
    notes: JSON of whoever wrote it.
    snapshot: the state.
    """

    version: int
    identity: dict[str, Any]
    notes: dict[str, Any]
    snapshot: Snapshot


def write_restart(
    path: Path, identity: dict[str, Any], snapshot: Snapshot, notes: dict[str, Any]
) -> None:
    """Write a restart file, in place of an older one only once it is complete."""
    header = {
        "sha256": BLANK,
        "format_version": FORMAT_VERSION,
        "identity": identity,
        "step": snapshot.step,
        "details": snapshot.details,
        "notes": notes,
    }
    text = json.dumps(header, ensure_ascii=False)
    # safetensors takes the memory as it lies, strides ignored.
    tensors = {name: np.array(value, order="C") for name, value in snapshot.arrays.items()}
    text = text.replace(BLANK, _checksum(text, tensors), 1)
    write_whole(path, safetensors.numpy.save(tensors, {ENTRY: text}))


def read_restart(path: Path) -> RestartFile:
    """Read a restart file of this version or an earlier one.

    Raises:
        RestartError: the file is damaged, not a restart file, or of a later version.
        FileNotFoundError: there is no such file.
    """
    content = path.read_bytes()
    remedy = "take an older copy of it, or start anew with resume: false, which overwrites the run"
    try:
        tensors = safetensors.numpy.load(content)
        size = int.from_bytes(content[:8], "little")
        text = (json.loads(content[8 : 8 + size]).get("__metadata__") or {})[ENTRY]
        header = json.loads(text)
        version, checksum = header["format_version"], header["sha256"]
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RestartError(f"{path} is not a restart file, or damaged: {remedy}") from error
    if version not in READABLE:
        raise RestartError(
            f"{path} has format version {version}, this package reads "
            f"{' and '.join(map(str, READABLE))}: use the version that wrote it"
        )
    if checksum != _checksum(text.replace(checksum, BLANK, 1), tensors):
        raise RestartError(f"{path} is damaged, its checksum does not match: {remedy}")
    if version == 1:
        header["step"] = int(tensors["state.step"])
        header["details"] = {"capacity": header["capacity"]}
        header["identity"]["engine"] = "device"
    snapshot = Snapshot(header["step"], header["details"], tensors)
    return RestartFile(version, header["identity"], header["notes"], snapshot)


def _checksum(text: str, tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
