"""Checkpoints that earlier versions wrote through orbax, to be read only.

Such a checkpoint is a folder with two items: ``record``, JSON with the progress, the layout of the
arrays and checksums, and ``state``, the bytes of all arrays end to end as one array.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import Shaped

from tensornet_jax.runtime.sealed_file import Json


def read_orbax_checkpoint(
    folder: Path,
) -> tuple[dict[str, Shaped[np.ndarray, "..."]], Json]:
    """Return the arrays by name, and the progress.

    Raises:
        ValueError: it does not match its checksums. Other damage raises what orbax finds for it.
    """
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
        record = reader.restore(folder / "record")
    content = record["content"]
    if _sha256(json.dumps(content, sort_keys=True).encode()) != record["sha256"]:
        raise ValueError("the progress record does not match its checksum")
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        empty = {"packed": np.zeros(content["num_bytes"], np.uint8)}
        restored = reader.restore(folder / "state", args=ocp.args.StandardRestore(empty))
    packed = restored["packed"].tobytes()
    if _sha256(packed) != content["sha256"]:
        raise ValueError("the arrays do not match their checksum")
    arrays, start = {}, 0
    for name, (kind, shape) in content["arrays"].items():
        size = int(np.prod(shape, dtype=int))
        arrays[name] = np.frombuffer(packed, kind, size, start).reshape(shape)
        start += arrays[name].nbytes
    return arrays, content["progress"]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
