"""The configuration of a training run: one immutable object from one YAML file."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

import pydantic
from ase.data import atomic_numbers
from pydantic import Field, SerializeAsAny

from tensornet_jax.config import NOT_SET_BY_USERS, Config, problem_at, unknown_name
from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.data.labels.tensors import TensorLabel
from tensornet_jax.models.heads.tensor_config import TensorHead
from tensornet_jax.properties import LABELLED
from tensornet_jax.runtime.choices import DType, MatmulPrecision
from tensornet_jax.train.config.data import DataConfig, own_labels
from tensornet_jax.train.config.optimizer import OptimizerConfig

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
    if value is None or isinstance(value, Config):
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


def _check_new_elements(value: Any) -> Any:
    if isinstance(value, str) and value not in ("forbid", "add"):
        raise ValueError(unknown_name(value, ("forbid", "add"), "way with new elements"))
    if isinstance(value, dict):
        for symbol in (*value, *value.values()):
            if not isinstance(symbol, str) or atomic_numbers.get(symbol, 0) < 1:
                raise ValueError(f"{symbol!r} is not the symbol of an element")
    return value


class StartConfig(Config):
    """A trained model that training starts from. Its architecture, cutoff and scale are kept."""

    model: str = Field(
        min_length=1,
        description="model file with the weights to start from",
        examples=["universal.safetensors"],
    )
    reference_energies: Literal["refit", "keep"] = Field(
        default="refit",
        description="energies of isolated atoms, which the network does not see: refit takes those "
        "of data.reference_energies, where least_squares fits what the starting model leaves of "
        "the new energies; keep takes the starting model's, for data of its own level of theory",
    )
    elements: Literal["keep", "data"] = Field(
        default="keep",
        description="elements of the new model: keep all of the starting model, or only those of "
        "the data, which is faster",
    )
    new_elements: Annotated[str | dict[str, str], pydantic.BeforeValidator(_check_new_elements)] = (
        Field(
            default="forbid",
            description="elements of the data that the starting model does not know: forbid, add "
            "(each begins as the mean of the known), or {Ge: Si} (germanium begins as silicon)",
        )
    )
    sha256: str | None = Field(
        default=None,
        description="checksum of the model file, recorded when the run begins",
        json_schema_extra=NOT_SET_BY_USERS,
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
        SerializeAsAny[Config] | None, pydantic.BeforeValidator(_model_config), _ModelSchema
    ] = Field(
        default_factory=lambda: _model_config({"name": "tensornet"}),
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
    def _leave_model_to_start(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("start") is not None:
            return {"model": None} | data
        return data

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
        if self.data.validation == "none":
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
        if self.model is None and self.start is None:
            raise problem_at(("model",), "a section with a name is needed unless there is a start")
        if self.data.replay is not None and self.start is None:
            raise problem_at(
                ("data", "replay"),
                "needs start, the model that is not to forget; without it put all structures into "
                "data.train",
            )
        if getattr(self.model, "compression", None) is not None:
            raise problem_at(
                ("model", "compression"), "a compressed model cannot be trained: leave it out"
            )
        tensors = {head.name for head in getattr(self.model, "tensors", ())}
        parts = {"train": self.data.train, "validation": self.data.validation}
        sections = [
            (("data", *place), labels.tensors)
            for place, part in (
                *(((name,), part) for name, part in parts.items()),
                *((("test", name), part) for name, part in self.data.test.items()),
            )
            for labels in own_labels(part)
        ]
        for place, named in (
            (("loss", "tensors"), self.loss.tensors),
            (("data", "labels", "tensors"), self.data.labels.tensors),
            *sections,
        ):
            strange = [] if self.model is None else sorted(set(named) - tensors)
            if strange:
                raise problem_at(
                    (*place, strange[0]),
                    f"{strange[0]}: the model has no such tensor; it has "
                    f"{', '.join(sorted(tensors)) or 'none'}: name it in model.tensors",
                )
        terms = [getattr(self.loss, row.name) for row in LABELLED]
        others = [self.loss.tensors.get(name, TensorLossTerm()) for name in tensors]
        if not any(term is not None and term.weight > 0 for term in (*terms, *others)):
            raise problem_at(
                ("loss",), "no term is left: give a weight to energy, forces, stress or dipole"
            )
        dipole = self.loss.dipole
        heads = getattr(self.model, "heads", ("dipole",))
        if dipole and dipole.weight > 0 and "dipole" not in heads:
            raise problem_at(("loss", "dipole"), "needs the dipole head: add dipole to model.heads")
        return self

    def completed(self) -> Self:
        """Return the configuration with what follows from the model.

        Labels and a loss for each of its tensors: one that is not named stands in the data under
        its own name, and has weight 1. And no reference energies, nor a loss of energies and their
        derivatives, for a model that predicts none.
        """
        heads = {head.name: head for head in getattr(self.model, "tensors", ())}
        data, loss = self.data, self.loss
        if heads:
            data = data.map_labels(lambda labels: with_tensor_labels(labels, heads.values()))
            terms = {name: TensorLossTerm() for name in heads} | loss.tensors
            loss = loss.model_copy(update={"tensors": terms})
        if "energy" not in getattr(self.model, "heads", ("energy",)):
            data = data.model_copy(update={"reference_energies": "none"})
            derived = (row.name for row in LABELLED if row.source == "energy")
            loss = loss.model_copy(update=dict.fromkeys(derived))
        return self.model_copy(update={"data": data, "loss": loss})

    def files(self) -> tuple[str, ...]:
        """Return every file this configuration names."""
        return (*self.data.files(), *([self.start.model] if self.start else []))
