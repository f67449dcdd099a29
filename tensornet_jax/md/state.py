"""What a simulation consists of on the device: what stays, what moves, and its random numbers.

Everything is per graph of a padded batch (B graphs, N atoms): many replicas, or structures of any
sizes, advance together as one large matrix product, each with its own thermostat.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ase import units
from jax import Array

FEMTOSECOND = units.fs
"""One fs in the internal unit of time, Å·√(amu/eV)."""

BOLTZMANN = units.kB
"""eV/K."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class System:
    """What stays as it is while a simulation runs.

    masses: (N,) amu; 1 for padding.
    mobile: (N,) bool, False for fixed atoms and padding.
    node_graph: (N,) int32 structure of each atom, sorted.
    atom_index: (N,) int32 index of each atom within its structure.
    node_mask: (N,) bool, False for padding.
    freedom: (B,) degrees of freedom that carry kinetic energy.
    timestep: () Å·√(amu/eV).
    keys: (B, 2) uint32 random key of each structure.
    """

    masses: Any
    mobile: Any
    node_graph: Any
    atom_index: Any
    node_mask: Any
    freedom: Any
    timestep: Any
    keys: Any

    @property
    def num_graphs(self) -> int:
        """Number of structures (static)."""
        return self.freedom.shape[0]

    def per_graph(self, values: Array) -> Array:
        """Sum over the atoms of each structure: (N, …) → (B, …)."""
        return jax.ops.segment_sum(
            values, self.node_graph, self.num_graphs, indices_are_sorted=True
        )

    def largest(self, values: Array) -> Array:
        """Largest of values ≥ 0 over the atoms of each structure, padding left out: (N,) → (B,)."""
        values = jnp.where(self.node_mask, values, 0)
        return jax.ops.segment_max(
            values, self.node_graph, self.num_graphs, indices_are_sorted=True
        )

    def kinetic_energy(self, velocities: Array) -> Array:
        """½ Σ m v² of each structure, (B,) eV."""
        return 0.5 * self.per_graph(self.masses * jnp.sum(velocities**2, axis=-1))

    def kinetic_tensor(self, velocities: Array) -> Array:
        """Σ m v vᵀ of each structure, (B, 3, 3) eV."""
        weighted = self.masses[:, None] * velocities
        return self.per_graph(weighted[:, :, None] * velocities[:, None, :])

    def temperature(self, velocities: Array) -> Array:
        """Kinetic temperature 2K/(N_f k_B), (B,) K; 0 where nothing can move."""
        freedom = jnp.maximum(self.freedom, 1)
        return 2 * self.kinetic_energy(velocities) / (freedom * BOLTZMANN)


class CompensatedSum(NamedTuple):
    """A running sum that keeps what rounding would lose (Kahan), so float32 can add for days.

    total: (B,) the sum.
    lost: (B,) what the last additions rounded away.
    """

    total: Array
    lost: Array

    @classmethod
    def zero(cls, like: Array) -> "CompensatedSum":
        """Return an empty sum with the shape of an array."""
        return cls(jnp.zeros_like(like), jnp.zeros_like(like))

    def add(self, value: Array) -> "CompensatedSum":
        """Return the sum with (B,) more."""
        value = value - self.lost
        total = self.total + value
        return CompensatedSum(total, (total - self.total) - value)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """What a step changes.

    ready: () bool, False until energy and forces belong to the positions.
    step: () int32 completed steps.
    positions: (N, 3) Å, in a frame that moves along with each structure.
    velocities: (N, 3) Å / (Å·√(amu/eV)).
    cell: (B, 3, 3) Å.
    energy: (B,) potential energy without the isolated atoms', eV.
    forces: (N, 3) eV/Å.
    stress: (B, 3, 3) eV/Å³; 0 where it is not computed.
    heat: (B,) energy that thermostat and barostat have put in, eV.
    extra: variables of the integrator.
    """

    ready: Any
    step: Any
    positions: Any
    velocities: Any
    cell: Any
    energy: Any
    forces: Any
    stress: Any
    heat: CompensatedSum
    extra: Any = ()

    def replace(self, **changes: Any) -> "State":
        """Return a copy with some fields replaced."""
        return replace(self, **changes)

    def heated(self, energy: Array) -> "State":
        """Return the state with (B,) eV more on the account of the thermostat."""
        return self.replace(heat=self.heat.add(energy))


def select(condition: Array, yes: Any, no: Any) -> Any:
    """Return one of two trees of the same structure; `condition` is () bool."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def accelerate(system: System, state: State, fraction: float = 0.5) -> State:
    """v ← v + fraction·Δt·F/m; fixed atoms stay at rest."""
    change = state.forces * (fraction * system.timestep / system.masses)[:, None]
    return state.replace(velocities=state.velocities + jnp.where(system.mobile[:, None], change, 0))


def drift(system: System, state: State, fraction: float = 1.0) -> State:
    """r ← r + fraction·Δt·v."""
    return state.replace(positions=state.positions + fraction * system.timestep * state.velocities)


# --- random numbers --------------------------------------------------------------------------


def replica_keys(seed: int, replicas: Array) -> Array:
    """Random keys of replicas, (B, 2) uint32: each depends on the seed and its own index alone."""
    base = jax.random.key(seed, impl="threefry2x32")
    keys = jax.vmap(lambda index: jax.random.fold_in(base, index))(replicas)
    return jax.random.key_data(keys)


def step_keys(system: System, step: Array, stream: int) -> Array:
    """One key per structure for one use of random numbers in one step, (B,) keys.

    Args:
        system: holds the structures' keys.
        step: () int32.
        stream: number of the use, so that two uses in one step are independent.
    """
    keys = jax.random.wrap_key_data(system.keys, impl="threefry2x32")
    return jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, step), stream))(keys)


def atom_normals(system: System, step: Array, stream: int, dtype: Any) -> Array:
    """Independent standard normal numbers, (N, 3).

    Each atom has its own key: neither its neighbors in the batch nor padding change its numbers.
    """
    keys = step_keys(system, step, stream)[system.node_graph]
    keys = jax.vmap(jax.random.fold_in)(keys, system.atom_index)
    return jax.vmap(lambda key: jax.random.normal(key, (3,), dtype))(keys)
