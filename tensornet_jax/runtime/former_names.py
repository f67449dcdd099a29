"""Modules under the names that earlier versions documented: importing them causes a warning."""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

FORMER_NAMES = {
    "tensornet_jax.compilation_cache": "tensornet_jax.runtime.compilation_cache",
    "tensornet_jax.compress": "tensornet_jax.potential.compress",
    "tensornet_jax.memory": "tensornet_jax.runtime.memory",
    "tensornet_jax.model_file": "tensornet_jax.potential.model_file",
    "tensornet_jax.ops.edge_frames": "tensornet_jax.ops.rotations.edge_frames",
    "tensornet_jax.ops.message": "tensornet_jax.ops.messages.message",
    "tensornet_jax.prediction": "tensornet_jax.potential.prediction",
    "tensornet_jax.trained_on": "tensornet_jax.potential.trained_on",
    "tensornet_jax.train.datasets": "tensornet_jax.train.data.datasets",
}
"""Former name → name."""


class _FormerNames(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in FORMER_NAMES else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = FORMER_NAMES[module.__name__]
        warnings.warn(f"{module.__name__} is now {name}", DeprecationWarning, stacklevel=2)
        # The one module under both names: what is set or patched in one is so in the other.
        sys.modules[module.__name__] = import_module(name)


def keep_former_names() -> None:
    """Let the former names be imported. Calling it again changes nothing."""
    if not any(isinstance(finder, _FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(_FormerNames())
