"""A training run whose model is known, from its configuration or the file that it starts from."""

from typing import Annotated, Self

import pydantic
from pydantic import Field, SerializeAsAny

from tensornet_jax.config import problem_at
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.properties import LABELLED
from tensornet_jax.train.config.model import ModelSchema, read_model
from tensornet_jax.train.config.run import RunConfig, TensorLossTerm, with_tensor_labels


class ResolvedRun(RunConfig):
    """What `RunConfig` describes, with a model in any case; `config.yaml` of a run is one."""

    model: Annotated[
        SerializeAsAny[ModelConfig], pydantic.BeforeValidator(read_model), ModelSchema
    ] = Field(description="model; name picks the architecture")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _leave_model_to_start(cls, data: object) -> object:
        # In place of that of `RunConfig`: here the model is required.
        return data

    @classmethod
    def of(cls, config: RunConfig) -> Self:
        """Return a configuration that has a model as a resolved run.

        Raises:
            ValueError: it leaves the model to the file that it starts from, which
                `finetune.start.resolve` reads.
        """
        if config.model is None:
            raise ValueError("the model is that of start.model: resolve the configuration first")
        # Every section has been validated.
        return cls.model_construct(config.model_fields_set, **dict(config))

    def completed(self) -> Self:
        """Return the run with what follows from the model.

        Heads are those that the data name. Labels and a loss for each of its tensors: one that is
        not named stands in the data under its own name, and has weight 1. And no reference
        energies, nor a loss of energies and their derivatives, for a model that predicts none.
        """
        model, levels = self.model, self.data.heads()
        if self.start is None:
            if model.levels not in ((), levels):
                raise problem_at(
                    ("model", "levels"),
                    f"{list(model.levels)} are not the heads of data.train, {list(levels)}: leave "
                    "it out",
                )
            model = model.model_copy(update={"levels": levels})
        heads = {head.name: head for head in self.model.tensors}
        data, loss = self.data, self.loss
        if heads:
            data = data.map_labels(lambda labels: with_tensor_labels(labels, heads.values()))
            terms = {name: TensorLossTerm() for name in heads} | loss.tensors
            loss = loss.model_copy(update={"tensors": terms})
        if "energy" not in self.model.heads:
            data = data.model_copy(update={"reference_energies": "none"})
            derived = (row.name for row in LABELLED if row.source == "energy")
            loss = loss.model_copy(update=dict.fromkeys(derived))
        return self.model_copy(update={"model": model, "data": data, "loss": loss})
