"""Molecular dynamics on the device: everything between two samples in one compiled loop."""

from typing import TYPE_CHECKING

from tensornet_jax.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from tensornet_jax.md.config import Record
    from tensornet_jax.md.engines.device import Simulation
    from tensornet_jax.md.ensembles.numbers import Ramp
    from tensornet_jax.md.ensembles.registry import CSVR, NPT, NVE, Langevin, NoseHoover
    from tensornet_jax.md.limits import SimulationError
    from tensornet_jax.md.relaxation import relax
    from tensornet_jax.md.sample import Sample

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

__getattr__ = lazy_names(
    __name__,
    {
        "CSVR": "ensembles.registry",
        "NPT": "ensembles.registry",
        "NVE": "ensembles.registry",
        "Langevin": "ensembles.registry",
        "NoseHoover": "ensembles.registry",
        "Ramp": "ensembles.numbers",
        "Record": "config",
        "Sample": "sample",
        "Simulation": "engines.device",
        "SimulationError": "limits",
        "relax": "relaxation",
    },
)
