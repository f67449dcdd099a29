"""From the configuration of an ensemble, in fs, K and GPa, to its integrator, in internal units."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from tensornet_jax.md.barostat import StochasticCellRescaling
from tensornet_jax.md.chunk import Integrator
from tensornet_jax.md.config import CSVR, NPT, NVE, Ensemble, Langevin, NoseHoover, PerReplica
from tensornet_jax.md.csvr import VelocityRescaling
from tensornet_jax.md.langevin import LangevinBaoab
from tensornet_jax.md.nose_hoover import NoseHooverChain
from tensornet_jax.md.state import BOLTZMANN, FEMTOSECOND
from tensornet_jax.md.verlet import VelocityVerlet
from tensornet_jax.units import conversion_factor

GIGAPASCAL = conversion_factor("GPa", "stress")
"""eV/Å³."""


def per_structure(value: PerReplica, count: int, name: str) -> np.ndarray:
    """Return (B,) float64.

    Raises:
        ValueError: neither one number nor as many as there are structures.
    """
    if np.ndim(value) and len(np.atleast_1d(value)) != count:
        raise ValueError(
            f"{name} has {len(np.atleast_1d(value))} numbers for {count} structures: give one, or "
            "one for each"
        )
    return np.broadcast_to(np.asarray(value, np.float64), (count,)).copy()


def make_integrator(ensemble: Ensemble, count: int, dtype: str) -> Integrator:
    """Return the integrator of an ensemble for a batch of structures.

    Args:
        ensemble: its configuration.
        count: number of structures B.
        dtype: precision of its arrays.
    """

    def array(name: str, unit: float) -> Array:
        return jnp.asarray(per_structure(getattr(ensemble, name), count, name) * unit, dtype)

    if isinstance(ensemble, NVE):
        per_structure(ensemble.temperature, count, "temperature")
        return VelocityVerlet()
    common: dict[str, Any] = {"thermal_energy": array("temperature", BOLTZMANN)}
    if isinstance(ensemble, Langevin):
        return LangevinBaoab(**common, friction=array("friction", 1 / FEMTOSECOND))
    common["relaxation_time"] = array("relaxation_time", FEMTOSECOND)
    if isinstance(ensemble, NoseHoover):
        return NoseHooverChain(**common, length=ensemble.chain_length)
    if isinstance(ensemble, CSVR):
        return VelocityRescaling(**common)
    if isinstance(ensemble, NPT):
        return StochasticCellRescaling(
            **common,
            pressure=array("pressure", GIGAPASCAL),
            pressure_time=array("pressure_time", FEMTOSECOND),
            compressibility=array("compressibility", 1 / GIGAPASCAL),
            shape=ensemble.shape,
        )
    raise TypeError(f"{type(ensemble).__name__} is not one of {Ensemble}")
