"""From a configuration to all that the first step needs: data, losses, and a potential."""

import dataclasses
import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from tensornet_jax.data.statistics import force_rms, mean_neighbors
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.potential.trained_on import after_training
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.config.run import LossTerm, TensorLossTerm
from tensornet_jax.train.data.datasets import (
    DataError,
    DataSets,
    labelled_properties,
    make_data_sets,
    make_examples,
    read_data_sets,
    read_parts,
)
from tensornet_jax.train.data.examples import Examples
from tensornet_jax.train.data.replay import Replay, counted_from, labelled_by
from tensornet_jax.train.data.tensor_fit import fit_tensors
from tensornet_jax.train.finetune.start import load_start, make_start, save_start
from tensornet_jax.train.optimization.losses import active_terms
from tensornet_jax.train.reporting.reporter import Reporter
from tensornet_jax.train.run_directory import RunDirectory
from tensornet_jax.train.run_examples import RunExamples


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
    data, finetuned = _data_and_finetuned(config, directory, begun, reporter)
    reporter.audit(data.lines())
    terms = _terms(config, data, reporter)
    model = config.model
    _tell_unseen_spins(model, data, reporter)
    offset = 0.0 if finetuned is None else finetuned.energy_offset
    examples = partial(make_examples, references=data.references, model=model, offset=offset)
    train, validation = examples(data.train), examples(data.validation)
    potential = finetuned or create_potential(
        model.fitted(_mean_neighbors(train)),
        ElementTable(data.references.numbers, data.references.energies),
        seed=config.seed,
        dtype=config.dtype,
        energy_scale=_energy_scale(data),
    )
    seen = [*data.train, *(data.replay.train if data.replay else ())]
    frames = [structure.atoms for structure in seen]
    potential = potential.replace(metadata=after_training(potential.metadata, frames))
    fitted, spreads = fit_tensors(potential, train)
    replay = None
    if data.replay is not None and config.data.replay is not None:
        replay = Replay(
            examples(data.replay.train),
            examples(data.replay.validation),
            config.data.replay.batch_size or config.training.batch_size,
            config.data.replay.weight,
        )
    return PreparedRun(
        data,
        RunExamples(train, validation, replay),
        _scaled(terms, spreads),
        # A trained model's own scales belong to its weights.
        fitted if finetuned is None else potential,
        finetuned,
    )


def _data_and_finetuned(
    config: ResolvedRun, directory: RunDirectory, begun: bool, reporter: Reporter
) -> tuple[DataSets, Potential | None]:
    """Return the data, and the potential before the first step if that is a trained model."""
    if config.start is None:
        data = read_data_sets(
            config.data,
            config.seed,
            split_path=directory.split,
            reuse_split=begun,
            message=reporter.message,
        )
        return data, None
    parts = read_parts(
        config.data,
        config.seed,
        split_path=directory.split,
        reuse_split=begun,
        message=reporter.message,
    )
    if begun:
        start = load_start(config, directory.path)
    else:
        start = make_start(config, parts, reporter.message)
        save_start(start, directory.path)
    replay = parts.replay
    if replay is not None and start.replay_references is not None:
        replay = counted_from(replay, start.replay_references, start.references)
    elif replay is not None:
        replay = labelled_by(replay, start.potential, config.training.validation_batch_size)
    parts = dataclasses.replace(parts, replay=replay)
    data = make_data_sets(parts, config.data, start.references, reporter.message)
    return data, start.potential


def _tell_unseen_spins(model: ModelConfig, data: DataSets, reporter: Reporter) -> None:
    spins = {each.state.spin for each in data.train if isinstance(each.state.spin, int)}
    if len(spins) > 1 and not model.needs_spin:
        found = ", ".join(map(str, sorted(spins)))
        reporter.message(
            f"training structures have spin multiplicities {found}, which the model is not told: "
            "if energies depend on them, add spin to model.electronic_state"
        )


def _terms(config: ResolvedRun, data: DataSets, reporter: Reporter) -> dict[str, LossTerm]:
    """Return the loss terms that the training data have labels for."""
    wanted = active_terms(config.loss)
    labelled = labelled_properties(data.train)
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
    if not data.validation:
        raise DataError("no validation structures: set data.validation")
    if not set(terms) & set(labelled_properties(data.validation)):
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


def _energy_scale(data: DataSets) -> float:
    """Return the size of one unit of network output in eV.

    The RMS force times 1 Å, since forces outnumber energies; without forces the spread of the
    energy per atom about the isolated atoms; without either 1 eV.
    """
    per_atom = [(each.energy - data.references.of(each.numbers)) / len(each) for each in data.train]
    known = [energy for energy in per_atom if not math.isnan(energy)]
    for scale in (force_rms(data.train), float(np.std(known)) if known else 0.0):
        if math.isfinite(scale) and scale > 1e-6:
            return scale
    return 1.0
