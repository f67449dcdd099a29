"""Read and write files of torch.save as numpy arrays; nothing a file holds is ever executed.

Such files are pickles, which may call whatever they name. torch's reader of weights alone rebuilds
tensors, numbers, text and containers of them, and refuses a file that names anything else; what it
may rebuild besides is ``ALLOWED``. torch comes with the extra ``interop``.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ALLOWED = (argparse.Namespace,)
"""What may lie in a file besides tensors and plain data. A Namespace holds the settings of a
training script; rebuilding it sets attributes and calls nothing. Checkpoints that Lightning writes
for torchmd-net need nothing at all: their settings are a dict."""

Settings = Mapping[str, Any]
"""Model arguments as another program wrote them; whatever reads a value checks it."""


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """Return what a file of torch.save holds.

    Args:
        path: the file, a zip archive (torch ≥ 1.6) or older.

    Returns:
        the same nest of dicts, lists and tuples. Tensors are numpy arrays of their dtype, bfloat16,
        which numpy lacks, as float32; namespaces are dicts; torch's dtypes, shapes and devices are
        text and tuples.

    Raises:
        ImportError: torch is not installed.
        ValueError: the file is of another kind, damaged, or names something that is not allowed;
            the message names it.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    with path.open("rb"):
        pass
    torch = _torch()
    try:
        with torch.serialization.safe_globals(list(ALLOWED)):
            content = torch.load(path, map_location="cpu", weights_only=True)
    # A pickle can make its reader raise whatever it likes.
    except Exception as error:
        foreign = _foreign_names(torch, path)
        if foreign:
            raise ValueError(
                f"{path} names {', '.join(foreign)}, which could run code when rebuilt, so it is "
                "refused: where you trust it, load it in the program that wrote it and save its "
                "state dict and its settings as plain dicts with torch.save"
            ) from None
        raise ValueError(
            f"{path} is not a file of torch.save, is damaged, or names what is not allowed: "
            f"{_reason(error)}"
        ) from error
    return _plain(torch, content, str(path))


def write_torch_file(path: str | os.PathLike[str], content: object) -> None:
    """Write a nest of dicts, lists, arrays and plain data with torch.save.

    Args:
        path: where to write.
        content: numpy arrays become tensors of the same dtype.

    Raises:
        ImportError: torch is not installed.
    """
    torch = _torch()

    def tensors(value: object) -> object:
        if isinstance(value, np.ndarray):
            return torch.from_numpy(np.array(value, order="C"))
        if isinstance(value, Mapping):
            return {key: tensors(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(tensors(item) for item in value)
        return value

    torch.save(tensors(content), path)


def write_module(
    path: str | os.PathLike[str], make: Callable[[ModuleType], object], dtype: str
) -> None:
    """Write a whole module with torch.save.

    Args:
        path: where to write.
        make: what makes the module of torch.
        dtype: torch's default while it is made, "float32" or "float64".

    Raises:
        ImportError: torch is not installed.
    """
    torch = _torch()
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        module = make(torch)
    finally:
        torch.set_default_dtype(before)
    torch.save(module, path)


def _torch() -> ModuleType:
    try:
        # By name, since no type checker finds what need not be installed.
        return import_module("torch")
    except ImportError:
        raise ImportError(
            "files of torch need torch: pip install 'tensornet_jax[interop]', or hand over numpy "
            "arrays (.npz)"
        ) from None


def _foreign_names(torch: ModuleType, path: Path) -> list[str]:
    """Return what a file names that is not allowed, as far as it can be told without opening it."""
    with torch.serialization.safe_globals(list(ALLOWED)):
        try:
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        except Exception:
            return []


def _reason(error: Exception) -> str:
    # Around the words that say what was found, torch recommends to read the file unsafely.
    text = str(error).partition("WeightsUnpickler error: ")[2] or str(error) or repr(error)
    return text.splitlines()[0].split(" Please ")[0].strip()


def _plain(torch: ModuleType, value: Any, where: str) -> object:
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_quantized:
            raise ValueError(f"{where} is a sparse or quantized tensor: make it a plain one first")
        value = value.detach()
        return (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return {key: _plain(torch, item, f"{where}: {key}") for key, item in value.items()}
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, list | tuple | set):
        return type(value)(_plain(torch, item, where) for item in value)
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    return value
