"""The ensembles by name: a new one is a class here, and its integrator in `md/integrators`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import ase
import numpy as np
import pydantic
from jaxtyping import Bool, Float
from pydantic import Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tensornet_jax.config import problem_at, unknown_name
from tensornet_jax.md.cells import check_periodic, planes_of
from tensornet_jax.md.ensembles.ensemble import ENSEMBLES, AseDynamics, Ensemble
from tensornet_jax.md.ensembles.numbers import PerReplica, Positive, Ramp, Temperature

if TYPE_CHECKING:
    from tensornet_jax.md.integrators.barostat import StochasticCellRescaling
    from tensornet_jax.md.integrators.batch import Batch
    from tensornet_jax.md.integrators.csvr import VelocityRescaling
    from tensornet_jax.md.integrators.langevin import LangevinBaoab
    from tensornet_jax.md.integrators.nose_hoover import NoseHooverChain
    from tensornet_jax.md.integrators.verlet import VelocityVerlet

ROOM = 300.0
OF_BATH = "K; a list has one for each replica; {start: 300, end: 600, time: 5000} is a ramp"


class NVE(Ensemble):
    """Constant energy: velocity Verlet."""

    conserves_energy: ClassVar[bool] = True

    name: Literal["nve"] = Field(default="nve", description="kind of ensemble")
    temperature: Positive = Field(
        default=ROOM, description="of the first velocities, K; a list has one for each replica"
    )

    def integrator(self, batch: "Batch") -> "VelocityVerlet":
        """Return velocity Verlet."""
        from tensornet_jax.md.integrators.verlet import VelocityVerlet

        return VelocityVerlet()

    def ase_dynamics(
        self, atoms: ase.Atoms, timestep: float, rng: np.random.Generator
    ) -> AseDynamics:
        """Return ASE's velocity Verlet."""
        from ase.md.verlet import VelocityVerlet

        return VelocityVerlet(atoms, timestep)


class Langevin(Ensemble):
    """Constant temperature: Langevin dynamics in the BAOAB splitting."""

    conserves_momentum: ClassVar[bool] = False

    name: Literal["langevin"] = Field(default="langevin", description="kind of ensemble")
    temperature: Temperature = Field(default=ROOM, description=OF_BATH)
    friction: Positive = Field(default=0.01, description="1/fs")

    def integrator(self, batch: "Batch") -> "LangevinBaoab":
        """Return the BAOAB splitting."""
        from tensornet_jax.md.integrators.langevin import LangevinBaoab

        return LangevinBaoab(
            thermal_energy=batch.energy("temperature", self.temperature),
            friction=batch.rate("friction", self.friction),
        )

    def ase_dynamics(
        self, atoms: ase.Atoms, timestep: float, rng: np.random.Generator
    ) -> AseDynamics:
        """Return ASE's Langevin dynamics, in which the center of mass may move."""
        from ase import units
        from ase.md.langevin import Langevin as AseLangevin

        (friction,) = np.atleast_1d(self.friction)
        (temperature,) = np.atleast_1d(self.first_temperature)
        return AseLangevin(
            atoms,
            timestep,
            temperature_K=float(temperature),
            friction=float(friction) / units.fs,
            fixcm=False,
            rng=rng,
        )


class NoseHoover(Ensemble):
    """Constant temperature: Nosé–Hoover chains."""

    name: Literal["nose_hoover"] = Field(default="nose_hoover", description="kind of ensemble")
    temperature: Temperature = Field(default=ROOM, description=OF_BATH)
    relaxation_time: Positive = Field(default=100.0, description="period of the thermostat τ, fs")
    chain_length: int = Field(default=3, ge=1, description="thermostats in the chain")

    def integrator(self, batch: "Batch") -> "NoseHooverChain":
        """Return velocity Verlet between two half steps of a chain."""
        from tensornet_jax.md.integrators.nose_hoover import NoseHooverChain

        return NoseHooverChain(
            thermal_energy=batch.energy("temperature", self.temperature),
            relaxation_time=batch.time("relaxation_time", self.relaxation_time),
            length=self.chain_length,
        )


