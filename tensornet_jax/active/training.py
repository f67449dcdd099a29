"""The first stage of a round: a model of all structures so far, which knows how sure it is."""

from tensornet_jax.active.config import ActiveConfig
from tensornet_jax.active.errors import reliability_on
from tensornet_jax.active.layout import LoopDirectory, Round
from tensornet_jax.active.sets import TRAIN, VALIDATION, files_before, labelled_before
from tensornet_jax.potential.model_file import save_model
from tensornet_jax.potential.uncertainty.estimate import with_rigidity, with_spread
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.reporting.reporter import Reporter
from tensornet_jax.train.run import train
from tensornet_jax.train.run_directory import RunDirectory


class Interrupted(KeyboardInterrupt):
    """Training was asked to end, and has kept its state."""


def train_round(
    config: ActiveConfig, directory: LoopDirectory, here: Round, reporter: Reporter
) -> None:
    """Train, or go on with it, and give the model its deviations.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM; the same call goes on.
        TrainingError: the run cannot go on.
        ValueError: the data cannot be trained on.
    """
    here.train.begin()
    result = train(run_of(config, directory, here), resume=True, reporter=reporter)
    if result.interrupted:
        raise Interrupted
    validation = labelled_before(directory, here.number, VALIDATION)
    sample = [each.atoms for each in labelled_before(directory, here.number, TRAIN)]
    settings = config.uncertainty
    if result.potential.config.committee:
        sure = with_spread(result.potential, validation, isotonic=settings.isotonic)
    else:
        sure = with_rigidity(
            result.potential,
            sample,
            validation,
            directions=settings.directions,
            isotonic=settings.isotonic,
            seed=config.seed,
        )
    save_model(here.model, sure)
    here.train.finish(
        {
            "train": len(sample),
            "validation": len(validation),
            "errors": reliability_on("validation", sure, validation),
        }
    )


def run_of(config: ActiveConfig, directory: LoopDirectory, here: Round) -> RunConfig:
    """Return the training run of a round."""
    section = config.train.model_dump(mode="json")
    section["directory"] = str(here.train.path)
    for name, file in (("train", TRAIN), ("validation", VALIDATION)):
        files = [str(path) for path in files_before(directory, here.number, file)]
        section["data"][name] = {"file": files, "labels": {}}
    if config.go_on and here.number > 0:
        before = RunDirectory(directory.round(here.number - 1).train.path)
        section["start"] = {"model": str(before.model), "reference_energies": "keep"}
        section["model"] = None
    return RunConfig.model_validate(section)
