"""Constant-energy dynamics that can be timed: through ASE, and on the device."""

from collections.abc import Sequence
from typing import Protocol

import ase
import jax
import numpy as np
from ase import units
from ase.calculators.calculator import Calculator
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from tensornet_jax.md import NVE, Simulation
from tensornet_jax.md.velocities import bring_to_rest
from tensornet_jax.potential.potential import Potential

TIMESTEP = 0.5
"""fs."""
TEMPERATURE = 300.0
"""K, of the velocities at the start."""


class Dynamics(Protocol):
    """Constant-energy dynamics that can be gone on with."""

    def advance(self, steps: int) -> None:
        """Take steps."""
        ...

    def turn_around(self) -> None:
        """Reverse all velocities, so that the steps lead back."""
        ...

    def positions(self) -> np.ndarray:
        """Return (N, 3) Å."""
        ...


class InAse:
    """ASE's velocity Verlet with a calculator."""

    def __init__(self, atoms: ase.Atoms, calculator: Calculator) -> None:
        self.atoms = atoms.copy()
        self.atoms.calc = calculator
        self.dynamics = VelocityVerlet(self.atoms, TIMESTEP * units.fs)

    def advance(self, steps: int) -> None:
        """Take steps, without observers and without a log."""
        for _ in range(steps):
            self.dynamics.step()

    def turn_around(self) -> None:
        """Reverse all velocities."""
        self.atoms.set_momenta(-self.atoms.get_momenta())

    def positions(self) -> np.ndarray:
        """Return (N, 3) Å."""
        return self.atoms.get_positions()


class OnDevice:
    """The package's own engine, for one structure or many."""

    def __init__(self, potential: Potential, structures: Sequence[ase.Atoms]) -> None:
        self.simulation = Simulation(
            potential, structures, NVE(), timestep=TIMESTEP, velocities="keep"
        )

    def advance(self, steps: int) -> None:
        """Take steps in one compiled loop."""
        engine = self.simulation.engine
        engine.advance(engine.step + steps)
        jax.block_until_ready(engine.state)

    def turn_around(self) -> None:
        """Reverse all velocities."""
        engine = self.simulation.engine
        count = engine.lists.num_atoms
        engine.set_velocities(-np.asarray(engine.state.velocities)[:count])

    def positions(self) -> np.ndarray:
        """Return (N, 3) Å, those of all replicas one after the other."""
        return self.simulation.sample().positions


def started(atoms: ase.Atoms, seed: int = 0) -> ase.Atoms:
    """Return a copy with thermal velocities, and without a charge that torchmd-net would miss."""
    start = atoms.copy()
    start.info["charge"] = 0
    thermalize_momenta(start, temperature_K=TEMPERATURE, rng=np.random.default_rng(seed))
    bring_to_rest(start)
    return start
