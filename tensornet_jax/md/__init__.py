"""Molecular dynamics on the device: everything between two samples in one compiled loop."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensornet_jax.md.config import CSVR, NPT, NVE, Langevin, NoseHoover, Ramp, Record
    from tensornet_jax.md.limits import SimulationError
    from tensornet_jax.md.relaxation import relax
    from tensornet_jax.md.sample import Sample
    from tensornet_jax.md.simulation import Simulation

__all__ = [
    "CSVR",
    "NPT",
    "NVE",
    "Langevin",
    "NoseHoover",
    "Ramp",
    "Record",
    "Sample",
    "Simulation",
    "SimulationError",
    "relax",
]

_HOMES = {
    "CSVR": "config",
    "NPT": "config",
    "NVE": "config",
    "Langevin": "config",
    "NoseHoover": "config",
    "Ramp": "config",
    "Record": "config",
    "Sample": "sample",
    "Simulation": "simulation",
    "SimulationError": "limits",
    "relax": "relaxation",
}


def __getattr__(name: str) -> Any:
    # Checking a configuration should not pay for importing jax and flax.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"tensornet_jax.md.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
