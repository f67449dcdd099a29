"""The configuration of a simulation, and of the ensembles it can sample."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from tensornet_jax.config import Config, problem_at

PerReplica = float | tuple[float, ...]
"""One number for all structures, or one for each."""

ROOM = 300.0


def _check_positive(value: Any) -> Any:
    if isinstance(value, Mapping):
        for name in ("start", "end"):
            _check_positive(value.get(name, 1.0))
        return value
    numbers = value if isinstance(value, tuple) else (value,)
    if any(isinstance(x, int | float) and not x > 0 for x in numbers) or not numbers:
        raise ValueError(f"must be greater than 0, not {value}")
    return value


class Ramp(Config):
    """A number that changes linearly in time, and then stays at its end."""

    start: PerReplica = Field(
        description="at the first step; a list has one for each replica", examples=[300.0]
    )
    end: PerReplica = Field(description="at the end of the ramp", examples=[600.0])
    time: float | None = Field(
        default=None, gt=0, description="fs the ramp takes; null: as long as the run"
    )


Positive = Annotated[PerReplica, pydantic.BeforeValidator(_check_positive)]
Temperature = Annotated[PerReplica | Ramp, pydantic.BeforeValidator(_check_positive)]
"""K; one number, one for each replica, or a ramp."""

OF_BATH = "K; a list has one for each replica; {start: 300, end: 600, time: 5000} is a ramp"


# --- ensembles -------------------------------------------------------------------------------


class NVE(Config):
    """Constant energy: velocity Verlet."""

    name: Literal["nve"] = Field(default="nve", description="kind of ensemble")
    temperature: Positive = Field(
        default=ROOM, description="of the first velocities, K; a list has one for each replica"
    )


class Langevin(Config):
    """Constant temperature: Langevin dynamics in the BAOAB splitting."""

    name: Literal["langevin"] = Field(default="langevin", description="kind of ensemble")
    temperature: Temperature = Field(default=ROOM, description=OF_BATH)
    friction: Positive = Field(default=0.01, description="1/fs")


class NoseHoover(Config):
    """Constant temperature: Nosé–Hoover chains."""

    name: Literal["nose_hoover"] = Field(default="nose_hoover", description="kind of ensemble")
    temperature: Temperature = Field(default=ROOM, description=OF_BATH)
    relaxation_time: Positive = Field(default=100.0, description="period of the thermostat τ, fs")
    chain_length: int = Field(default=3, ge=1, description="thermostats in the chain")


class CSVR(Config):
    """Constant temperature: stochastic velocity rescaling (Bussi, Donadio & Parrinello)."""

    name: Literal["csvr"] = Field(default="csvr", description="kind of ensemble")
    temperature: Temperature = Field(default=ROOM, description=OF_BATH)
    relaxation_time: Positive = Field(default=100.0, description="τ of the thermostat, fs")


class NPT(Config):
    """Constant temperature and pressure: stochastic rescaling of cell and velocities."""

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


Ensemble = NVE | Langevin | NoseHoover | CSVR | NPT
AnyEnsemble = Annotated[Ensemble, Field(discriminator="name")]


# --- records ---------------------------------------------------------------------------------


class Record(Config):
    """What is recorded between the frames of a trajectory."""

    properties: tuple[str, ...] = Field(
        min_length=1,
        description="what the model predicts besides energy and its derivatives: dipole, "
        "polarizability, charges, ...",
        examples=[("dipole",)],
    )
    interval: int = Field(
        default=4, ge=1, description="steps between two records; spectra want 2 to 4 fs"
    )

    @pydantic.field_validator("properties")
    @classmethod
    def _check_distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"{list(value)} name one property twice")
        return value


# --- runs ------------------------------------------------------------------------------------


class MDConfig(Config):
    """Everything that defines a simulation; paths are relative to the current directory."""

    model: str = Field(
        min_length=1, description="model file", examples=["runs/example/model.safetensors"]
    )
    structure: str = Field(
        min_length=1, description="file with the start structure", examples=["start.xyz"]
    )
    index: int = Field(default=0, description="which structure of the file; -1 is the last")
    charge: float | None = Field(
        default=None, description="total charge of the structure, e; null: what the file says, or 0"
    )
    spin: int | None = Field(
        default=None,
        ge=1,
        description="multiplicity 2S + 1, of a model that depends on it; null: what the file says",
    )
    output: str = Field(
        min_length=1,
        description="what all files of the run are called, without suffix: trajectory, .csv (log), "
        ".png (plot), .restart, .lock",
        examples=["runs/example/md"],
    )
    ensemble: AnyEnsemble = Field(
        default=NVE(), description="what is held constant: nve, langevin, nose_hoover, csvr, npt"
    )
    timestep: float = Field(default=0.5, gt=0, description="fs")
    steps: int = Field(default=20_000, ge=1, lt=2**31, description="number of steps")
    interval: int = Field(default=20, ge=1, description="steps between two samples")
    equilibrate: int = Field(
        default=0, ge=0, description="Langevin steps (friction 0.01/fs) before the first sample"
    )
    replicas: int = Field(
        default=1, ge=1, description="copies of the structure that run at once, independently"
    )
    velocities: Literal["thermal", "keep", "rest"] = Field(
        default="thermal",
        description="thermal: drawn at the temperature; keep: those of the start structure; rest: "
        "none",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="of velocities and thermostat")
    dtype: Literal["float32", "float64"] = Field(
        default="float64", description="precision: float32 or float64"
    )
    engine: Literal["device", "ase"] = Field(
        default="device",
        description="device: everything in one compiled loop; ase: ASE's dynamics with the "
        "calculator (nve and langevin, one replica, no change of the cell)",
    )
    formats: tuple[Literal["extxyz", "traj", "hdf5"], ...] = Field(
        default=("extxyz",), description="of the trajectory: extxyz (.xyz), traj, hdf5 (.h5)"
    )
    record: Record | None = Field(
        default=None,
        description="properties recorded to .series.h5, for tensornet-jax spectrum; null: none",
    )
    restart_every: int | None = Field(
        default=None,
        ge=1,
        description="steps between restart files, a multiple of interval; null: every quarter of a "
        "minute, or more rarely if writing takes long; one is always written at the end",
    )
    resume: bool = Field(
        default=True,
        description="go on from the restart file of this output, if there is one; false: start "
        "anew, and overwrite what earlier runs left under this name",
    )
    skin: float = Field(
        default=0.5, ge=0, description="Å the neighbor list reaches beyond the cutoff"
    )
    stress: bool = Field(
        default=False, description="compute and log the pressure even where nothing needs it"
    )
    max_temperature: float | None = Field(
        default=None,
        gt=0,
        description="K above which the run stops as exploded; null: 10 × temperature + 5000",
    )
    max_displacement: float = Field(
        default=0.5, gt=0, description="Å in one step above which the run stops as exploded"
    )
    plot: bool = Field(default=True, description="plot energy and temperature at the end")

    @pydantic.model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.restart_every is not None and self.restart_every % self.interval:
            raise problem_at(
                ("restart_every",),
                f"{self.restart_every} must be a multiple of interval, {self.interval}: a run "
                "resumes right after a sample",
            )
        if len(set(self.formats)) != len(self.formats):
            raise problem_at(("formats",), f"{list(self.formats)} name one format twice")
        for name, value in self.ensemble:
            for each in (value.start, value.end) if isinstance(value, Ramp) else (value,):
                if isinstance(each, tuple) and len(each) != self.replicas:
                    raise problem_at(
                        ("ensemble", name),
                        f"{len(each)} numbers for {self.replicas} replicas: give one, or one for "
                        "each",
                    )
        if self.engine == "ase":
            self._check_ase()
        return self

    def files(self) -> tuple[str, ...]:
        """Return every file this configuration reads."""
        return self.model, self.structure

    def timed_ensemble(self) -> AnyEnsemble:
        """Return the ensemble, with ramps that last as long as the run given that time."""
        whole = self.steps * self.timestep
        ramps = {
            name: value.model_copy(update={"time": whole})
            for name, value in self.ensemble
            if isinstance(value, Ramp) and value.time is None
        }
        return self.ensemble.model_copy(update=ramps)

    def logs(self) -> tuple[str, ...]:
        """Return what is written besides trajectories, as messages name it."""
        return ("csv",) if self.record is None else ("series", "csv")

    def _check_ase(self) -> None:
        if self.ensemble.name not in ("nve", "langevin"):
            raise problem_at(
                ("ensemble", "name"), f"{self.ensemble.name} needs engine: device, not ase"
            )
        if self.replicas != 1:
            raise problem_at(("replicas",), "more than one needs engine: device, not ase")
