"""What a simulation consists of on the device: what stays, what moves, and its random numbers.

Everything is a padded batch of structures: many replicas, or structures of any sizes, advance
together as one large matrix product, each with its own thermostat.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from ase import units
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int32, Key, PyTree, UInt32

from tensornet_jax.md.draws import Ahead
from tensornet_jax.ops.segments import sum_of_segments
from tensornet_jax.units import conversion_factor

FEMTOSECOND = units.fs
"""One fs in the internal unit of time, Å·√(amu/eV)."""

BOLTZMANN = units.kB
"""eV/K."""

GIGAPASCAL = conversion_factor("GPa", "stress")
"""eV/Å³."""

TreeT = TypeVar("TreeT", bound=PyTree[Array])


class Rows(NamedTuple):
    """Where the atoms of each structure are.

    numbers: of their rows, filled up with that of a row that is not there.
    sizes: how many they are.
    """

    numbers: Int32[Array, "structures most"]
    sizes: Int32[Array, " structures"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class System:
    """What stays as it is while a simulation runs.

    masses: amu; 1 for padding.
    mobile: False for fixed atoms and padding.
    node_graph: structure of each atom, sorted.
    atom_index: index of each atom within its structure.
    node_mask: False for padding.
    degrees_of_freedom: how many carry kinetic energy.
    timestep: Å·√(amu/eV).
    keys: random key of each structure.
    rows: None where sums over atoms are taken atom by atom in order, as a CPU does it fastest.
    ahead: random numbers drawn before a block of steps; None where each step draws its own.
    """

    masses: Float[Array, " atoms"]
    mobile: Bool[Array, " atoms"]
    node_graph: Int32[Array, " atoms"]
    atom_index: Int32[Array, " atoms"]
    node_mask: Bool[Array, " atoms"]
    degrees_of_freedom: Float[Array, " structures"]
    timestep: Float[Array, ""]
    keys: UInt32[Array, "structures 2"]
    rows: Rows | None = None
    ahead: Ahead | None = None

    @property
    def num_graphs(self) -> int:
        """Number of structures (static)."""
        return self.degrees_of_freedom.shape[0]

    def per_graph(self, values: Float[Array, "atoms ..."]) -> Float[Array, "structures ..."]:
        """Sum over the atoms of each structure."""
        if self.rows is not None:
            return jnp.sum(self._of_structures(values, self.rows.numbers), axis=1)
        return sum_of_segments(values, self.node_graph, self.num_graphs)

    def num_atoms(self, dtype: DTypeLike) -> Float[Array, " structures"]:
        """Number of atoms of each structure, padding left out."""
        if self.rows is not None:
            return self.rows.sizes.astype(dtype)
        return self.per_graph(self.node_mask.astype(dtype))

    def largest(self, values: Float[Array, " atoms"]) -> Float[Array, " structures"]:
        """Largest of values ≥ 0 over the atoms of each structure, padding left out."""
        values = jnp.where(self.node_mask, values, 0)
        if self.rows is not None:
            return jnp.max(self._of_structures(values, self.rows.numbers), axis=1)
        return jax.ops.segment_max(
            values, self.node_graph, self.num_graphs, indices_are_sorted=True
        )

    def all_finite(self, values: Float[Array, "atoms 3"]) -> Bool[Array, ""]:
        """Tell whether no value is infinite or not a number."""
        finite = jnp.isfinite(values)
        if self.rows is not None:
            # Row by row, like the sums over atoms, whose kernel it can share.
            finite = finite[:, 0] & finite[:, 1] & finite[:, 2]
        return jnp.all(finite)

    def _of_structures(
        self, values: Float[Array, "atoms ..."], rows: Int32[Array, "structures most"]
    ) -> Float[Array, "structures most ..."]:
        if self.num_graphs == 1:
            return values[None]
        return values.at[rows].get(mode="fill", fill_value=0, indices_are_sorted=True)

    def kinetic_energy(self, velocities: Float[Array, "atoms 3"]) -> Float[Array, " structures"]:
        """½ Σ m v² of each structure, eV."""
        return 0.5 * self.per_graph(self.masses * jnp.sum(velocities**2, axis=-1))

    def kinetic_tensor(self, velocities: Float[Array, "atoms 3"]) -> Float[Array, "structures 3 3"]:
        """Σ m v vᵀ of each structure, eV."""
        weighted = self.masses[:, None] * velocities
        return self.per_graph(weighted[:, :, None] * velocities[:, None, :])

    def temperature(self, velocities: Float[Array, "atoms 3"]) -> Float[Array, " structures"]:
        """Kinetic temperature 2K/(N_f k_B), K; 0 where nothing can move."""
        count = jnp.maximum(self.degrees_of_freedom, 1)
        return 2 * self.kinetic_energy(velocities) / (count * BOLTZMANN)


class CompensatedSum(NamedTuple):
    """A running sum that keeps what rounding would lose (Kahan), so float32 can add for days.

    total: the sum.
    lost: what the last additions rounded away.
    """

    total: Float[Array, " structures"]
    lost: Float[Array, " structures"]

    @classmethod
    def zero(cls, like: Float[Array, " structures"]) -> "CompensatedSum":
        """Return an empty sum with the shape of an array."""
        return cls(jnp.zeros_like(like), jnp.zeros_like(like))

    def add(self, value: Float[Array, " structures"]) -> "CompensatedSum":
        """Return the sum with a value more."""
        value = value - self.lost
        total = self.total + value
        return CompensatedSum(total, (total - self.total) - value)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """What a step changes.

    ready: False until energy and forces belong to the positions.
    step: completed steps.
    positions: Å, in a frame that moves along with each structure.
    velocities: Å / (Å·√(amu/eV)).
    cell: Å.
    energy: potential energy without the isolated atoms', eV.
    forces: eV/Å.
    stress: eV/Å³; 0 where it is not computed.
    heat: energy that thermostat and barostat have put in, eV.
    extra: variables of the integrator.
    checked: what checks of standard deviations have found; None without.
    """

    ready: Bool[Array, ""]
    step: Int32[Array, ""]
    positions: Float[Array, "atoms 3"]
    velocities: Float[Array, "atoms 3"]
    cell: Float[Array, "structures 3 3"]
    energy: Float[Array, " structures"]
    forces: Float[Array, "atoms 3"]
    stress: Float[Array, "structures 3 3"]
    heat: CompensatedSum
    extra: PyTree = ()
    checked: PyTree = None

    def replace(self, **changes: PyTree[Array]) -> "State":
        """Return a copy with some fields replaced."""
        return replace(self, **changes)

    def heated(self, energy: Float[Array, " structures"]) -> "State":
        """Return the state with an energy, eV, more on the account of the thermostat."""
        return self.replace(heat=self.heat.add(energy))


def state_at_rest(
    positions: Float[Array, "atoms 3"], cell: Float[Array, "structures 3 3"]
) -> State:
    """Return the state of atoms that do not move and whose forces nobody knows yet; in Å."""
    nothing = jnp.zeros(len(cell), positions.dtype)
    return State(
        ready=jnp.asarray(False),
        step=jnp.int32(0),
        positions=positions,
        velocities=jnp.zeros_like(positions),
        cell=cell,
        energy=nothing,
        forces=jnp.zeros_like(positions),
        stress=jnp.zeros_like(cell),
        heat=CompensatedSum.zero(nothing),
    )


def select(condition: Bool[Array, ""], yes: TreeT, no: TreeT) -> TreeT:
    """Return one of two trees of the same structure."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def accelerate(system: System, state: State, fraction: float = 0.5) -> State:
    """v ← v + fraction·Δt·F/m; fixed atoms stay at rest."""
    change = state.forces * (fraction * system.timestep / system.masses)[:, None]
    return state.replace(velocities=state.velocities + jnp.where(system.mobile[:, None], change, 0))


