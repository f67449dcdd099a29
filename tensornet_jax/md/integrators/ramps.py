"""Temperatures and pressures that change along a run, within the compiled loop."""

from dataclasses import dataclass
from typing import TypeGuard, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int32

from tensornet_jax.md.integrators.integrator import Integrator
from tensornet_jax.md.state import CompensatedSum, State, System

IntegratorT = TypeVar("IntegratorT", bound=Integrator)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LinearRamp:
    """A number of each structure that goes from one value to another and stays there.

    start: at step 0.
    end: from the last step of the ramp on.
    steps: how many it takes.
    """

    start: Float[Array, " structures"]
    end: Float[Array, " structures"]
    steps: Float[Array, ""]

    def at(self, step: Int32[Array, ""]) -> Float[Array, " structures"]:
        """Return the value at a step."""
        done = jnp.minimum(step.astype(self.start.dtype) / self.steps, 1)
        return self.start + (self.end - self.start) * done


def has_ramps(integrator: Integrator) -> bool:
    """Tell whether any number of an integrator changes along the run."""
    return any(map(_is_ramp, jax.tree.leaves(integrator, is_leaf=_is_ramp)))


def at_step(integrator: IntegratorT, step: Int32[Array, ""]) -> IntegratorT:
    """Return an integrator with every ramp replaced by its value at a step."""
    return jax.tree.map(
        lambda leaf: leaf.at(step) if _is_ramp(leaf) else leaf, integrator, is_leaf=_is_ramp
    )


def work_of_ramps(
    before: Integrator, after: Integrator, system: System, state: State
) -> Float[Array, " structures"]:
    """Return by how much the conserved quantity changes with an integrator's numbers, eV.

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


def _is_ramp(leaf: object) -> TypeGuard[LinearRamp]:
    return isinstance(leaf, LinearRamp)
