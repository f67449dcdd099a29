"""Temperatures and pressures that change along a run, within the compiled loop."""

from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from tensornet_jax.md.integrators.integrator import Integrator
from tensornet_jax.md.state import CompensatedSum, State, System

IntegratorT = TypeVar("IntegratorT", bound=Integrator)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LinearRamp:
    """A number of each structure that goes from one value to another and stays there.

    start: (B,) at step 0.
    end: (B,) from the last step of the ramp on.
    steps: () how many steps it takes.
    """

    start: Any
    end: Any
    steps: Any

    def at(self, step: Array) -> Array:
        """Return the value at a step, () int32: (B,)."""
        done = jnp.minimum(step.astype(self.start.dtype) / self.steps, 1)
        return self.start + (self.end - self.start) * done


def has_ramps(integrator: Integrator) -> bool:
    """Tell whether any number of an integrator changes along the run."""
    return any(map(_is_ramp, jax.tree.leaves(integrator, is_leaf=_is_ramp)))


def at_step(integrator: IntegratorT, step: Array) -> IntegratorT:
    """Return an integrator with every ramp replaced by its value at a step, () int32."""
    return jax.tree.map(
        lambda leaf: leaf.at(step) if _is_ramp(leaf) else leaf, integrator, is_leaf=_is_ramp
    )


def work_of_ramps(before: Integrator, after: Integrator, system: System, state: State) -> Array:
    """Return by how much the conserved quantity changes with an integrator's numbers, (B,) eV.

    Booked as heat, it leaves the conserved quantity of a run with ramps conserved. Potential and
    kinetic energy do not depend on these numbers, and are left out for the sake of float32.
    """
    nothing = jnp.zeros_like(state.energy)
    bare = state.replace(
        energy=nothing,
        velocities=jnp.zeros_like(state.velocities),
        heat=CompensatedSum.zero(nothing),
    )
    return after.conserved(system, bare) - before.conserved(system, bare)


def _is_ramp(leaf: Any) -> bool:
    return isinstance(leaf, LinearRamp)
