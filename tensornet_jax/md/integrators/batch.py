"""From numbers of an ensemble, in fs, K and GPa, to arrays of a batch, in internal units."""

from collections.abc import Sequence
from dataclasses import dataclass

import ase
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from tensornet_jax.md.ensembles.numbers import PerReplica, Ramp, per_structure
from tensornet_jax.md.integrators.ramps import LinearRamp
from tensornet_jax.md.state import BOLTZMANN, FEMTOSECOND, GIGAPASCAL


@dataclass(frozen=True)
class Batch:
    """Structures that run at once; makes of a setting an array with a number for each of them.

    Every method takes the setting's name, for messages, and its value: one number, one for each
    structure, or a ramp, which becomes a `LinearRamp`. It raises ValueError where there are
    numbers for some other count of structures, or a ramp does not say its time.

    structures: at the start.
    timestep: fs.
    dtype: of the arrays.
    """

    structures: Sequence[ase.Atoms]
    timestep: float
    dtype: str

    def energy(self, name: str, temperature: PerReplica | Ramp) -> Float[Array, " structures"]:
        """Return k_B·T of a temperature in K, eV."""
        return self._scaled(name, temperature, BOLTZMANN)

    def time(self, name: str, time: PerReplica | Ramp) -> Float[Array, " structures"]:
        """Return a time in fs, Å·√(amu/eV)."""
        return self._scaled(name, time, FEMTOSECOND)

    def rate(self, name: str, rate: PerReplica | Ramp) -> Float[Array, " structures"]:
        """Return a rate in 1/fs, 1/(Å·√(amu/eV))."""
        return self._scaled(name, rate, 1 / FEMTOSECOND)

    def pressure(self, name: str, pressure: PerReplica | Ramp) -> Float[Array, " structures"]:
        """Return a pressure in GPa, eV/Å³."""
        return self._scaled(name, pressure, GIGAPASCAL)

    def compressibility(
        self, name: str, compressibility: PerReplica | Ramp
    ) -> Float[Array, " structures"]:
        """Return a compressibility in 1/GPa, Å³/eV."""
        return self._scaled(name, compressibility, 1 / GIGAPASCAL)

    def array(self, values: ArrayLike) -> Array:
        """Return an array of any shape in the precision of the batch."""
        return jnp.asarray(values, self.dtype)

    def _scaled(
        self, name: str, value: PerReplica | Ramp, unit: float
    ) -> Float[Array, " structures"]:
        def array(number: PerReplica) -> Array:
            return self.array(per_structure(number, len(self.structures), name) * unit)

        if not isinstance(value, Ramp):
            return array(value)
        steps = self.array(value.duration(name) / self.timestep)
        # `at_step` puts an array in its place before anything is computed with it.
        ramp = LinearRamp(array(value.start), array(value.end), steps)
        return ramp  # pyright: ignore[reportReturnType]
