"""Which calculators a configuration may name: a file must not be able to import anything."""

import re
from collections.abc import Callable
from importlib import import_module

from ase.calculators.calculator import BaseCalculator

_OF_ASE = re.compile(r"ase\.calculators(\.[a-z_][a-z0-9_]*)+\.[A-Za-z_]\w*")

ALLOWED = (
    "tensornet_jax.Calculator",
    "tblite.ase.TBLite",
    "xtb.ase.calculator.XTB",
    "dftd3.ase.DFTD3",
    "dftd4.ase.DFTD4",
    "mace.calculators.MACECalculator",
)
"""Dotted names of classes, besides those of ``ase.calculators``."""


def check_allowed(name: str) -> None:
    """Raise ValueError unless a calculator may be named.

    Args:
        name: dotted.
    """
    if name not in ALLOWED and not _OF_ASE.fullmatch(name):
        raise ValueError(
            f"{name!r} is none of the calculators that may be named: ase.calculators.MODULE.CLASS, "
            f"{', '.join(ALLOWED)}; with another one use name: command"
        )


def calculator_class(name: str) -> Callable[..., BaseCalculator]:
    """Return the class of an allowed calculator.

    Args:
        name: dotted.

    Raises:
        ValueError: it may not be named, or there is no such class.
        ImportError: its package is not installed.
    """
    check_allowed(name)
    home, _, own = name.rpartition(".")
    try:
        module = import_module(home)
    except ImportError as error:
        raise ImportError(
            f"{name}: {home} cannot be imported ({error}): install its package, or name another "
            "calculator"
        ) from None
    found = getattr(module, own, None)
    if not (isinstance(found, type) and issubclass(found, BaseCalculator)):
        raise ValueError(f"{name}: {home} has no calculator of this name")
    return found
