"""A training run from its configuration to the finished run directory."""

import dataclasses
import math
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tensornet_jax.data.statistics import force_rms, mean_neighbors
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.potential.trained_on import after_training
from tensornet_jax.runtime.checkpoint import CheckpointStore
from tensornet_jax.runtime.precision import precision_scope
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.config.run import LossTerm, RunConfig, TensorLossTerm
from tensornet_jax.train.data.datasets import (
    DataError,
    DataSets,
    Examples,
    labelled_properties,
    make_data_sets,
    make_examples,
    read_data_sets,
    read_parts,
)
from tensornet_jax.train.data.replay import Replay, counted_from, labelled_by
from tensornet_jax.train.data.tensor_fit import fit_tensors
from tensornet_jax.train.finetune.start import load_start, make_start, resolve, save_start
from tensornet_jax.train.loop import TrainingLoop
from tensornet_jax.train.optimization.losses import active_terms
from tensornet_jax.train.progress import Progress
from tensornet_jax.train.reporting.report import errors_before, evaluate_sets, write_report
from tensornet_jax.train.reporting.reporter import Reporter, Reporters, RunStart
from tensornet_jax.train.reporting.result import RunFacts, TrainingResult
from tensornet_jax.train.reporting.trackers import trackers
from tensornet_jax.train.run_directory import held, record_config
from tensornet_jax.version import __version__


def train(
    config: RunConfig, *, resume: bool = False, reporter: Reporter | None = None
) -> TrainingResult:
    """Train a potential and write its run directory.

    The directory holds config.yaml (resolved), split.json, log_train.csv, log_validation.csv,
    skipped_steps.csv, checkpoints/, model.safetensors (best averaged weights; the last without a
    validation set) and report/, and start.safetensors if the run starts from a trained model. No
    other run can write there meanwhile. On CPU the same configuration gives
    the same weights bit for bit, in one piece or resumed after having been killed at any moment.

    Args:
        config: the run.
        resume: go on from the newest intact checkpoint in the directory.
        reporter: told what happens; nobody if None.

    Raises:
        FileExistsError: the directory holds a run and `resume` is false.
        InUseError: another process runs in the directory.
        DataError: the data cannot be trained on.
        TrainingError: the run cannot go on.
        CheckpointError: no checkpoint can be used.
        ConfigError: the starting model does not fit the configuration.
        ModelFileError: the starting model cannot be read.
    """
    directory = Path(config.directory)
    with held(directory) as begun:
        notes: list[str] = []
        run = (
            ResolvedRun.of(config)
            if config.start is None
            else resolve(config, directory, begun, notes.append)
        ).completed()
        listeners = Reporters([*([reporter] if reporter else []), *trackers(run, directory)])
        for note in notes:
            listeners.message(note)
        try:
            return _train(run, directory, begun, resume, listeners)
        finally:
            listeners.close()


