"""Constant energy: velocity Verlet."""

from dataclasses import dataclass, field
from typing import ClassVar

import jax
from jax import Array
from jaxtyping import Float

from tensornet_jax.md.draws import Draw
from tensornet_jax.md.state import State, System, accelerate, drift


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class VelocityVerlet:
    """Velocity Verlet (Swope et al. 1982): symplectic, time-reversible, second order.

    An integrator is a pair of pure functions around the one evaluation of forces in a step:
    `advance` moves the atoms, `finish` completes the step with the forces at the new positions.

    Conserved: kinetic + potential energy.
    """

    draws: ClassVar[tuple[Draw, ...]] = ()

    needs_stress: bool = field(default=False, metadata={"static": True})
    changes_cell: bool = field(default=False, metadata={"static": True})

    def start(self, system: System, state: State) -> State:
        """Return the state with the integrator's variables at their start."""
        return state

    def advance(self, system: System, state: State) -> State:
        """Half a kick, and all of the drift."""
        return drift(system, accelerate(system, state))

    def finish(self, system: System, state: State) -> State:
        """The other half of the kick."""
        return accelerate(system, state)

    def conserved(self, system: System, state: State) -> Float[Array, " structures"]:
        """Return the conserved quantity of each structure, eV."""
        return state.energy + system.kinetic_energy(state.velocities) - state.heat.total
