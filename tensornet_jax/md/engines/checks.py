"""Thresholds of standard deviations along a simulation, structure by structure.

A structure whose model is no longer sure of it stays where it is from then on, and the others go
on; or it is only marked. What is too large is told here for every engine: with JAX's arrays inside
a compiled loop, and with NumPy's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int, Int32

from tensornet_jax.graph.arrays import ArrayT, library_of
from tensornet_jax.md.config import Check, Thresholds
from tensornet_jax.md.state import State, System

NEVER = -1
"""In place of the number of a step."""


class Checks(NamedTuple):
    """What is checked; fixed when the loop is compiled.

    every: steps between two checks; step 0 is the first.
    names: of the deviations.
    """

    every: int
    names: tuple[str, ...]

    @classmethod
    def of(cls, check: Check | None) -> "Checks | None":
        """Return what a configuration asks for."""
        return None if check is None else cls(check.every, check.names)


class Tolerances(NamedTuple, Generic[ArrayT]):
    """Deviations above which a structure stops, and is marked; infinite where there is no limit.

    stop: eV, eV/Å or eV/Å³.
    mark: likewise.
    """

    stop: Float[ArrayT, " names"]
    mark: Float[ArrayT, " names"]

    @classmethod
    def of(cls, check: Check, dtype: DTypeLike) -> "Tolerances[np.ndarray]":
        """Return those of a configuration, in the order of its names."""

        def array(thresholds: Thresholds | None) -> np.ndarray:
            given = {} if thresholds is None else thresholds.given
            return np.array([given.get(name, np.inf) for name in check.names], dtype)

        return Tolerances(array(check.stop), array(check.mark))


class Checked(NamedTuple, Generic[ArrayT]):
    """What the checks have found so far.

    largest: of each deviation in each structure, at the last check.
    stopped: step at which each stopped; `NEVER`.
    marked: last step at which each was marked; `NEVER`.
    """

    largest: Float[ArrayT, "structures names"]
    stopped: Int32[ArrayT, " structures"]
    marked: Int32[ArrayT, " structures"]

    @property
    def holds(self) -> Bool[ArrayT, " structures"]:
        """Which structures stay where they are."""
        return library_of(self.stopped).not_equal(self.stopped, NEVER)

    def after(
        self,
        tolerances: Tolerances[ArrayT],
        due: Bool[ArrayT, ""],
        step: Int32[ArrayT, ""],
        largest: Float[ArrayT, "structures names"],
    ) -> "Checked[ArrayT]":
        """Return what is known after a step.

        Args:
            tolerances: what is too large.
            due: whether the step is one of a check.
            step: its number.
            largest: of each deviation now.
        """
        xp = library_of(largest)
        unsure = due & _too_large(largest, tolerances.stop) & ~self.holds
        doubtful = due & _too_large(largest, tolerances.mark)
        return Checked(
            xp.where(due, largest, self.largest),
            xp.where(unsure, step, self.stopped),
            xp.where(doubtful, step, self.marked),
        )


def _too_large(
    largest: Float[ArrayT, "structures names"], limits: Float[ArrayT, " names"]
) -> Bool[ArrayT, " structures"]:
    """Return where a deviation exceeds its limit; NaN exceeds every one, but not where is none."""
    exceeds = (limits < np.inf) & ~(largest <= limits)
    return library_of(largest).any(exceeds, axis=1)


def compared(name: str, values: ArrayT) -> ArrayT:
    """Return what of a deviation is compared with its threshold: of forces the length.

    Args:
        name: of the deviation.
        values: as `predict` gives them, (..., 3) of forces.
    """
    if name != "forces_std":
        return values
    # Of a vector whose components are not sure, this does not depend on the axes.
    xp = library_of(values)
    return xp.sqrt(xp.sum(values**2, axis=-1))


def with_checks(state: State, check: Check | None, num_structures: int) -> State:
    """Return the state of a simulation with what its checks have found so far: nothing."""
    if check is None:
        return state
    never = jnp.full(num_structures, NEVER, jnp.int32)
    largest = jnp.zeros((num_structures, len(check.names)), state.positions.dtype)
    return state.replace(checked=Checked(largest, never, jnp.array(never)))


def largest_in_structures(
    system: System, outputs: Mapping[str, Array], names: Sequence[str]
) -> Float[Array, "structures names"]:
    """Return the largest of each deviation: of atoms, of vectors' lengths, of components.

    Args:
        system: whose structures they are.
        outputs: deviations as `predict` gives them.
        names: of those that are wanted, in order.
    """
    columns = []
    for name in names:
        values = compared(name, outputs[name])
        if name in ("forces_std", "energies_std"):
            values = system.largest(values)
        columns.append(jnp.max(values.reshape(len(values), -1), axis=1))
    return jnp.stack(columns, axis=1)


def held(system: System, holds: Bool[Array, " structures"], before: State, now: State) -> State:
    """Return a state in which some structures are as they were before.

    Args:
        system: whose structures they are.
        holds: which stay as they were.
        before: their state.
        now: that of the others.
    """
    of_atoms = holds[system.node_graph]

    def chosen(old: Array, new: Array) -> Array:
        if new.ndim == 0 or new.shape[0] not in (len(of_atoms), len(holds)):
            return new
        # One of the atoms is padding: there are more of them than structures.
        stays = of_atoms if new.shape[0] == len(of_atoms) else holds
        return jnp.where(stays.reshape(-1, *[1] * (new.ndim - 1)), old, new)

    kept = jax.tree.map(chosen, before, now)
    return kept.replace(checked=now.checked)


@dataclass(frozen=True)
class Findings:
    """What the checks have found, on the host.

    largest: of each deviation in each structure at the last check, by name.
    stopped: step at which each stopped; `NEVER`.
    marked: last step at which each was marked; `NEVER`.
    """

    largest: Mapping[str, Float[np.ndarray, " structures"]]
    stopped: Int[np.ndarray, " structures"]
    marked: Int[np.ndarray, " structures"]

    @classmethod
    def of(cls, checks: Checks, checked: Checked[Array] | Checked[np.ndarray]) -> "Findings":
        """Bring them to the host."""
        columns = np.asarray(checked.largest, np.float64).T
        largest = dict(zip(checks.names, columns, strict=True))
        return cls(largest, np.array(checked.stopped), np.array(checked.marked))

    @property
    def all_stopped(self) -> bool:
        """Whether nothing moves any more."""
        return bool((self.stopped != NEVER).all())

    def notes(self, index: int, step: int) -> dict[str, float | int | bool]:
        """Return what a frame of one structure says of it."""
        found: dict[str, float | int | bool] = {
            f"largest_{name}": float(values[index]) for name, values in self.largest.items()
        }
        found["uncertain"] = bool(step in (self.marked[index], self.stopped[index]))
        if self.stopped[index] != NEVER:
            found["uncertain"] = True
            found["stopped_at_step"] = int(self.stopped[index])
        return found
