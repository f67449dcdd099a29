"""From a configuration to all that the first step needs: data, losses, and a potential."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tensornet_jax.data.sources.source import Ranges, Source, evenly
from tensornet_jax.data.statistics import mean_neighbors
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.potential.heads import with_level_scales
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.potential.trained_on import record_of, with_record
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.config.run import LossTerm, TensorLossTerm
from tensornet_jax.train.data.datasets import DataSets
from tensornet_jax.train.data.examples import Examples, HeldExamples
from tensornet_jax.train.data.parts import DataError
from tensornet_jax.train.data.replay import Replay
from tensornet_jax.train.data.tensor_fit import fit_tensors
from tensornet_jax.train.loading import Loaded, load
from tensornet_jax.train.optimization.losses import active_terms
from tensornet_jax.train.reporting.reporter import Reporter
from tensornet_jax.train.run_directory import RunDirectory
from tensornet_jax.train.run_examples import RunExamples

MOST_FITTED = 10_000
"""Structures of a head that are not held in memory to which tensors are fitted, evenly spaced."""


@dataclass(frozen=True)
class PreparedRun:
    """A run before its first step.

    Attributes:
        data: the structures as they were read.
        examples: the same, ready for the network.
        terms: the loss terms that training structures have labels for.
        potential: with the weights of the first step.
        finetuned: the trained potential that the run begins with, if it does.
    """

    data: DataSets
    examples: RunExamples
    terms: dict[str, LossTerm]
    potential: Potential
    finetuned: Potential | None


def prepare(
    config: ResolvedRun, directory: RunDirectory, begun: bool, reporter: Reporter
) -> PreparedRun:
    """Read the data of a run and make its potential.

    Args:
        config: the resolved configuration.
        directory: the run directory, which exists.
        begun: whether it holds a run that is to go on.
        reporter: is told of the data, and what follows from them.

    Raises:
        DataError: the data cannot be trained on.
    """
    loaded = load(config, directory, begun, reporter)
    data, finetuned = loaded.data, loaded.finetuned
    reporter.audit(data.lines())
    terms = _terms(config, loaded, reporter)
    model = config.model
    _tell_unseen_spins(model, loaded.facts.spins, reporter)
    update = {"committee": config.training.committee}
    potential = finetuned or create_potential(
        model.fitted(_mean_neighbors(loaded.train)).model_copy(update=update),
        ElementTable(data.references.numbers, data.references.energies),
        seed=config.seed,
        dtype=config.dtype,
        energy_scale=loaded.facts.energy_scale,
    )
    if finetuned is None and model.num_levels > 1:
        potential = with_level_scales(potential, loaded.facts.level_scales)
    record = loaded.facts.trained_on.merged(record_of(potential.metadata))
    potential = potential.replace(metadata=with_record(potential.metadata, record))
    fitted, spreads = fit_tensors(potential, _looked_at(potential, loaded))
    replay = None
    if data.replay is not None and config.data.replay is not None:
        replay = Replay(
            HeldExamples([loaded.make(each) for each in data.replay.train]),
            HeldExamples([loaded.make(each) for each in data.replay.validation]),
            config.data.replay.batch_size or config.training.batch_size,
            config.data.replay.weight,
        )
    return PreparedRun(
        data,
        RunExamples(loaded.train, loaded.validation, replay),
        _scaled(terms, spreads),
        # A trained model's own scales belong to its weights.
        fitted if finetuned is None else potential,
        finetuned,
    )


def _looked_at(potential: Potential, loaded: Loaded) -> Examples:
    """Return examples to fit tensors to: all that are in memory, else some of each head."""
    train, source = loaded.train, loaded.data.train
    if not isinstance(source, Source) or not potential.tensor_heads:
        return train
    places = [Ranges([(0, len(source))])]
    if potential.config.num_levels > 1:
        places = [source.places_of(head) for head in potential.config.levels]
    chosen = [np.asarray(own[evenly(len(own), MOST_FITTED)]) for own in places if len(own)]
    return HeldExamples(train.many(np.concatenate(chosen).tolist()))


def _tell_unseen_spins(model: ModelConfig, spins: Sequence[int], reporter: Reporter) -> None:
    if len(spins) > 1 and not model.needs_spin:
        found = ", ".join(map(str, spins))
        reporter.message(
            f"training structures have spin multiplicities {found}, which the model is not told: "
            "if energies depend on them, add spin to model.electronic_state"
        )


def _terms(config: ResolvedRun, loaded: Loaded, reporter: Reporter) -> dict[str, LossTerm]:
    """Return the loss terms that the training data have labels for."""
    wanted = active_terms(config.loss)
    labelled = loaded.facts.labelled
    for name in wanted:
        if name not in labelled:
            reporter.message(f"loss.{name} is left out: no training structure has this label")
    terms = {name: term for name, term in wanted.items() if name in labelled}
    if not terms:
        raise DataError(
            f"no training structure has a label for {', '.join(wanted)}: check data.labels; "
            f"labels found: {', '.join(labelled) or 'none'}"
        )
    if config.data.validation == "none":
        return terms
    if not len(loaded.validation):
        raise DataError("no validation structures: set data.validation")
    if not set(terms) & set(loaded.facts.validated):
        raise DataError(f"no validation structure has a label for {', '.join(terms)}")
    return terms


def _scaled(terms: dict[str, LossTerm], spreads: dict[str, float]) -> dict[str, LossTerm]:
    """Return the terms with a scale for each tensor that the configuration gives none."""
    return {
        name: term.model_copy(update={"scale": spreads[name]})
        if isinstance(term, TensorLossTerm) and term.scale is None
        else term
        for name, term in terms.items()
    }


def _mean_neighbors(examples: Examples) -> float:
    sizes = examples.sizes
    return mean_neighbors(2 * sizes.pairs.astype(np.int64), sizes.atoms)
