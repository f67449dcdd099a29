"""The configuration of a training run: one immutable object from one YAML file."""

import re
from typing import Annotated, Any, Literal, Self

import pydantic
from ase.data import atomic_numbers
from pydantic import Field, SerializeAsAny

from tensornet_jax.config import Config, problem_at, unknown_name
from tensornet_jax.data.labels import LabelConfig
from tensornet_jax.typing import DType, MatmulPrecision

# --- data ------------------------------------------------------------------------------------


def _check_held_out(value: Any) -> Any:
    if isinstance(value, str | tuple):
        return _as_paths(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(
            f"a number of structures, a fraction, or file(s) are needed, not {value!r}"
        )
    if isinstance(value, int) and value < 1:
        raise ValueError(f"hold out at least 1 structure, not {value}")
    if isinstance(value, float) and not 0 < value < 1:
        raise ValueError(f"a fraction lies between 0 and 1, not {value}; write a count as integer")
    return value


def _as_paths(value: Any) -> Any:
    paths = (value,) if isinstance(value, str) else value
    if not (
        isinstance(paths, tuple)
        and paths
        and all(isinstance(path, str) and path.strip() for path in paths)
    ):
        raise ValueError("one path or a list of paths is needed")
    return paths


def _check_references(value: Any) -> Any:
    names = ("least_squares", "isolated_atoms", "none")
    if isinstance(value, str) and value not in names:
        raise ValueError(unknown_name(value, names, "kind of reference energies"))
    if isinstance(value, dict) and set(value) != {"isolated_atoms"}:
        for symbol, energy in value.items():
            if atomic_numbers.get(symbol, 0) < 1:
                raise ValueError(f"{symbol!r} is not the symbol of an element")
            if isinstance(energy, bool | str) or not isinstance(energy, int | float):
                raise ValueError(f"the energy of {symbol} must be a number, not {energy!r}")
    return value


Paths = Annotated[tuple[str, ...], pydantic.BeforeValidator(_as_paths)]
HeldOut = Annotated[int | float | tuple[str, ...], pydantic.BeforeValidator(_check_held_out)]
References = Annotated[str | dict[str, float | str], pydantic.BeforeValidator(_check_references)]


class DataConfig(Config):
    """Which structures are trained on, validated on and tested on, and how they are labelled."""

    train: Paths = Field(
        description="file or list of files to train on: extended XYZ, ASE database, npz, HDF5",
        examples=["train.xyz"],
    )
    validation: HeldOut = Field(
        default=0.1,
        description="structures taken out of train at random (a count, or a fraction below 1), "
        "or file(s)",
    )
    test: dict[str, HeldOut] = Field(
        default={},
        description="name: file(s), for error tables after training; or name: count (or fraction) "
        "of structures taken out of train at random",
    )
    labels: LabelConfig = Field(
        default_factory=LabelConfig, description="what the labels are called, and their units"
    )
    reference_energies: References = Field(
        default="least_squares",
        description="energies of isolated atoms: least_squares, isolated_atoms (one-atom "
        "structures in train), none, {isolated_atoms: file}, or {H: -13.6, ...} in eV",
    )

    @pydantic.model_validator(mode="after")
    def _check_held_out_total(self) -> Self:
        fractions = sum(size for size in self.held_out().values() if isinstance(size, float))
        if fractions >= 1:
            raise ValueError(
                f"validation and test hold out a fraction of {fractions:g}: nothing is left"
            )
        return self

    def held_out(self) -> dict[str, int | float]:
        """Return the parts drawn at random from train: name → count or fraction, validation first.

        A fraction is of all structures in `train`.
        """
        parts: dict[str, Any] = {"validation": self.validation, **self.test}
        return {name: size for name, size in parts.items() if not isinstance(size, tuple)}

    def files(self) -> tuple[str, ...]:
        """Return every file this section names."""
        parts = [self.train, self.validation, *self.test.values()]
        files = [path for part in parts if isinstance(part, tuple) for path in part]
        if isinstance(self.reference_energies, dict):
            files += [path for path in self.reference_energies.values() if isinstance(path, str)]
        return tuple(files)

    @pydantic.field_validator("test")
    @classmethod
    def _check_names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            # The names become file names in the run directory.
            if name in ("train", "validation") or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise problem_at(
                    (name,), "use letters, digits, - and _, and not train or validation"
                )
        return value


# --- loss ------------------------------------------------------------------------------------


class LossTerm(Config):
    """One property's share of the loss."""

    weight: float = Field(default=1.0, ge=0, description="factor of this term; 0 leaves it out")
    kind: Literal["mse", "mae", "huber"] = Field(
        default="mse", description="mse (squared), mae (absolute) or huber (mae beyond delta)"
    )
    delta: float | None = Field(
        default=None,
        gt=0,
        description="huber only: error from which it grows linearly (eV/atom, eV/Å, eV/Å³, e·Å)",
    )

    @pydantic.model_validator(mode="after")
    def _check_delta(self) -> Self:
        if (self.kind == "huber") != (self.delta is not None):
            raise ValueError(
                "huber needs delta, e.g. 0.01"
                if self.delta is None
                else f"delta has no meaning for {self.kind}: remove it, or use kind: huber"
            )
        return self


class LossConfig(Config):
    """The loss is the sum of these terms; null leaves a term out."""

    energy: LossTerm | None = Field(
        default=LossTerm(weight=1.0), description="energy per atom, eV/atom"
    )
    forces: LossTerm | None = Field(
        default=LossTerm(weight=10.0), description="force components, eV/Å"
    )
    stress: LossTerm | None = Field(
        default=None, description="stress components, eV/Å³; periodic structures only"
    )
    dipole: LossTerm | None = Field(
        default=None, description="dipole components, e·Å; the model needs the dipole head"
    )

    @pydantic.model_validator(mode="after")
    def _check_any(self) -> Self:
        terms = (self.energy, self.forces, self.stress, self.dipole)
        if not any(term is not None and term.weight > 0 for term in terms):
            raise ValueError("no term is left: give a weight to energy, forces, stress or dipole")
        return self


# --- optimizer -------------------------------------------------------------------------------


class ConstantSchedule(Config):
    """The learning rate stays as it is, after an optional linear warm-up."""

    name: Literal["constant"] = Field(default="constant", description="kind of schedule")
    warmup_epochs: float = Field(
        default=0.0, ge=0, description="epochs of linear rise from 0 to learning_rate"
    )


class CosineSchedule(Config):
    """Linear warm-up, then half a cosine down to `final_fraction` at the last epoch."""

    name: Literal["cosine"] = Field(default="cosine", description="kind of schedule")
    warmup_epochs: float = Field(
        default=0.0, ge=0, description="epochs of linear rise from 0 to learning_rate"
    )
    final_fraction: float = Field(
        default=0.01, ge=0, le=1, description="last learning rate ÷ learning_rate"
    )


class ExponentialSchedule(Config):
    """Linear warm-up, then a factor of `decay_rate` every `decay_epochs`, smoothly."""

    name: Literal["exponential"] = Field(default="exponential", description="kind of schedule")
    warmup_epochs: float = Field(
        default=0.0, ge=0, description="epochs of linear rise from 0 to learning_rate"
    )
    decay_rate: float = Field(default=0.5, gt=0, lt=1, description="factor per decay_epochs")
    decay_epochs: float = Field(default=100.0, gt=0, description="epochs per factor of decay_rate")
    final_fraction: float = Field(
        default=0.0, ge=0, le=1, description="learning rate never below this × learning_rate"
    )


class PlateauSchedule(Config):
    """Linear warm-up; lowered whenever the validation loss has stopped improving."""

    name: Literal["plateau"] = Field(default="plateau", description="kind of schedule")
    warmup_epochs: float = Field(
        default=0.0, ge=0, description="epochs of linear rise from 0 to learning_rate"
    )
    factor: float = Field(default=0.5, gt=0, lt=1, description="factor of each reduction")
    patience: int = Field(
        default=15, ge=1, description="validations without improvement before a reduction"
    )
    final_fraction: float = Field(
        default=0.001, ge=0, le=1, description="learning rate never below this × learning_rate"
    )


Schedule = Annotated[
    ConstantSchedule | CosineSchedule | ExponentialSchedule | PlateauSchedule,
    Field(discriminator="name"),
]


class OptimizerConfig(Config):
    """How the parameters are moved."""

    name: Literal["adamw", "adam", "amsgrad", "muon"] = Field(
        default="adamw", description="adamw, adam, amsgrad or muon"
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="highest learning rate")
    weight_decay: float = Field(
        default=0.0, ge=0, description="decoupled weight decay per step; adamw and muon only"
    )
    betas: tuple[float, float] = Field(
        default=(0.9, 0.999), description="decay of the gradient's first and second moment"
    )
    epsilon: float = Field(default=1e-8, gt=0, description="added to the root of the second moment")
    schedule: Schedule = Field(
        default=CosineSchedule(),
        description="learning rate over time: constant, cosine, exponential or plateau",
    )
    clip_norm: float | None = Field(
        default=10.0, gt=0, description="largest norm of the whole gradient; null: no clipping"
    )
    ema_decay: float | None = Field(
        default=0.99,
        gt=0,
        lt=1,
        description="decay per step of the averaged weights that are validated and saved; "
        "null: no averaging",
    )

    @pydantic.field_validator("betas")
    @classmethod
    def _check_betas(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError(f"both betas lie in [0, 1), not {value}")
        return value

    @pydantic.model_validator(mode="after")
    def _check_decay(self) -> Self:
        if self.weight_decay and self.name in ("adam", "amsgrad"):
            raise ValueError(
                f"{self.name} has no weight decay: use name: adamw, or remove weight_decay"
            )
        return self


# --- run -------------------------------------------------------------------------------------


class TrainingConfig(Config):
    """How long and in what portions."""

    epochs: int = Field(default=500, gt=0, description="passes over the training structures")
    batch_size: int = Field(default=8, gt=0, description="structures per step")
    validation_batch_size: int = Field(default=32, gt=0, description="structures per evaluation")
    validate_every: int = Field(default=1, gt=0, description="epochs from validation to validation")
    patience: int | None = Field(
        default=None,
        gt=0,
        description="stop after this many validations without improvement; null: never",
    )
    max_skipped_steps: int = Field(
        default=10, ge=0, description="stop with an error after more non-finite steps than this"
    )
    max_minutes: float | None = Field(
        default=None, gt=0, description="stop in good order after so many minutes; null: no limit"
    )
    matmul_precision: MatmulPrecision = Field(
        default="highest",
        description="bits of float32 matrix products on accelerators: highest, tensorfloat32 or "
        "bfloat16; faster and less exact, in training and validation alone",
    )


class LoggingConfig(Config):
    """Where metrics go besides the CSV files of the run directory."""

    tensorboard: bool = Field(default=False, description="also write TensorBoard event files")
    wandb: str | None = Field(
        default=None, description="also log to this Weights & Biases project; null: no"
    )


def _model_configs() -> dict[str, type[Config]]:
    # Imported here because the models bring jax and flax with them.
    from tensornet_jax.models import MODELS

    return {name: classes[0] for name, classes in MODELS.items()}


def _model_config(value: Any) -> Any:
    if isinstance(value, Config):
        return value
    configs = _model_configs()
    if not isinstance(value, dict) or "name" not in value:
        raise ValueError(f"a section with a name is needed: {', '.join(configs)}")
    if value["name"] not in tuple(configs):
        raise problem_at(("name",), unknown_name(value["name"], tuple(configs), "model"))
    return configs[value["name"]].model_validate(value)


class _ModelSchema:
    """Gives the JSON schema of the model section: one of the registered models."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        return {
            "anyOf": [handler(each.__pydantic_core_schema__) for each in _model_configs().values()]
        }


class RunConfig(Config):
    """Everything that defines a training run; paths are relative to the current directory."""

    directory: str = Field(
        min_length=1,
        description="run directory: resolved config, splits, logs, checkpoints, model, report",
        examples=["runs/example"],
    )
    seed: int = Field(default=0, ge=0, description="fixes splits, initial parameters and batches")
    dtype: DType = Field(default="float32", description="precision of training: float32 or float64")
    data: DataConfig = Field(description="structures and labels")
    model: Annotated[
        SerializeAsAny[Config], pydantic.BeforeValidator(_model_config), _ModelSchema
    ] = Field(
        default_factory=lambda: _model_config({"name": "tensornet"}),
        description="model; name picks the architecture",
    )
    loss: LossConfig = Field(default=LossConfig(), description="what is minimised")
    optimizer: OptimizerConfig = Field(
        default=OptimizerConfig(), description="how the parameters are moved"
    )
    training: TrainingConfig = Field(
        default=TrainingConfig(), description="how long and in what portions"
    )
    logging: LoggingConfig = Field(default=LoggingConfig(), description="where metrics go")

    @pydantic.model_validator(mode="after")
    def _check_sections_together(self) -> Self:
        if self.dtype == "float64" and self.training.matmul_precision != "highest":
            raise problem_at(
                ("training", "matmul_precision"),
                "matrix products in float64 are never rounded: remove this, or set dtype: float32",
            )
        warmup, epochs = self.optimizer.schedule.warmup_epochs, self.training.epochs
        if warmup >= epochs:
            raise problem_at(
                ("optimizer", "schedule", "warmup_epochs"),
                f"{warmup:g} must be less than training.epochs, {epochs}",
            )
        if self.training.validate_every > epochs:
            raise problem_at(
                ("training", "validate_every"),
                f"{self.training.validate_every} must not exceed training.epochs, {epochs}: "
                "nothing would be validated",
            )
        if getattr(self.model, "compression", None) is not None:
            raise problem_at(
                ("model", "compression"), "a compressed model cannot be trained: leave it out"
            )
        dipole = self.loss.dipole
        if dipole and dipole.weight > 0 and "dipole" not in getattr(self.model, "heads", ()):
            raise problem_at(("loss", "dipole"), "needs the dipole head: add dipole to model.heads")
        return self
