"""Constant temperature: canonical sampling through velocity rescaling."""

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int32

from tensornet_jax.md.draws import Draw, bounded_gamma
from tensornet_jax.md.state import State, System, accelerate, drift, step_keys

# Streams of random numbers; the barostat, which may come with this thermostat, has others.
_NORMAL, _GAMMA = 1, 2


def _normal(
    system: System, step: Int32[Array, ""], dtype: DTypeLike
) -> Float[Array, " structures"]:
    keys = step_keys(system, step, _NORMAL)
    return jax.vmap(lambda key: jax.random.normal(key, (), dtype))(keys)


def _gamma_shapes(system: System) -> Float[Array, " structures"]:
    # The sum of N_f − 1 squared normal numbers is twice a gamma variable.
    return 0.5 * jnp.maximum(system.degrees_of_freedom - 1, 0)


def _gamma(system: System, step: Int32[Array, ""], dtype: DTypeLike) -> Float[Array, " structures"]:
    keys, shapes = step_keys(system, step, _GAMMA), _gamma_shapes(system)
    return jax.vmap(lambda key, a: jax.random.gamma(key, jnp.maximum(a, 0.5), dtype=dtype))(
        keys, shapes
    )


def _gamma_in_few_kernels(
    system: System, step: Int32[Array, ""], dtype: DTypeLike
) -> Float[Array, " structures"]:
    shapes = jnp.maximum(_gamma_shapes(system), 0.5).astype(dtype)
    return bounded_gamma(step_keys(system, step, _GAMMA), shapes)


RESCALING = (Draw("normal", _normal), Draw("gamma", _gamma, _gamma_in_few_kernels))


def rescaled(
    system: System,
    state: State,
    thermal_energy: Float[Array, " structures"],
    decay: Float[Array, " structures"],
) -> State:
    """Scale all velocities of a structure by one random factor.

    The kinetic energy takes an exact step of its own stochastic dynamics, Eq. A7 of Bussi,
    Donadio & Parrinello, doi:10.1063/1.2408420; the change is booked as heat.

    Args:
        system: what stays.
        state: what is changed.
        thermal_energy: k_B·T, eV.
        decay: exp(−Δt/τ), what is kept of the old kinetic energy.
    """
    dtype = state.velocities.dtype
    kinetic = system.kinetic_energy(state.velocities)
    normal, gamma = (draw.of(system, state.step, dtype) for draw in RESCALING)
    others = jnp.where(_gamma_shapes(system) > 0, 2 * gamma, 0)
    moves = kinetic > 0
    ratio = 0.5 * thermal_energy / jnp.where(moves, kinetic, 1)
    fresh = (1 - decay) * ratio
    squared = decay + fresh * (normal**2 + others) + 2 * normal * jnp.sqrt(decay * fresh)
    # Rounding may leave a tiny negative number where both terms cancel.
    factor = jnp.sqrt(jnp.maximum(squared, 0))
    flips = normal + jnp.sqrt(decay / jnp.where(fresh > 0, fresh, 1)) < 0
    factor = jnp.where(flips & (fresh > 0), -factor, factor)
    factor = jnp.where(moves, factor, 1)
    velocities = state.velocities * factor[system.node_graph][:, None]
    return state.replace(velocities=velocities).heated(system.kinetic_energy(velocities) - kinetic)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class VelocityRescaling:
    """Velocity Verlet and the stochastic velocity rescaling of Bussi, Donadio & Parrinello (2007).

    Canonical, and gentle: it changes one number, so that diffusion and spectra are hardly touched.

    Conserved: kinetic + potential energy − heat.

    thermal_energy: k_B·T, eV.
    relaxation_time: τ, Å·√(amu/eV).
    """

    draws: ClassVar[tuple[Draw, ...]] = RESCALING

    thermal_energy: Float[Array, " structures"]
    relaxation_time: Float[Array, " structures"]

    needs_stress: bool = field(default=False, metadata={"static": True})
    changes_cell: bool = field(default=False, metadata={"static": True})

    def start(self, system: System, state: State) -> State:
        """Return the state with the integrator's variables at their start."""
        return state

    def advance(self, system: System, state: State) -> State:
        """Half a kick, and all of the drift."""
        return drift(system, accelerate(system, state))

    def finish(self, system: System, state: State) -> State:
        """The other half of the kick, and the thermostat."""
        decay = jnp.exp(-system.timestep / self.relaxation_time)
        return rescaled(system, accelerate(system, state), self.thermal_energy, decay)

    def conserved(self, system: System, state: State) -> Float[Array, " structures"]:
        """Return the conserved quantity of each structure, eV."""
        return state.energy + system.kinetic_energy(state.velocities) - state.heat.total
