"""Constant temperature: Langevin dynamics."""

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int32

from tensornet_jax.md.draws import Draw
from tensornet_jax.md.state import State, System, accelerate, atom_normals, drift


def _noise(system: System, step: Int32[Array, ""], dtype: DTypeLike) -> Float[Array, "atoms 3"]:
    return atom_normals(system, step, 0, dtype)


NOISE = Draw("noise", _noise)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LangevinBaoab:
    """Langevin dynamics in the BAOAB splitting (Leimkuhler & Matthews, doi:10.1093/amrx/abs010).

    Configurations of a harmonic well have the exact distribution at any stable timestep. Momentum
    is not conserved. The energy that the O step puts in is booked as heat.

    Conserved: kinetic + potential energy − heat, up to the error of the timestep.

    thermal_energy: k_B·T, eV.
    friction: 1/(Å·√(amu/eV)).
    """

    draws: ClassVar[tuple[Draw, ...]] = (NOISE,)

    thermal_energy: Float[Array, " structures"]
    friction: Float[Array, " structures"]

    needs_stress: bool = field(default=False, metadata={"static": True})
    changes_cell: bool = field(default=False, metadata={"static": True})

    def start(self, system: System, state: State) -> State:
        """Return the state with the integrator's variables at their start."""
        return state

    def advance(self, system: System, state: State) -> State:
        """B, A, O, A."""
        state = drift(system, accelerate(system, state), 0.5)
        before = system.kinetic_energy(state.velocities)
        kept = jnp.exp(-self.friction * system.timestep)[system.node_graph]
        width = jnp.sqrt((1 - kept**2) * self.thermal_energy[system.node_graph] / system.masses)
        noise = NOISE.of(system, state.step, state.velocities.dtype)
        velocities = kept[:, None] * state.velocities + width[:, None] * noise
        velocities = jnp.where(system.mobile[:, None], velocities, 0)
        state = state.replace(velocities=velocities)
        state = state.heated(system.kinetic_energy(velocities) - before)
        return drift(system, state, 0.5)

    def finish(self, system: System, state: State) -> State:
        """B."""
        return accelerate(system, state)

    def conserved(self, system: System, state: State) -> Float[Array, " structures"]:
        """Return the conserved quantity of each structure, eV."""
        return state.energy + system.kinetic_energy(state.velocities) - state.heat.total
