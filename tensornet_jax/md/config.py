"""The configuration of a simulation."""

from typing import Annotated, Literal, Self, TypeAlias

import pydantic
from pydantic import Field

from tensornet_jax.config import TOLD_IN_WORDS, Config, problem_at, unknown_name
from tensornet_jax.md.engines.capabilities import Demand
from tensornet_jax.md.engines.registry import ENGINES, refusals
from tensornet_jax.md.ensembles.ensemble import Ensemble
from tensornet_jax.md.ensembles.numbers import Ramp
from tensornet_jax.md.ensembles.registry import NVE, AnyEnsemble

FirstVelocities: TypeAlias = Literal["thermal", "keep", "rest"]


def _known_engine(name: str) -> str:
    if name not in ENGINES:
        raise ValueError(unknown_name(name, tuple(ENGINES), "engine"))
    return name


# --- records ---------------------------------------------------------------------------------


class Record(Config):
    """What is recorded between the frames of a trajectory."""

    properties: tuple[str, ...] = Field(
        min_length=1,
        description="what the model predicts besides energy and its derivatives: dipole, "
        "polarizability, charges, ...; heat_flux, or heat_flux_potential, which leaves out what "
        "moving atoms carry",
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


# --- checks ----------------------------------------------------------------------------------


class Thresholds(Config):
    """Standard deviations of a model with an uncertainty that are too large."""

    energy_std: float | None = Field(default=None, gt=0, description="of the structure, eV")
    energies_std: float | None = Field(
        default=None, gt=0, description="of the atom that is the least sure, eV"
    )
    forces_std: float | None = Field(
        default=None,
        gt=0,
        description="of the atom that is the least sure, root of the sum of its components' "
        "squares, eV/Å",
        examples=[0.3],
    )
    stress_std: float | None = Field(
        default=None, gt=0, description="of the component that is the least sure, eV/Å³"
    )

    @pydantic.model_validator(mode="after")
    def _check_any(self) -> Self:
        if not self.given:
            raise ValueError("no threshold: give one of " + ", ".join(type(self).model_fields))
        return self

    @property
    def given(self) -> dict[str, float]:
        """Those that are set, by name."""
        return self.model_dump(exclude_none=True)


class Check(Config):
    """When a simulation is too uncertain."""

    stop: Thresholds | None = Field(default=None, description="above which a structure stops")
    mark: Thresholds | None = Field(default=None, description="above which it is marked")
    every: int = Field(default=10, ge=1, description="steps between two checks")

    @pydantic.model_validator(mode="after")
    def _check_any(self) -> Self:
        if self.stop is None and self.mark is None:
            raise ValueError("nothing to check: give stop or mark")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The deviations that are computed."""
        both = [each.given for each in (self.stop, self.mark) if each is not None]
        return tuple(sorted({name for given in both for name in given}))


# --- runs ------------------------------------------------------------------------------------


class MDConfig(Config):
    """Everything that defines a simulation; paths are relative to the current directory."""

    model: str = Field(
        min_length=1, description="model file", examples=["runs/example/model.safetensors"]
    )
    head: str | None = Field(
        default=None,
        description="of a model with several heads: the level of theory that is meant; null: the "
        "only one",
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
    velocities: FirstVelocities = Field(
        default="thermal",
        description="thermal: drawn at the temperature; keep: those of the start structure; rest: "
        "none",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="of velocities and thermostat")
    dtype: Literal["float32", "float64"] = Field(
        default="float64", description="precision: float32 or float64"
    )
    engine: Annotated[str, pydantic.AfterValidator(_known_engine)] = Field(
        default="device",
        description="; ".join(f"{name}: {engine.about}" for name, engine in ENGINES.items()),
    )
    formats: tuple[Literal["extxyz", "traj", "hdf5"], ...] = Field(
        default=("extxyz",), description="of the trajectory: extxyz (.xyz), traj, hdf5 (.h5)"
    )
    record: Record | None = Field(
        default=None,
        description="properties recorded to .series.h5, for tensornet-jax spectrum; null: none",
    )
    stop: Thresholds | None = Field(
        default=None,
        description="standard deviations above which a replica stays where it is, of a model with "
        "an uncertainty, e.g. {forces_std: 0.3}; or energy_std, energies_std, stress_std, in eV "
        "and Å; null: none",
        json_schema_extra=TOLD_IN_WORDS,
    )
    mark: Thresholds | None = Field(
        default=None,
        description="likewise, above which its frames are marked as uncertain; null: none",
        json_schema_extra=TOLD_IN_WORDS,
    )
    check_every: int | None = Field(
        default=None,
        ge=1,
        description="steps between two looks at stop and mark, a divisor of interval; null: "
        "interval",
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
        if self.interval % (self.check_every or self.interval):
            raise problem_at(
                ("check_every",),
                f"{self.check_every} must be a divisor of interval, {self.interval}: every sample "
                "says how sure it is",
            )
        demand = Demand(
            self.ensemble,
            self.replicas,
            self.stress,
            self.record is not None,
            checks=self.check is not None,
        )
        for key, reason in refusals(self.engine, demand):
            raise problem_at(key, reason)
        return self

    @property
    def check(self) -> Check | None:
        """What of standard deviations is checked; None for nothing."""
        if self.stop is None and self.mark is None:
            return None
        return Check(stop=self.stop, mark=self.mark, every=self.check_every or self.interval)

    def files(self) -> tuple[str, ...]:
        """Return every file this configuration reads."""
        return self.model, self.structure

    def timed_ensemble(self) -> Ensemble:
        """Return the ensemble, with ramps that last as long as the run given that time."""
        return self.ensemble.timed(self.steps * self.timestep)

    def logs(self) -> tuple[str, ...]:
        """Return what is written besides trajectories, as messages name it."""
        return ("csv",) if self.record is None else ("series", "csv")
