"""Minimizers of atoms and cell, in the shape of integrators: every structure has its own step."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from tensornet_jax.md.draws import Draw
from tensornet_jax.md.integrators.cell_coordinates import CellCoordinates, Vector
from tensornet_jax.md.state import State, System

# FIRE's constants, of the paper but for the timestep's unit, which is that of ASE.
SHORTEST_WAIT, FASTER, SLOWER = 5, 1.1, 0.5
MIXING, MIXING_DECAY = 0.1, 0.99
FIRST_TIME, LONGEST_TIME = 0.1, 1.0

# Å²/eV, the inverse of a stiff bond's curvature: the first step of L-BFGS.
FIRST_CURVATURE = 1 / 70
# Å below which a step is taken even if it seems to go uphill: rounding decides there.
SHORTEST_RADIUS = 1e-4


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Criterion:
    """When a structure is relaxed.

    force: eV/Å, the largest on an atom.
    stress: eV/Å³, the largest component, if the cell relaxes; None compares the forces along X and
        u of `CellCoordinates` with `force`, as ASE does with a `FrechetCellFilter`.
    """

    force: Float[Array, ""]
    stress: Float[Array, ""] | None

    def met(
        self, system: System, state: State, coordinates: CellCoordinates
    ) -> Bool[Array, " structures"]:
        """Tell which structures are relaxed."""
        if self.stress is None:
            force = coordinates.force(system, state, state.extra.strain)
            return force.largest(system) <= self.force
        forces = jnp.where(system.mobile, jnp.sum(state.forces**2, axis=-1), 0)
        stress = jnp.abs(coordinates.total_stress(state))
        return (jnp.sqrt(system.largest(forces)) <= self.force) & (
            jnp.max(stress, axis=(-2, -1)) <= self.stress
        )


Minimizer: TypeAlias = "Fire | Lbfgs"


def all_relaxed(integrator: Minimizer, system: System, state: State) -> Bool[Array, ""]:
    """Tell whether there is nothing left to do."""
    return jnp.all(integrator.criterion.met(system, state, integrator.coordinates))


class FireVariables(NamedTuple):
    """Variables of FIRE, each of every structure.

    strain: E.
    velocity: of atoms and cell.
    time: timestep.
    mixing: α.
    downhill: steps since the last one uphill.
    steps: how many were taken.
    """

    strain: Float[Array, "structures 3 3"]
    velocity: Vector
    time: Float[Array, " structures"]
    mixing: Float[Array, " structures"]
    downhill: Int[Array, " structures"]
    steps: Int[Array, " structures"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Fire:
    """Fast inertial relaxation engine, Bitzek et al., doi:10.1103/PhysRevLett.97.170201.

    coordinates: atoms and cell as one vector.
    criterion: when a structure stays where it is.
    max_step: Å, the longest way of an atom in one step.
    """

    draws: ClassVar[tuple[Draw, ...]] = ()

    coordinates: CellCoordinates
    criterion: Criterion
    max_step: Float[Array, ""]
    changes_cell: bool = field(default=False, metadata={"static": True})
    needs_stress: bool = field(default=False, metadata={"static": True})

    def start(self, system: System, state: State) -> State:
        """Return the state at rest."""
        zero = jnp.zeros_like(state.energy)
        return state.replace(
            extra=FireVariables(
                strain=jnp.zeros_like(state.cell),
                velocity=Vector(jnp.zeros_like(state.positions), jnp.zeros_like(state.cell)),
                time=zero + FIRST_TIME,
                mixing=zero + MIXING,
                downhill=jnp.zeros(zero.shape, jnp.int32),
                steps=jnp.zeros(zero.shape, jnp.int32),
            )
        )

    def advance(self, system: System, state: State) -> State:
        """Turn the velocity towards the force, and take a step along it."""
        old: FireVariables = state.extra
        done = self.criterion.met(system, state, self.coordinates)
        force = self.coordinates.force(system, state, old.strain)
        along = old.velocity.dot(system, force) > 0
        speed = jnp.sqrt(old.velocity.dot(system, old.velocity))
        strength = jnp.sqrt(force.dot(system, force))
        turned = old.mixing * speed / jnp.where(strength > 0, strength, 1)
        kept = jnp.where(along, 1 - old.mixing, 0)
        velocity = old.velocity.scaled(system, kept)
        velocity = velocity.plus(force.scaled(system, jnp.where(along, turned, 0)))
        hurry = along & (old.downhill > SHORTEST_WAIT)
        time = jnp.where(hurry, jnp.minimum(old.time * FASTER, LONGEST_TIME), old.time)
        # The very first step starts from rest, which is no reason to go slower.
        uphill = ~along & (old.steps > 0)
        time = jnp.where(uphill, old.time * SLOWER, time)
        mixing = jnp.where(hurry, old.mixing * MIXING_DECAY, old.mixing)
        mixing = jnp.where(uphill, MIXING, mixing).astype(mixing.dtype)
        velocity = velocity.plus(force.scaled(system, time))
        step = velocity.scaled(system, time)
        longest = step.largest(system)
        step = step.scaled(
            system, jnp.minimum(1, self.max_step / jnp.where(longest > 0, longest, 1))
        )
        step = step.scaled(system, jnp.where(done, 0, 1).astype(time.dtype))
        positions, cell, strain = self.coordinates.moved(system, state, old.strain, step)
        return state.replace(
            positions=positions,
            cell=cell,
            extra=FireVariables(
                strain=strain,
                velocity=velocity,
                time=time,
                mixing=mixing,
                downhill=jnp.where(along, old.downhill + 1, 0),
                steps=old.steps + ~done,
            ),
        )

    def finish(self, system: System, state: State) -> State:
        """Nothing is left to do."""
        return state

    def conserved(self, system: System, state: State) -> Float[Array, " structures"]:
        """Return what is minimized but for the pressure, eV."""
        return state.energy


class LbfgsVariables(NamedTuple):
    """Variables of L-BFGS; M pairs are remembered, those with weight 0 do not count.

    strain: E.
    steps_back: M steps s, along a first dimension.
    changes: M changes of the gradient y, in the same way.
    weights: 1/(s·y).
    curvature: s·y/(y·y) of the last pair, Å²/eV.
    force: at the point the last step began.
    step: the last step.
    value: energy + pressure × volume where the last step began, eV.
    radius: Å, the longest step that is trusted.
    steps: how many were taken.
    """

    strain: Float[Array, "structures 3 3"]
    steps_back: Vector
    changes: Vector
    weights: Float[Array, "pairs structures"]
    curvature: Float[Array, " structures"]
    force: Vector
    step: Vector
    value: Float[Array, " structures"]
    radius: Float[Array, " structures"]
    steps: Int[Array, " structures"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Lbfgs:
    """L-BFGS (Liu & Nocedal, doi:10.1007/BF01589116) within a trust radius, without line search.

    A step that goes uphill is taken back, its curvature remembered and the radius halved.

    coordinates: atoms and cell as one vector.
    criterion: when a structure stays where it is.
    max_step: Å, the largest radius.
    memory: number of pairs (static).
    """

    draws: ClassVar[tuple[Draw, ...]] = ()

    coordinates: CellCoordinates
    criterion: Criterion
    max_step: Float[Array, ""]
    memory: int = field(default=20, metadata={"static": True})
    changes_cell: bool = field(default=False, metadata={"static": True})
    needs_stress: bool = field(default=False, metadata={"static": True})

    def start(self, system: System, state: State) -> State:
        """Return the state without a memory."""
        zero = jnp.zeros_like(state.energy)
        nothing = Vector(jnp.zeros_like(state.positions), jnp.zeros_like(state.cell))
        history = jax.tree.map(lambda x: jnp.zeros((self.memory, *x.shape), x.dtype), nothing)
        return state.replace(
            extra=LbfgsVariables(
                strain=jnp.zeros_like(state.cell),
                steps_back=history,
                changes=history,
                weights=jnp.zeros((self.memory, *zero.shape), zero.dtype),
                curvature=zero + FIRST_CURVATURE,
                force=nothing,
                step=nothing,
                value=zero + jnp.inf,
                radius=zero + self.max_step,
                steps=jnp.zeros(zero.shape, jnp.int32),
            )
        )

    def advance(self, system: System, state: State) -> State:
        """Learn from the last step, take it back if it went uphill, and take the next one."""
        old: LbfgsVariables = state.extra
        done = self.criterion.met(system, state, self.coordinates)
        began = old.steps > 0
        force = self.coordinates.force(system, state, old.strain)
        value = self._value(state)
        old = self._remembered(system, old, force, began & ~done)

        # Energies of large systems are known to a few parts in 10⁷ or 10¹⁶ only.
        noise = 8 * jnp.finfo(value.dtype).eps * jnp.abs(value)
        uphill = began & ~done & (value > old.value + noise) & (old.radius > SHORTEST_RADIUS)
        shorter = jnp.minimum(old.step.largest(system), old.radius) / 2
        radius = jnp.where(uphill, shorter, jnp.minimum(2 * old.radius, self.max_step))
        back = jnp.where(uphill, 1, 0).astype(value.dtype)
        force = force.scaled(system, 1 - back).plus(old.force.scaled(system, back))

        direction = self._direction(system, old, force)
        # Rounding may spoil the memory; the force itself always leads downhill.
        bad = ~(direction.dot(system, force) > 0)
        plain = jnp.where(bad, FIRST_CURVATURE, 0).astype(value.dtype)
        good = jnp.where(bad, 0, 1).astype(value.dtype)
        direction = direction.scaled(system, good).plus(force.scaled(system, plain))
        longest = direction.largest(system)
        factor = jnp.minimum(1, radius / jnp.where(longest > 0, longest, 1))
        step = direction.scaled(system, jnp.where(done, 0, factor))
        way = step.plus(old.step.scaled(system, -back))
        positions, cell, strain = self.coordinates.moved(system, state, old.strain, way)
        return state.replace(
            positions=positions,
            cell=cell,
            extra=old._replace(
                strain=strain,
                force=force,
                step=step,
                value=jnp.where(uphill, old.value, value),
                radius=radius,
                steps=old.steps + ~done,
            ),
        )

    def finish(self, system: System, state: State) -> State:
        """Nothing is left to do."""
        return state

    def conserved(self, system: System, state: State) -> Float[Array, " structures"]:
        """Return what is minimized but for the pressure, eV."""
        return state.energy

    def _value(self, state: State) -> Float[Array, " structures"]:
        size = jnp.abs(jnp.linalg.det(state.cell))
        return state.energy + self.coordinates.pressure * size

    def _remembered(
        self, system: System, old: LbfgsVariables, force: Vector, learn: Bool[Array, " structures"]
    ) -> LbfgsVariables:
        """Return the variables with the last step in the memory, where it has a curvature."""
        change = old.force.plus(force, -1.0)
        along = old.step.dot(system, change)
        squared = change.dot(system, change)
        usable = learn & (along > 1e-10 * squared) & (squared > 0)

        def pushed(history: Array, new: Array) -> Array:
            return jnp.concatenate([history[1:], new[None]])

        return old._replace(
            steps_back=jax.tree.map(pushed, old.steps_back, old.step),
            changes=jax.tree.map(pushed, old.changes, change),
            weights=pushed(old.weights, jnp.where(usable, 1 / jnp.where(usable, along, 1), 0)),
            curvature=jnp.where(usable, along / jnp.where(usable, squared, 1), old.curvature),
        )

    def _direction(self, system: System, memory: LbfgsVariables, force: Vector) -> Vector:
        """Return the two-loop recursion's approximation of H⁻¹ F."""

        def pair(k: Array) -> tuple[Vector, Vector, Array]:
            s, y = jax.tree.map(lambda x: x[k], (memory.steps_back, memory.changes))
            return s, y, memory.weights[k]

        def first(count: Array, carry: tuple[Vector, Array]) -> tuple[Vector, Array]:
            q, alphas = carry
            k = self.memory - 1 - count
            s, y, weight = pair(k)
            alpha = weight * s.dot(system, q)
            return q.plus(y.scaled(system, -alpha)), alphas.at[k].set(alpha)

        def second(k: Array, carry: tuple[Vector, Array]) -> tuple[Vector, Array]:
            r, alphas = carry
            s, y, weight = pair(k)
            beta = weight * y.dot(system, r)
            return r.plus(s.scaled(system, jnp.where(weight > 0, alphas[k] - beta, 0))), alphas

        alphas = jnp.zeros_like(memory.weights)
        q, alphas = lax.fori_loop(0, self.memory, first, (force, alphas))
        r = q.scaled(system, memory.curvature)
        return lax.fori_loop(0, self.memory, second, (r, alphas))[0]
