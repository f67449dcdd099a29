"""Small models of torchmd-net as files, for tests."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def write_npz(path: Path, state: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> Path:
    """Write an archive that `read_checkpoint` reads, and return its path."""
    text = np.frombuffer(json.dumps(dict(config)).encode(), np.uint8)
    arrays: dict[str, Any] = {f"param/{name}": value for name, value in state.items()}
    np.savez(path, config_json=text, **arrays)
    return path