class CSVR(Ensemble):
    """Constant temperature: stochastic velocity rescaling (Bussi, Donadio & Parrinello)."""

    name: Literal["csvr"] = Field(default="csvr", description="kind of ensemble")
    temperature: Temperature = Field(default=ROOM, description=OF_BATH)
    relaxation_time: Positive = Field(default=100.0, description="τ of the thermostat, fs")

    def integrator(self, batch: "Batch") -> "VelocityRescaling":
        """Return velocity Verlet with a rescaling after each step."""
        from tensornet_jax.md.integrators.csvr import VelocityRescaling

        return VelocityRescaling(
            thermal_energy=batch.energy("temperature", self.temperature),
            relaxation_time=batch.time("relaxation_time", self.relaxation_time),
        )


class NPT(Ensemble):
    """Constant temperature and pressure: stochastic rescaling of cell and velocities."""

    needs_volume: ClassVar[bool] = True

    name: Literal["npt"] = Field(default="npt", description="kind of ensemble")
    temperature: Temperature = Field(default=ROOM, description=OF_BATH)
    pressure: PerReplica | Ramp = Field(
        default=0.0, description="GPa; a list has one for each replica; a ramp as of temperature"
    )
    shape: Literal["isotropic", "lengths", "full", "in_plane"] = Field(
        default="isotropic",
        description="what of the cell may change: isotropic, its size; lengths, its extent along "
        "x, y and z; full, size and shape; in_plane, size and shape within the plane of a slab's "
        "two periodic directions (of the first two lattice vectors if all three are periodic)",
    )
    relaxation_time: Positive = Field(default=100.0, description="τ of the thermostat, fs")
    pressure_time: Positive = Field(default=1000.0, description="τ of the barostat, fs")
    compressibility: Positive = Field(
        default=0.1,
        description="1/GPa, roughly that of the material (water 0.5, metals 0.01); it scales "
        "pressure_time and changes no average",
    )

    def check_structure(self, atoms: ase.Atoms, mobile: Bool[np.ndarray, " atoms"]) -> None:
        """Raise ValueError unless the cell can change in this way, and no atom is fixed."""
        check_periodic(atoms, self.shape)
        if not mobile.all():
            raise ValueError(
                "has fixed atoms, which a changing cell would move: remove the constraint, or use "
                "another ensemble"
            )

    def planes(self, structures: Sequence[ase.Atoms]) -> Float[np.ndarray, "structures 3 3"] | None:
        """Return projectors on the planes of slabs; None for other shapes."""
        return planes_of(structures) if self.shape == "in_plane" else None

    def integrator(self, batch: "Batch") -> "StochasticCellRescaling":
        """Return stochastic cell rescaling."""
        from tensornet_jax.md.integrators.barostat import StochasticCellRescaling

        planes = self.planes(batch.structures)
        return StochasticCellRescaling(
            thermal_energy=batch.energy("temperature", self.temperature),
            relaxation_time=batch.time("relaxation_time", self.relaxation_time),
            pressure=batch.pressure("pressure", self.pressure),
            pressure_time=batch.time("pressure_time", self.pressure_time),
            compressibility=batch.compressibility("compressibility", self.compressibility),
            plane=None if planes is None else batch.array(planes),
            shape=self.shape,
        )


ENSEMBLES |= {
    "nve": NVE,
    "langevin": Langevin,
    "nose_hoover": NoseHoover,
    "csvr": CSVR,
    "npt": NPT,
}


def _by_name(value: object) -> object:
    if isinstance(value, Ensemble):
        return value
    if not isinstance(value, dict) or "name" not in value:
        raise ValueError(f"a section with a name is needed: {', '.join(ENSEMBLES)}")
    if value["name"] not in tuple(ENSEMBLES):
        raise problem_at(("name",), unknown_name(value["name"], tuple(ENSEMBLES), "ensemble"))
    return ENSEMBLES[value["name"]].model_validate(value)


class _Schema:
    """Gives the JSON schema of the section: one of the registered ensembles."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        sections = [handler(each.__pydantic_core_schema__) for each in ENSEMBLES.values()]
        return {"oneOf": sections}


AnyEnsemble = Annotated[
    pydantic.SerializeAsAny[Ensemble], pydantic.BeforeValidator(_by_name), _Schema
]
"""A section of one of the registered ensembles."""
