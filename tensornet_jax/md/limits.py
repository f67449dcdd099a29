"""When a simulation has exploded, and how that is told."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int32

from tensornet_jax.md.state import State, System

# Largest change of ln V in one step.
LARGEST_DILATION = 0.3


REMEDY = "Use a shorter timestep, relax the structure first, or a model trained on such structures"


class Status(enum.IntEnum):
    """Why a chunk ended."""

    DONE = 0
    NO_LIST = 1
    MOTION = 2
    CELL = 3
    ENERGY = 4
    TEMPERATURE = 5


class SimulationError(RuntimeError):
    """A simulation that cannot go on; the text names step, structure, atom and remedy.

    step: the last good step, whose state the simulation still holds.
    """

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Limits:
    """What no sound simulation exceeds.

    temperature: K.
    displacement: Å in one step.
    """

    temperature: Float[Array, " structures"]
    displacement: Float[Array, ""]


class Report(NamedTuple):
    """The step a chunk ended at, done or not.

    status: a `Status`.
    positions: Å it would have evaluated.
    cell: Å.
    velocities: Å/(Å·√(amu/eV)).
    energy: eV.
    temperature: K.
    left: Å the neighbor lists have left.
    """

    status: Int32[Array, ""]
    positions: Float[Array, "atoms 3"]
    cell: Float[Array, "structures 3 3"]
    velocities: Float[Array, "atoms 3"]
    energy: Float[Array, " structures"]
    temperature: Float[Array, " structures"]
    left: Float[Array, " structures"]


def status_of(
    system: System,
    limits: Limits,
    before: State,
    moved: State,
    left: Float[Array, " structures"],
    temperature: Float[Array, " structures"],
) -> Int32[Array, ""]:
    """Return the first thing that is wrong with a step, in the order of its causes."""
    fastest = jnp.max(system.largest(jnp.sum(moved.velocities**2, axis=-1)))
    sound = system.all_finite(moved.positions)
    # Written so that NaN counts as too fast.
    sound = sound & (jnp.sqrt(fastest) * system.timestep <= limits.displacement)
    periodic = jnp.abs(jnp.linalg.det(before.cell)) > 0
    ratio = jnp.abs(
        jnp.linalg.det(moved.cell) / jnp.where(periodic, jnp.linalg.det(before.cell), 1)
    )
    dilation = jnp.abs(jnp.log(jnp.where(periodic, ratio, 1)))
    causes = (
        (Status.MOTION, sound),
        (Status.CELL, jnp.all(dilation <= LARGEST_DILATION)),
        (Status.NO_LIST, jnp.all(left >= 0)),
        (Status.ENERGY, jnp.all(jnp.isfinite(moved.energy)) & system.all_finite(moved.forces)),
        (Status.TEMPERATURE, jnp.all(temperature <= limits.temperature)),
    )
    status = jnp.int32(Status.DONE)
    for cause, fine in reversed(causes):
        status = jnp.where(fine, status, jnp.int32(cause))
    return status


def explanation(
    report: Report,
    before: State,
    timestep: float,
    limits: Limits,
    atoms: Sequence[slice],
    symbols: Sequence[Sequence[str]],
) -> str:
    """Say in one sentence what went wrong with the step of a report, and what to do.

    Args:
        report: the step that was not done.
        before: the last good state.
        timestep: Å·√(amu/eV).
        limits: what it exceeds.
        atoms: rows of each structure.
        symbols: chemical symbols of each structure.
    """
    status, step = Status(int(report.status)), int(before.step)
    where = f"the simulation explodes at step {step + 1}"
    if not bool(before.ready):
        where = "the simulation cannot start"
    count = atoms[-1].stop
    if status in (Status.MOTION, Status.NO_LIST):
        speeds = np.linalg.norm(np.asarray(report.velocities, np.float64)[:count], axis=1)
        speeds = np.where(np.isfinite(speeds), speeds, np.inf)
        atom = int(speeds.argmax())
        length = speeds[atom] * timestep
        return (
            f"{where}: {_name(atom, atoms, symbols)} moves {length:.3g} Å in one step "
            f"(limit {float(limits.displacement):g} Å). {REMEDY}"
        )
    values = {
        Status.CELL: np.abs(np.linalg.det(np.asarray(report.cell, np.float64))),
        Status.ENERGY: np.asarray(report.energy, np.float64),
        Status.TEMPERATURE: np.asarray(report.temperature, np.float64),
    }[status]
    if status is Status.TEMPERATURE:
        highest = np.asarray(limits.temperature)
        graph = int(np.argmin(values <= highest))
        what = f"has a temperature of {values[graph]:.6g} K (limit {highest[graph]:g} K)"
    elif status is Status.ENERGY:
        temperatures = np.asarray(report.temperature, np.float64)
        graph = int(np.argmin(np.isfinite(values) & np.isfinite(temperatures)))
        what = "has an energy or forces that are not finite"
    else:
        size = np.abs(np.linalg.det(np.asarray(before.cell, np.float64)))
        graph = int(np.nan_to_num(abs(np.log(values / size)), nan=np.inf).argmax())
        what = f"changes its volume from {size[graph]:.6g} to {values[graph]:.6g} Å³"
    here = atoms[graph]
    speeds = np.linalg.norm(np.asarray(report.velocities, np.float64)[here], axis=1)
    fastest = int(np.where(np.isfinite(speeds), speeds, np.inf).argmax()) + here.start
    name = _name(fastest, atoms, symbols)
    return f"{where}: structure {graph} {what}; the fastest is {name}. {REMEDY}"


def _name(atom: int, atoms: Sequence[slice], symbols: Sequence[Sequence[str]]) -> str:
    graph = next(k for k, here in enumerate(atoms) if atom < here.stop)
    index = atom - atoms[graph].start
    return f"atom {index} ({symbols[graph][index]}) of structure {graph}"