def _train(
    config: ResolvedRun, directory: Path, begun: bool, resume: bool, reporter: Reporter
) -> TrainingResult:
    record_config(config, directory, begun, resume)
    data, start = _data_and_start(config, directory, begun, reporter)
    reporter.audit(data.lines())
    terms = _terms(config, data, reporter)
    model = config.model
    _tell_unseen_spins(model, data, reporter)
    offset = 0.0 if start is None else start.energy_offset
    examples = partial(make_examples, references=data.references, model=model, offset=offset)
    train_examples, validation_examples = examples(data.train), examples(data.validation)
    potential = start or create_potential(
        model.fitted(_mean_neighbors(train_examples)),
        ElementTable(data.references.numbers, data.references.energies),
        seed=config.seed,
        dtype=config.dtype,
        energy_scale=_energy_scale(data),
    )
    seen = [*data.train, *(data.replay.train if data.replay else ())]
    frames = [structure.atoms for structure in seen]
    potential = potential.replace(metadata=after_training(potential.metadata, frames))
    fitted, spreads = fit_tensors(potential, train_examples)
    # A trained model's own scales belong to its weights.
    potential = fitted if start is None else potential
    terms = _scaled(terms, spreads)
    replay = None
    if data.replay is not None and config.data.replay is not None:
        replay = Replay(
            examples(data.replay.train),
            examples(data.replay.validation),
            config.data.replay.batch_size or config.training.batch_size,
            config.data.replay.weight,
        )
    model_path = directory / "model.safetensors"

    def publish(params: Any, progress: Progress) -> None:
        save_model(model_path, _with_weights(potential, params, config, progress))

    precision = precision_scope(config.dtype, config.training.matmul_precision)
    with precision, CheckpointStore(directory / "checkpoints") as store:
        loop = TrainingLoop(
            config,
            potential,
            train_examples,
            validation_examples,
            terms,
            store=store,
            directory=directory,
            reporter=reporter,
            publish=publish,
            resume=begun,
            replay=replay,
            trained_before=config.start is not None,
        )
        reporter.start(
            RunStart(
                directory=str(directory),
                num_train=len(train_examples),
                num_validation=len(validation_examples),
                num_parameters=loop.num_trained,
                num_replay=0 if replay is None else len(replay.train),
                start_step=loop.progress.step,
                steps_per_epoch=loop.steps_per_epoch,
                num_steps=loop.num_steps,
                batch_size=config.training.batch_size,
                terms=tuple(terms),
                tensors={head.name: head.unit for head in potential.tensor_heads},
                device=jax.devices()[0].device_kind,
            )
        )
        outcome = loop.run()
    facts = _facts(loop, outcome, potential)
    if outcome == "interrupted":
        best = _with_weights(potential, loop.best, config, loop.progress)
        result = TrainingResult(directory, best, [], facts, interrupted=True)
        reporter.message(
            f"saved at step {facts.num_steps} of {loop.num_steps} in {directory}: the same command "
            "goes on from there"
        )
    else:
        publish(loop.best, loop.progress)
        # Read back, so that what is evaluated is the file that users will get.
        final = load_model(model_path)
        size = config.training.validation_batch_size
        rows = evaluate_sets(directory / "report", final, data.all(), data.references, size)
        former = []
        if start is not None:
            former = errors_before(directory / "report", start, data.all(), size)
        write_report(directory, config, data, rows, facts, former)
        result = TrainingResult(directory, final, rows, facts, interrupted=False)
    reporter.finish(result)
    return result


def _data_and_start(
    config: ResolvedRun, directory: Path, begun: bool, reporter: Reporter
) -> tuple[DataSets, Potential | None]:
    """Return the data, and the potential before the first step if that is a trained model."""
    where = {"split_path": directory / "split.json", "reuse_split": begun}
    if config.start is None:
        data = read_data_sets(config.data, config.seed, **where, message=reporter.message)
        return data, None
    parts = read_parts(config.data, config.seed, **where, message=reporter.message)
    if begun:
        start = load_start(config, directory)
    else:
        start = make_start(config, parts, reporter.message)
        save_start(start, directory)
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


def _terms(config: RunConfig, data: DataSets, reporter: Reporter) -> dict[str, LossTerm]:
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
    structures = examples.structures
    return mean_neighbors([2 * len(s.pairs) for s in structures], [len(s) for s in structures])


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


def _facts(loop: TrainingLoop, outcome: str, potential: Potential) -> RunFacts:
    progress = loop.progress
    epochs = progress.step / loop.steps_per_epoch
    atoms, pairs = progress.padding.fractions()
    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "ase")
    return RunFacts(
        outcome=outcome,
        num_steps=progress.step,
        epochs=epochs,
        best_epoch=progress.best_step / loop.steps_per_epoch,
        best_loss=progress.best_loss,
        skipped=progress.skipped,
        minutes=loop.seconds / 60,
        structures_per_second=epochs * loop.batches.structures_per_epoch / max(loop.seconds, 1e-9),
        compilations=progress.compilations + sum(loop.compilations),
        atom_padding=atoms,
        pair_padding=pairs,
        num_parameters=potential.num_parameters,
        num_trained=loop.num_trained,
        device=jax.devices()[0].device_kind,
        versions={"tensornet_jax": __version__} | {name: version(name) for name in packages},
    )


def _with_weights(
    potential: Potential, params: Any, config: RunConfig, progress: Progress
) -> Potential:
    """Return the potential with these weights and a note of where they come from."""
    metadata = potential.metadata | {
        "training": config.model_dump(mode="json"),
        "step": progress.best_step,
    }
    if math.isfinite(progress.best_loss):
        metadata["validation_loss"] = progress.best_loss
    variables = {"params": params, "buffers": potential.variables["buffers"]}
    return potential.replace(variables=variables, metadata=metadata)
