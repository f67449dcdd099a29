"""Names that a package hands on from its modules, imported when someone asks for them.

Reading a version or checking a configuration should not pay for importing jax and flax.
"""

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return the `__getattr__` of a package: name → attribute of the module that defines it.

    ``homes`` has the module of every name, relative to the package.
    """

    def __getattr__(name: str) -> object:  # noqa: N807
        if name in homes:
            return getattr(import_module(f"{package}.{homes[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__
