"""The configuration of a loop: sections of training, dynamics, choice and labels."""

from typing import Annotated, Self

import pydantic
from pydantic import Field

from tensornet_jax.active.labelling.config import Labeller
from tensornet_jax.config import NOT_SET_BY_USERS, TOLD_IN_WORDS, Config, problem_at
from tensornet_jax.md.config import MDConfig, Thresholds
from tensornet_jax.selection.config import SelectionConfig
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.config.sources import heads_of

SET_BY_LOOP = "set by the loop"


class TrainStage(RunConfig):
    """A training run whose directory is that of its round."""

    directory: str = Field(
        default=SET_BY_LOOP, description=SET_BY_LOOP, json_schema_extra=NOT_SET_BY_USERS
    )

    @pydantic.model_validator(mode="after")
    def _check_loop(self) -> Self:
        if self.directory != SET_BY_LOOP:
            raise problem_at(("directory",), "is that of the round: leave it out")
        data = self.data
        if data.validation == "none":
            raise problem_at(
                ("data", "validation"),
                "standard deviations are calibrated on a validation set: give a share, or a file",
            )
        if any(heads_of(data.train)) or any(heads_of(data.validation)):
            raise problem_at(("data", "train"), "a loop has one level of theory: leave out head")
        for name, part in data.test.items():
            if not isinstance(part, tuple):
                raise problem_at(
                    ("data", "test", name), "the training set will grow: give a file for tests"
                )
        return self


class ExploreStage(MDConfig):
    """Dynamics that stop where the model is no longer sure, at one volume after the other."""

    model: str = Field(
        default=SET_BY_LOOP, description=SET_BY_LOOP, json_schema_extra=NOT_SET_BY_USERS
    )
    output: str = Field(
        default=SET_BY_LOOP, description=SET_BY_LOOP, json_schema_extra=NOT_SET_BY_USERS
    )
    resume: bool = Field(default=True, description=SET_BY_LOOP, json_schema_extra=NOT_SET_BY_USERS)
    plot: bool = Field(default=False, description="plot energy and temperature; not in a loop")
    stop: Thresholds | None = Field(
        default=Thresholds(forces_std=0.3),
        description="standard deviations above which a replica ends, and its last frame is a "
        "candidate; null: none, with mark",
        json_schema_extra=TOLD_IN_WORDS,
    )
    volumes: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(1.0,),
        min_length=1,
        description="factors of the volume of the start structure, of which each is simulated; "
        "positions and cell are scaled",
    )

    @pydantic.model_validator(mode="after")
    def _check_loop(self) -> Self:
        for name in ("model", "output"):
            if getattr(self, name) != SET_BY_LOOP:
                raise problem_at((name,), "is that of the round: leave it out")
        if not self.resume:
            raise problem_at(("resume",), "the loop goes on where it was: leave it out")
        if self.plot:
            raise problem_at(("plot",), "is not drawn in a loop: leave it out")
        if self.head is not None:
            raise problem_at(("head",), "a loop has one level of theory: leave it out")
        if self.check is None:
            raise problem_at(
                ("stop",), "is needed, e.g. {forces_std: 0.3}: it ends what the model is unsure of"
            )
        if len(set(self.volumes)) != len(self.volumes):
            raise problem_at(("volumes",), f"{list(self.volumes)} name one volume twice")
        return self


def _as_list(value: object) -> object:
    return value if isinstance(value, tuple) else (value,)


class UncertaintyStage(Config):
    """How deviations of a model that is no committee are made: by last-layer rigidity."""

    directions: int | None = Field(
        default=None,
        ge=1,
        description="backward passes for deviations of forces; null: one for each feature, exact",
    )
    isotonic: bool = Field(
        default=False, description="correct deviations by rising curves where it helps"
    )


class ActiveConfig(Config):
    """Everything that defines a loop; paths are relative to the current directory."""

    directory: str = Field(
        min_length=1,
        description="folder of the loop: a folder for each round, the report, the last model",
        examples=["runs/active"],
    )
    rounds: int = Field(
        default=5, ge=1, description="times to explore, select and label; then a last training"
    )
    seed: int = Field(default=0, ge=0, description="of the structures held out for validation")
    train: TrainStage = Field(
        description="as for tensornet-jax train; data.train are the first structures"
    )
    go_on: bool = Field(
        default=True,
        description="train on from the model of the round before; false: from the beginning, as "
        "committees must",
    )
    uncertainty: UncertaintyStage = Field(
        default=UncertaintyStage(), description="how models get their standard deviations"
    )
    explore: Annotated[tuple[ExploreStage, ...], pydantic.BeforeValidator(_as_list)] = Field(
        min_length=1,
        description="as for tensornet-jax md, with stop; or a list of such sections",
        examples=[{"structure": "start.xyz"}],
    )
    select: SelectionConfig = Field(
        default=SelectionConfig(), description="which of the frames too uncertain are labelled"
    )
    label: Labeller = Field(description="who labels: calculator, command or wait")
    validation_share: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of the structures labelled in a round that is validated on",
    )

    @pydantic.model_validator(mode="after")
    def _check_committee(self) -> Self:
        if self.train.training.committee is not None and self.go_on:
            raise problem_at(
                ("go_on",), "a committee begins with random weights in each round: set it to false"
            )
        return self

    def files(self) -> tuple[str, ...]:
        """Return every file this configuration reads."""
        return (*self.train.files(), *(each.structure for each in self.explore))