def drift(system: System, state: State, fraction: float = 1.0) -> State:
    """r ← r + fraction·Δt·v."""
    return state.replace(positions=state.positions + fraction * system.timestep * state.velocities)


# --- random numbers --------------------------------------------------------------------------


def replica_keys(seed: int, replicas: Int32[Array, " structures"]) -> UInt32[Array, "structures 2"]:
    """Random keys of replicas: each depends on the seed and its own index alone."""
    base = jax.random.key(seed, impl="threefry2x32")
    keys = jax.vmap(lambda index: jax.random.fold_in(base, index))(replicas)
    return jax.random.key_data(keys)


def step_keys(system: System, step: Int32[Array, ""], stream: int) -> Key[Array, " structures"]:
    """One key per structure for one use of random numbers in one step.

    Args:
        system: holds the structures' keys.
        step: its number.
        stream: number of the use, so that two uses in one step are independent.
    """
    keys = jax.random.wrap_key_data(system.keys, impl="threefry2x32")
    return jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, step), stream))(keys)


def atom_normals(
    system: System, step: Int32[Array, ""], stream: int, dtype: DTypeLike
) -> Float[Array, "atoms 3"]:
    """Independent standard normal numbers.

    Each atom has its own key: neither its neighbors in the batch nor padding change its numbers.
    """
    keys = step_keys(system, step, stream)[system.node_graph]
    keys = jax.vmap(jax.random.fold_in)(keys, system.atom_index)
    return jax.vmap(lambda key: jax.random.normal(key, (3,), dtype))(keys)
