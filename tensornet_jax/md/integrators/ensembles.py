"""From the configuration of an ensemble, in fs, K and GPa, to its integrator, in internal units."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from tensornet_jax.md.config import CSVR, NPT, NVE, Ensemble, Langevin, NoseHoover, PerReplica, Ramp
from tensornet_jax.md.integrators.barostat import StochasticCellRescaling
from tensornet_jax.md.integrators.csvr import VelocityRescaling
from tensornet_jax.md.integrators.integrator import Integrator
from tensornet_jax.md.integrators.langevin import LangevinBaoab
from tensornet_jax.md.integrators.nose_hoover import NoseHooverChain
from tensornet_jax.md.integrators.ramps import LinearRamp
from tensornet_jax.md.integrators.verlet import VelocityVerlet
from tensornet_jax.md.state import BOLTZMANN, FEMTOSECOND
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


def first_value(value: PerReplica | Ramp) -> PerReplica:
    """Return what a number, or a ramp, is at the start of a run."""
    return value.start if isinstance(value, Ramp) else value


def largest_temperature(ensemble: Ensemble, count: int) -> np.ndarray:
    """Return the highest temperature a run comes to by intention, (B,) K."""
    value = ensemble.temperature
    ends = (value.start, value.end) if isinstance(value, Ramp) else (value,)
    return np.max([per_structure(each, count, "temperature") for each in ends], axis=0)


def make_integrator(
    ensemble: Ensemble,
    count: int,
    dtype: str,
    *,
    timestep: float,
    planes: np.ndarray | None = None,
) -> Integrator:
    """Return the integrator of an ensemble for a batch of structures.

    Args:
        ensemble: its configuration.
        count: number of structures B.
        dtype: precision of its arrays.
        timestep: fs.
        planes: (B, 3, 3) projectors on the planes of `shape: in_plane`; None for other shapes.

    Raises:
        ValueError: a number for each of some other number of structures, or a ramp without time.
    """

    def array(name: str, unit: float) -> Any:
        value = getattr(ensemble, name)
        if not isinstance(value, Ramp):
            return jnp.asarray(per_structure(value, count, name) * unit, dtype)
        if value.time is None:
            raise ValueError(f"the ramp of the {name} needs the time that it takes: give time, fs")
        start, end = (
            jnp.asarray(per_structure(each, count, name) * unit, dtype)
            for each in (value.start, value.end)
        )
        return LinearRamp(start, end, jnp.asarray(value.time / timestep, dtype))

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
            plane=None if planes is None else jnp.asarray(planes, dtype),
            shape=ensemble.shape,
        )
    raise TypeError(f"{type(ensemble).__name__} is not one of {Ensemble}")
