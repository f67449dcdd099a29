"""Potentials whose dynamics is known on paper, behind the package's own interface.

They are models like any other, with a neighbor list and a cutoff, so that everything but the
network is what users run; and they compile in a fraction of a second.
"""

from typing import Literal

import ase
import jax
import jax.numpy as jnp
import numpy as np
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models import MODELS
from tensornet_jax.models.base import Model, ModelOutputs
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.ops.radial import polynomial_envelope
from tensornet_jax.ops.safe import norm
from tensornet_jax.potential.potential import ElementTable, Potential
from tests.builders import small_potential

ARGON_SIGMA, ARGON_EPSILON = 3.4, 0.0104


class LennardJonesConfig(ModelConfig):
    name: str = "lennard_jones"
    epsilon: float = ARGON_EPSILON
    sigma: float = ARGON_SIGMA
    cutoff: float = 7.0

    @property
    def num_hops(self) -> int:
        return 1


class LennardJones(Model[LennardJonesConfig]):
    """4ε((σ/r)¹² − (σ/r)⁶) times an envelope with two continuous derivatives at the cutoff."""

    def __call__(self, graph: AtomGraph) -> ModelOutputs:
        c = self.config
        distances = norm(graph.pair_vectors())
        real = graph.edges.pair_mask
        distances = jnp.where(real, distances, 1.0)
        attraction = (c.sigma / distances) ** 6
        pairs = 4 * c.epsilon * (attraction**2 - attraction)
        pairs = jnp.where(real, pairs * polynomial_envelope(distances, c.cutoff), 0)
        count = graph.positions.shape[0]
        halves = jnp.concatenate([pairs, pairs]) / 2
        energies = jax.ops.segment_sum(halves, graph.edges.receivers, count)
        return ModelOutputs(energies=jnp.where(graph.node_mask, energies, 0))


class SpringConfig(ModelConfig):
    name: Literal["spring"] = "spring"
    stiffness: float = 5.0
    length: float = 1.2
    cutoff: float = 5.0


class Spring(Model[SpringConfig]):
    """½k(r − r₀)² for every pair: a diatomic molecule is a harmonic oscillator."""

    def __call__(self, graph: AtomGraph) -> ModelOutputs:
        c = self.config
        distances = norm(graph.pair_vectors())
        real = graph.edges.pair_mask
        pairs = jnp.where(real, 0.5 * c.stiffness * (distances - c.length) ** 2, 0)
        count = graph.positions.shape[0]
        halves = jnp.concatenate([pairs, pairs]) / 2
        energies = jax.ops.segment_sum(halves, graph.edges.receivers, count)
        return ModelOutputs(energies=jnp.where(graph.node_mask, energies, 0))


class IdealGasConfig(ModelConfig):
    name: Literal["ideal_gas"] = "ideal_gas"
    cutoff: float = 0.1


class IdealGas(Model[IdealGasConfig]):
    """No interaction at all."""

    def __call__(self, graph: AtomGraph) -> ModelOutputs:
        return ModelOutputs(energies=0 * jnp.sum(graph.positions, axis=-1))


ANALYTIC = {
    "lennard_jones": (LennardJonesConfig, LennardJones),
    "spring": (SpringConfig, Spring),
    "ideal_gas": (IdealGasConfig, IdealGas),
}


def analytic(name: str, numbers=(1, 18), dtype: str = "float64", **options) -> Potential:
    """Return a potential of this file; the fixture `models` must be in use."""
    elements = ElementTable(tuple(numbers), np.zeros(len(numbers)))
    config = MODELS[name][0].model_validate(options)
    return Potential(config, {"params": {}, "buffers": {}}, elements, dtype=dtype)


def network(dtype: str = "float64") -> Potential:
    """Return a TensorNet that compiles in seconds."""
    return small_potential(dtype=dtype, num_layers=0, num_radial=4)


class Reference(Calculator):
    """An ASE calculator of a potential that makes every list anew, without a skin."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 (as ASE declares it)

    def __init__(self, potential: Potential):
        super().__init__()
        self.potential = potential

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, list(properties), list(system_changes))
        assert self.atoms is not None
        wanted = ["energy", "forces"] + (["stress"] if self.atoms.cell.rank == 3 else [])
        (found,) = self.potential.evaluate(self.atoms, compute=wanted)
        if "stress" in found:
            stress = found["stress"]
            found["stress"] = stress.ravel()[[0, 4, 8, 5, 2, 1]]
        self.results = found


def argon(repeat: int = 2, rattle: float = 0.1, seed: int = 0, a: float = 5.3) -> ase.Atoms:
    """Return an argon crystal off its sites."""
    atoms = bulk("Ar", "fcc", a=a, cubic=True).repeat(repeat)
    atoms.rattle(rattle, seed=seed)
    return atoms


def cluster(seed: int = 0) -> ase.Atoms:
    """Return thirteen argon atoms around the icosahedron's minimum."""
    golden = (1 + 5**0.5) / 2
    corners = [np.roll([0, s, t * golden], k) for k in range(3) for s in (-1, 1) for t in (-1, 1)]
    positions = 3.8 * np.array([[0, 0, 0], *corners]) / np.linalg.norm([0, 1, golden])
    atoms = ase.Atoms("Ar13", positions)
    atoms.rattle(0.05, seed=seed)
    return atoms


def diatomic() -> ase.Atoms:
    """Return two hydrogen atoms at the length of the spring."""
    return ase.Atoms("H2", [[0, 0, 0], [0, 0, 1.2]])
