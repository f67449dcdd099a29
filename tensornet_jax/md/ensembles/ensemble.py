"""What every ensemble has: a section of the configuration, and what makes its steps."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, runtime_checkable

import ase
import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from tensornet_jax.config import Config
from tensornet_jax.md.ensembles.numbers import PerReplica, Ramp, ends_of, per_structure

if TYPE_CHECKING:
    from tensornet_jax.md.integrators.batch import Batch
    from tensornet_jax.md.integrators.integrator import Integrator


class AseDynamics(Protocol):
    """What the engine of ASE needs of one of ASE's dynamics."""

    def step(self) -> object:
        """Take a step."""
        ...


@runtime_checkable
class AseThermostat(Protocol):
    """One of ASE's dynamics whose temperature can change along a run."""

    def set_temperature(self, *, temperature_K: float) -> None:
        """Take over a temperature, K."""
        ...


class Ensemble(Config):
    """What a simulation samples. An ensemble is a subclass of this with an entry in `ENSEMBLES`.

    Its fields are its section of the configuration. It makes what takes its steps: `integrator`
    for the engine on the device, `ase_dynamics` for ASE's. One that does not make it is refused by
    the configuration of that engine.

    conserves_energy: whether potential + kinetic energy stays the same.
    conserves_momentum: whether the total momentum stays zero once it is.
    needs_volume: whether stress or pressure have a part in it.
    """

    conserves_energy: ClassVar[bool] = False
    conserves_momentum: ClassVar[bool] = True
    needs_volume: ClassVar[bool] = False

    name: str = Field(description="kind of ensemble")
    temperature: PerReplica | Ramp

    @classmethod
    def choices(cls) -> tuple[type[Config], ...]:
        """Return the registered ensembles, where any may stand."""
        return tuple(ENSEMBLES.values()) if cls is Ensemble else (cls,)

    # --- what takes its steps ----------------------------------------------------------------

    def integrator(self, batch: "Batch") -> "Integrator":
        """Return what takes the steps of a batch of structures on the device."""
        raise NotImplementedError(f"{self.name} has no integrator on the device")

    def ase_dynamics(
        self, atoms: ase.Atoms, timestep: float, rng: np.random.Generator
    ) -> AseDynamics:
        """Return ASE's dynamics of one structure.

        Where the temperature may be a ramp, it is an `AseThermostat`.

        Args:
            atoms: the structure, with a calculator.
            timestep: in ASE's unit of time.
            rng: random numbers.
        """
        raise NotImplementedError(f"{self.name} has no dynamics of ASE")

    # --- what it needs of structures ---------------------------------------------------------

    def check_structure(self, atoms: ase.Atoms, mobile: Bool[np.ndarray, " atoms"]) -> None:
        """Raise ValueError unless a structure can be sampled in this way.

        Args:
            atoms: at the start.
            mobile: False for fixed atoms.
        """

    def planes(self, structures: Sequence[ase.Atoms]) -> Float[np.ndarray, "structures 3 3"] | None:
        """Return projectors on the planes in which cells may change; None without such planes."""
        return None

    # --- its numbers -------------------------------------------------------------------------

    @property
    def first_temperature(self) -> PerReplica:
        """The temperature at the start of a run, K."""
        return ends_of(self.temperature)[0]

    def largest_temperature(self, count: int) -> Float[np.ndarray, " structures"]:
        """Return the highest temperature a run of so many structures comes to by intention, K."""
        ends = [per_structure(each, count, "temperature") for each in ends_of(self.temperature)]
        return np.max(ends, axis=0)

    def ramps(self) -> Iterator[tuple[str, Ramp]]:
        """Yield every ramp under the name of its setting."""
        for name, value in self:
            if isinstance(value, Ramp):
                yield name, value

    def timed(self, duration: float) -> Self:
        """Return the ensemble with ramps that say their time: that given, fs, where they do not."""
        timed = {
            name: ramp.model_copy(update={"time": duration})
            for name, ramp in self.ramps()
            if ramp.time is None
        }
        return self.model_copy(update=timed)


ENSEMBLES: dict[str, type[Ensemble]] = {}
"""Name in a configuration → section; `registry` has the package's own."""
