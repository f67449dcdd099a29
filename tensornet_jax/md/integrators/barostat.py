"""Constant temperature and pressure: stochastic cell rescaling."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int32

from tensornet_jax.md.blocks import in_blocks
from tensornet_jax.md.draws import Draw
from tensornet_jax.md.integrators.csvr import RESCALING, rescaled
from tensornet_jax.md.matrices import product, times_of_structures
from tensornet_jax.md.state import State, System, accelerate, drift, step_keys
from tensornet_jax.ops.cartesian import Entries, product_of_entries

_STRAIN = 3


def _strain_noise(
    system: System, step: Int32[Array, ""], dtype: DTypeLike
) -> Float[Array, "structures 3 3"]:
    keys = step_keys(system, step, _STRAIN)
    return jax.vmap(lambda key: jax.random.normal(key, (3, 3), dtype))(keys)


STRAIN = Draw("strain", _strain_noise)

CellShape = Literal["isotropic", "lengths", "full", "in_plane"]
"""What of the cell may change: its size; the lengths along x, y and z; size and shape; size and
shape within a plane."""


class Rescaling(NamedTuple):
    """What the barostat did in the present step.

    strain: logarithm of the deformation.
    work: −½ of its work, taken with the stress before it, eV.
    """

    strain: Float[Array, "structures 3 3"]
    work: Float[Array, " structures"]


def exponential(matrix: Float[Array, "*batch 3 3"]) -> Float[Array, "*batch 3 3"]:
    """Return exp of matrices whose norm is not far above 1, exact to rounding."""
    small = matrix / 8
    result = term = jnp.broadcast_to(jnp.eye(3, dtype=matrix.dtype), matrix.shape)
    for order in range(1, 11):
        term = term @ small / order
        result = result + term
    for _ in range(3):
        result = result @ result
    return result


def exponential_and_inverse(
    matrix: Float[Array, "structures 3 3"],
) -> tuple[Float[Array, "structures 3 3"], Float[Array, "structures 3 3"]]:
    """Return exp of matrices and of their negatives, as `exponential` does, but for derivatives."""
    if not in_blocks():
        return exponential(matrix), exponential(-matrix)
    # By components, which takes a GPU a few kernels instead of one for each product; even and odd
    # powers apart, since they are the same for both signs.
    small = [[matrix[:, i, j] / 8 for j in range(3)] for i in range(3)]
    squared = product_of_entries(small, small)
    even, odd = _series(squared, (10, 8, 6, 4, 2)), _series(squared, (9, 7, 5, 3))
    odd = product_of_entries(odd, small)
    results = []
    for sign in (1, -1):
        result = [[even[i][j] + sign * odd[i][j] for j in range(3)] for i in range(3)]
        for _ in range(3):
            result = product_of_entries(result, result)
        results.append(jnp.stack([jnp.stack(row, axis=-1) for row in result], axis=-2))
    return results[0], results[1]


def _series(squared: Entries, orders: Sequence[int]) -> Entries:
    """Return 1 + x²/(n(n − 1))·(1 + …), with n each of the orders from the last on."""
    one, nothing = jnp.ones_like(squared[0][0]), jnp.zeros_like(squared[0][0])
    identity = [[one if i == j else nothing for j in range(3)] for i in range(3)]
    result = identity
    for order in orders:
        # The first product is one with the identity.
        result = squared if result is identity else product_of_entries(result, squared)
        factor = 1 / (order * (order - 1))
        result = [[identity[i][j] + factor * result[i][j] for j in range(3)] for i in range(3)]
    return result


def volume(cell: Float[Array, "structures 3 3"]) -> Float[Array, " structures"]:
    """|det| of cells in Å, Å³."""
    return jnp.abs(jnp.linalg.det(cell))


def contracted(
    tensor: Float[Array, "structures 3 3"], strain: Float[Array, "structures 3 3"]
) -> Float[Array, " structures"]:
    """A : ε of each structure."""
    return jnp.sum(tensor * strain, axis=(-2, -1))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StochasticCellRescaling:
    """Stochastic cell rescaling with stochastic velocity rescaling: the NPT ensemble.

    The logarithm of the volume, ε, follows dε = −(β/τ_p)(P₀ − P) dt + √(2 k_B T β / (V τ_p)) dW
    (Bernetti & Bussi, doi:10.1063/5.0020514). In the anisotropic forms (Del Tatto, Raiteri,
    Bernetti & Bussi, doi:10.3390/app12031139) a strain ε_ij takes its place with β/3, and
    P_ij − P₀δ_ij drives it; only symmetric strains are drawn, since an antisymmetric one rotates
    the whole system and changes nothing. The cell is multiplied by exp(ε), with which the drift
    needs no correction for the noise depending on the volume. Positions are scaled with the cell
    and velocities inversely, so P contains the kinetic energy of the moment.

    Within a plane (`in_plane`), β/2 takes the place of β/3, and a strain has only components in the
    plane: the height stays, and with it P₀V is P₀·height·area.

    Conserved: kinetic + potential energy + P₀V − heat; the barostat's share of the heat is taken
    with the mean of the stresses before and after.

    thermal_energy: k_B·T, eV.
    relaxation_time: τ of the thermostat, Å·√(amu/eV).
    pressure: P₀, eV/Å³.
    pressure_time: τ_p, Å·√(amu/eV).
    compressibility: β, Å³/eV; only β/τ_p matters.
    plane: projector on the plane of `in_plane`; None for other shapes.
    shape: what of the cell may change (static).
    """

    draws: ClassVar[tuple[Draw, ...]] = (*RESCALING, STRAIN)

    thermal_energy: Float[Array, " structures"]
    relaxation_time: Float[Array, " structures"]
    pressure: Float[Array, " structures"]
    pressure_time: Float[Array, " structures"]
    compressibility: Float[Array, " structures"]
    plane: Float[Array, "structures 3 3"] | None = None
    shape: CellShape = field(default="isotropic", metadata={"static": True})

    needs_stress: bool = field(default=True, metadata={"static": True})
    changes_cell: bool = field(default=True, metadata={"static": True})

    def start(self, system: System, state: State) -> State:
        """Return the state with the integrator's variables at their start."""
        nothing = jnp.zeros_like(state.energy)
        return state.replace(extra=Rescaling(jnp.zeros_like(state.cell), nothing))

    def advance(self, system: System, state: State) -> State:
        """Half a kick, the cell's step, and all of the drift."""
        strain = self._strain(system, state)
        state = accelerate(system, state)
        scaling, inverse = exponential_and_inverse(strain)
        of_atoms = system.node_graph
        before = system.kinetic_energy(state.velocities) + self.pressure * volume(state.cell)
        half_work = 0.5 * volume(state.cell) * contracted(state.stress, strain)
        state = state.replace(
            positions=times_of_structures(state.positions, scaling, of_atoms),
            velocities=times_of_structures(state.velocities, inverse, of_atoms),
            cell=product(state.cell, scaling),
            extra=Rescaling(strain, half_work),
        )
        after = system.kinetic_energy(state.velocities) + self.pressure * volume(state.cell)
        return drift(system, state.heated(after - before))

    def finish(self, system: System, state: State) -> State:
        """The other half of the kick, and the thermostat."""
        done: Rescaling = state.extra
        work = done.work + 0.5 * volume(state.cell) * contracted(state.stress, done.strain)
        state = accelerate(system, state.heated(work))
        decay = jnp.exp(-system.timestep / self.relaxation_time)
        return rescaled(system, state, self.thermal_energy, decay)

    def conserved(self, system: System, state: State) -> Float[Array, " structures"]:
        """Return the conserved quantity of each structure, eV."""
        energy = state.energy + system.kinetic_energy(state.velocities)
        return energy + self.pressure * volume(state.cell) - state.heat.total

    def _strain(self, system: System, state: State) -> Float[Array, "structures 3 3"]:
        """Return the logarithmic strain of this step."""
        dtype = state.cell.dtype
        size = volume(state.cell)
        inside = system.kinetic_tensor(state.velocities) / size[:, None, None] - state.stress
        rate = self.compressibility / self.pressure_time * system.timestep
        width = jnp.sqrt(2 * self.thermal_energy * rate / size)
        noise = STRAIN.of(system, state.step, dtype)
        identity = jnp.eye(3, dtype=dtype)
        if self.shape == "isotropic":
            excess = jnp.trace(inside, axis1=-2, axis2=-1) / 3 - self.pressure
            strain = rate * excess + width * noise[:, 0, 0]
            return (strain / 3)[:, None, None] * identity
        excess = inside - self.pressure[:, None, None] * identity
        symmetric = 0.5 * (noise + noise.mT)
        dimensions = 2 if self.shape == "in_plane" else 3
        strain = (rate / dimensions)[:, None, None] * excess
        width = width / jnp.sqrt(jnp.asarray(dimensions, dtype))
        strain = strain + width[:, None, None] * symmetric
        strain = 0.5 * (strain + strain.mT)
        if self.plane is not None:
            return self.plane @ strain @ self.plane
        return strain * identity if self.shape == "lengths" else strain
