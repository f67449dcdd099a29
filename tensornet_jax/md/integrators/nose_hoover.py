"""Constant temperature: Nosé–Hoover chains."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.md.draws import Draw
from tensornet_jax.md.state import State, System, accelerate, drift

# Suzuki's fourth-order weights: the chain is integrated in so many parts.
_OUTER = 1 / (4 - 4 ** (1 / 3))
SUZUKI_YOSHIDA = (_OUTER, _OUTER, 1 - 4 * _OUTER, _OUTER, _OUTER)


class Chain(NamedTuple):
    """Variables of the thermostats.

    position: ξ, without unit.
    velocity: dξ/dt, 1/(Å·√(amu/eV)).
    """

    position: Float[Array, "structures thermostats"]
    velocity: Float[Array, "structures thermostats"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoseHooverChain:
    """Velocity Verlet between two half steps of a Nosé–Hoover chain.

    Martyna, Tuckerman, Tobias & Klein, doi:10.1080/00268979600100761, with masses
    Q₁ = N_f k_B T τ² and Q_k = k_B T τ². Deterministic and time-reversible.

    Conserved: kinetic + potential energy + Σ ½ Q_k ξ̇_k² + N_f k_B T ξ₁ + k_B T Σ_{k>1} ξ_k.

    thermal_energy: k_B·T, eV.
    relaxation_time: τ, Å·√(amu/eV).
    length: number of thermostats M in the chain (static).
    """

    draws: ClassVar[tuple[Draw, ...]] = ()

    thermal_energy: Float[Array, " structures"]
    relaxation_time: Float[Array, " structures"]
    length: int = field(default=3, metadata={"static": True})

    needs_stress: bool = field(default=False, metadata={"static": True})
    changes_cell: bool = field(default=False, metadata={"static": True})

    def start(self, system: System, state: State) -> State:
        """Return the state with every thermostat at rest."""
        zero = jnp.zeros((system.num_graphs, self.length), state.velocities.dtype)
        return state.replace(extra=Chain(zero, zero))

    def advance(self, system: System, state: State) -> State:
        """Half a step of the chain, half a kick, and all of the drift."""
        return drift(system, accelerate(system, self._thermostat(system, state)))

    def finish(self, system: System, state: State) -> State:
        """The other half of the kick and of the chain."""
        return self._thermostat(system, accelerate(system, state))

    def conserved(self, system: System, state: State) -> Float[Array, " structures"]:
        """Return the conserved quantity of each structure, eV."""
        chain: Chain = state.extra
        kinetic = 0.5 * jnp.sum(self._masses(system) * chain.velocity**2, axis=-1)
        potential = self.thermal_energy * (
            system.degrees_of_freedom * chain.position[:, 0]
            + jnp.sum(chain.position[:, 1:], axis=-1)
        )
        energy = state.energy + system.kinetic_energy(state.velocities)
        return energy + kinetic + potential - state.heat.total

    def _masses(self, system: System) -> Float[Array, "structures thermostats"]:
        """Q in eV·(Å·√(amu/eV))²."""
        one = self.thermal_energy * self.relaxation_time**2
        first = jnp.maximum(system.degrees_of_freedom, 1) * one
        return jnp.stack([first] + [one] * (self.length - 1), axis=-1)

    def _thermostat(self, system: System, state: State) -> State:
        """Half a timestep of the chain; velocities are scaled by one factor."""
        chain: Chain = state.extra
        masses = self._masses(system)
        last = self.length - 1
        kinetic = system.kinetic_energy(state.velocities)
        position, velocity = list(chain.position.T), list(chain.velocity.T)
        factor = jnp.ones_like(kinetic)

        def pushed(k: int, dt: Array) -> Array:
            if k == 0:
                force = 2 * kinetic - system.degrees_of_freedom * self.thermal_energy
            else:
                force = masses[:, k - 1] * velocity[k - 1] ** 2 - self.thermal_energy
            damping = 1.0 if k == last else jnp.exp(-dt / 8 * velocity[k + 1])
            return (velocity[k] * damping + dt / 4 * force / masses[:, k]) * damping

        for weight in SUZUKI_YOSHIDA:
            dt = weight * system.timestep
            for k in reversed(range(self.length)):
                velocity[k] = pushed(k, dt)
            scale = jnp.exp(-dt / 2 * velocity[0])
            factor, kinetic = factor * scale, kinetic * scale**2
            position = [x + dt / 2 * v for x, v in zip(position, velocity, strict=True)]
            for k in range(self.length):
                velocity[k] = pushed(k, dt)
        return state.replace(
            velocities=state.velocities * factor[system.node_graph][:, None],
            extra=Chain(jnp.stack(position, axis=-1), jnp.stack(velocity, axis=-1)),
        )
