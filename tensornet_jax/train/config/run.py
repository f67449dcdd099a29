"""The configuration of a training run, as its YAML file has it; `resolved` has its model too."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field, SerializeAsAny

from tensornet_jax.config import Config, KeyPath, problem_at
from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.data.labels.tensors import TensorLabel
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.models.heads.tensor_config import TensorHead
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.properties import LABELLED
from tensornet_jax.runtime.choices import DType, MatmulPrecision
from tensornet_jax.train.config.data import DataConfig
from tensornet_jax.train.config.model import ModelSchema, read_model
from tensornet_jax.train.config.optimizer import OptimizerConfig
from tensornet_jax.train.config.sources import own_labels
from tensornet_jax.train.config.start import StartConfig

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


class TensorLossTerm(LossTerm):
    """The share of a tensor that one of the model's heads predicts."""

    scale: float | None = Field(
        default=None,
        gt=0,
        description="size of error that counts as one, in the tensor's unit; null: the spread of "
        "the training labels that their composition does not explain",
    )


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
    tensors: dict[str, TensorLossTerm | None] = Field(
        default={},
        description="components of the model's tensors, by name; one that is not named has "
        "weight 1",
    )


def with_tensor_labels(labels: LabelConfig, heads: Iterable[TensorHead]) -> LabelConfig:
    """Return where labels of all these heads are: if nothing is said, under their own names.

    Or, in structures without that, under another key that the table of properties has for them.
    """
    tensors = {}
    for head in heads:
        aliases = tuple(key for key in head.row.keys if key != head.name)
        label = labels.tensors.get(head.name, TensorLabel(key=head.name, aliases=aliases))
        tensors[head.name] = label.model_copy(update={"per": label.per or head.per})
    return labels.model_copy(update={"tensors": tensors})


# --- run -------------------------------------------------------------------------------------


def _check_devices(value: object) -> object:
    if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError(f"{value!r} is no number of devices: give all, or a number from 1 on")


class TrainingConfig(Config):
    """How long and in what portions."""

    epochs: int = Field(default=500, gt=0, description="passes over the training structures")
    batch_size: int = Field(
        default=8, gt=0, description="structures per step, on all devices together"
    )
    validation_batch_size: int = Field(
        default=32, gt=0, description="structures per evaluation, on each device"
    )
    devices: Annotated[int | Literal["all"], pydantic.BeforeValidator(_check_devices)] = Field(
        default="all", description="devices that share every batch: all, or how many"
    )
    committee: int | None = Field(
        default=None,
        ge=2,
        description="models to train at once, each with random weights and an order of the data of "
        "its own: their mean predicts, and their spread says how sure it is; null: one model",
    )
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
    start: StartConfig | None = Field(
        default=None, description="trained model to start from; null: random weights"
    )
    model: Annotated[
        SerializeAsAny[ModelConfig] | None, pydantic.BeforeValidator(read_model), ModelSchema
    ] = Field(
        default_factory=TensorNetConfig,
        description="model; name picks the architecture. With start leave it out: it is that of "
        "the model file",
    )
    loss: LossConfig = Field(default=LossConfig(), description="what is minimized")
    optimizer: OptimizerConfig = Field(
        default=OptimizerConfig(), description="how the parameters are moved"
    )
    training: TrainingConfig = Field(
        default=TrainingConfig(), description="how long and in what portions"
    )
    logging: LoggingConfig = Field(default=LoggingConfig(), description="where metrics go")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _leave_model_to_start(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("start") is not None:
            return {"model": None} | data
        return data

    @pydantic.model_validator(mode="after")
    def _check_times(self) -> Self:
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
        return self

    @pydantic.model_validator(mode="after")
    def _check_committee(self) -> Self:
        if self.model is not None and self.model.committee:
            raise problem_at(("model", "committee"), "set training.committee instead")
        if self.training.committee is None:
            return self
        if self.start is not None:
            raise problem_at(
                ("training", "committee"),
                "members differ by their random weights, and start gives all of them the same: "
                "leave out start",
            )
        if self.training.devices not in (1, "all"):
            raise problem_at(
                ("training", "devices"),
                "a committee is trained on one device: set it to 1, or leave it out",
            )
        return self

    @pydantic.model_validator(mode="after")
    def _check_unvalidated(self) -> Self:
        if self.data.validation != "none":
            return self
        if self.training.patience is not None:
            raise problem_at(
                ("training", "patience"), "has no meaning for data.validation: none: remove it"
            )
        if self.optimizer.schedule.name == "plateau":
            raise problem_at(
                ("optimizer", "schedule"),
                "plateau follows the validation loss, and data.validation is none: use cosine, "
                "exponential or constant",
            )
        return self

    @pydantic.model_validator(mode="after")
    def _check_start(self) -> Self:
        if self.model is None and self.start is None:
            raise problem_at(("model",), "a section with a name is needed unless there is a start")
        if self.data.replay is not None and self.start is None:
            raise problem_at(
                ("data", "replay"),
                "needs start, the model that is not to forget; without it put all structures into "
                "data.train",
            )
        return self

    @pydantic.model_validator(mode="after")
    def _check_model(self) -> Self:
        if self.model is None:
            return self
        if self.model.compression is not None:
            raise problem_at(
                ("model", "compression"), "a compressed model cannot be trained: leave it out"
            )
        known = {head.name for head in self.model.tensors}
        for place, named in self._named_tensors():
            strange = sorted(set(named) - known)
            if strange:
                raise problem_at(
                    (*place, strange[0]),
                    f"{strange[0]}: the model has no such tensor; it has "
                    f"{', '.join(sorted(known)) or 'none'}: name it in model.tensors",
                )
        return self

    def _named_tensors(self) -> Iterator[tuple[KeyPath, Iterable[str]]]:
        """The sections that name tensors: where they stand, and the names."""
        yield ("loss", "tensors"), self.loss.tensors
        yield ("data", "labels", "tensors"), self.data.labels.tensors
        parts = {"train": self.data.train, "validation": self.data.validation}
        places = [((name,), part) for name, part in parts.items()]
        places += [(("test", name), part) for name, part in self.data.test.items()]
        for place, part in places:
            for labels in own_labels(part):
                yield ("data", *place), labels.tensors

    @pydantic.model_validator(mode="after")
    def _check_loss(self) -> Self:
        loss, model = self.loss, self.model
        # A model that is not known yet has at least the tensors that are named.
        tensors = loss.tensors if model is None else [head.name for head in model.tensors]
        terms = [getattr(loss, row.name) for row in LABELLED]
        others = [loss.tensors.get(name, TensorLossTerm()) for name in tensors]
        if not any(term is not None and term.weight > 0 for term in (*terms, *others)):
            raise problem_at(
                ("loss",), "no term is left: give a weight to energy, forces, stress or dipole"
            )
        if loss.dipole and loss.dipole.weight > 0 and model and "dipole" not in model.heads:
            raise problem_at(("loss", "dipole"), "needs the dipole head: add dipole to model.heads")
        return self

    def files(self) -> tuple[str, ...]:
        """Return every file this configuration names."""
        return (*self.data.files(), *([self.start.model] if self.start else []))
