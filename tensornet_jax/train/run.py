"""A training run from its configuration to the finished run directory."""

import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from tensornet_jax.checkpoint import CheckpointStore
from tensornet_jax.config import dump_config, load_config
from tensornet_jax.data.labels import labels_of
from tensornet_jax.data.statistics import force_rms, mean_neighbours
from tensornet_jax.model_file import load_model, save_model
from tensornet_jax.models.common import ModelConfig
from tensornet_jax.potential import ElementTable, Potential, create_potential
from tensornet_jax.precision import precision_scope
from tensornet_jax.train.config import LossTerm, RunConfig
from tensornet_jax.train.datasets import (
    DataError,
    DataSets,
    Examples,
    labelled_properties,
    make_examples,
    read_data_sets,
)
from tensornet_jax.train.loop import TrainingError, TrainingLoop
from tensornet_jax.train.losses import active_terms
from tensornet_jax.train.progress import Progress
from tensornet_jax.train.report import evaluate_sets, write_report
from tensornet_jax.train.reporter import Reporter, Reporters, RunStart
from tensornet_jax.train.result import RunFacts, TrainingResult
from tensornet_jax.train.trackers import trackers
from tensornet_jax.version import __version__

# What may differ between the pieces of one run. Anything else would change the steps to come in a
# way that neither configuration describes.
RESUMABLE = frozenset(
    {
        "directory",
        "training.epochs",
        "training.patience",
        "training.max_minutes",
        "training.max_skipped_steps",
        "training.validate_every",
        "logging.tensorboard",
        "logging.wandb",
    }
)


def train(
    config: RunConfig, *, resume: bool = False, reporter: Reporter | None = None
) -> TrainingResult:
    """Train a potential and write its run directory.

    The directory holds config.yaml (resolved), split.json, log_train.csv, log_validation.csv,
    skipped_steps.csv, checkpoints/, model.safetensors (best averaged weights) and report/. On CPU
    the same configuration gives the same weights bit for bit, in one piece or resumed after having
    been killed at any moment.

    Args:
        config: the run.
        resume: go on from the newest intact checkpoint in the directory.
        reporter: told what happens; nobody if None.

    Raises:
        FileExistsError: the directory holds a run and `resume` is false.
        DataError: the data cannot be trained on.
        TrainingError: the run cannot go on.
        CheckpointError: no checkpoint can be used.
    """
    directory = Path(config.directory)
    listeners = Reporters([*([reporter] if reporter else []), *trackers(config, directory)])
    try:
        return _train(config, directory, resume, listeners)
    finally:
        listeners.close()


def _train(config: RunConfig, directory: Path, resume: bool, reporter: Reporter) -> TrainingResult:
    begun = _open_directory(config, directory, resume)
    data = read_data_sets(
        config.data,
        config.seed,
        directory / "split.json",
        reuse_split=begun,
        message=reporter.message,
    )
    reporter.audit(data.audit.lines())
    terms = _terms(config, data, reporter)
    model = cast(ModelConfig, config.model)
    train_examples = make_examples(data.train, data.references, model.cutoff)
    potential = create_potential(
        model.fitted(_mean_neighbours(train_examples)),
        ElementTable(data.references.numbers, data.references.energies),
        seed=config.seed,
        dtype=config.dtype,
        energy_scale=_energy_scale(data),
    )
    validation_examples = make_examples(data.validation, data.references, potential.cutoff)
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
        )
        reporter.start(
            RunStart(
                directory=str(directory),
                num_train=len(train_examples),
                num_validation=len(validation_examples),
                num_parameters=potential.num_parameters,
                start_step=loop.progress.step,
                steps_per_epoch=loop.steps_per_epoch,
                num_steps=loop.num_steps,
                batch_size=config.training.batch_size,
                terms=tuple(terms),
                device=jax.devices()[0].device_kind,
            )
        )
        outcome = loop.run()
    facts = _facts(loop, outcome, potential, len(train_examples))
    if outcome == "interrupted":
        best = _with_weights(potential, loop.best, config, loop.progress)
        result = TrainingResult(directory, best, [], facts, interrupted=True)
        reporter.message(f"saved at step {facts.num_steps}: resume to go on")
    else:
        publish(loop.best, loop.progress)
        # Read back, so that what is evaluated is the file that users will get.
        final = load_model(model_path)
        rows = evaluate_sets(
            directory / "report",
            final,
            data.all(),
            data.references,
            config.training.validation_batch_size,
        )
        write_report(directory, config, data, rows, facts)
        result = TrainingResult(directory, final, rows, facts, interrupted=False)
    reporter.finish(result)
    return result


def _open_directory(config: RunConfig, directory: Path, resume: bool) -> bool:
    """Write the resolved configuration and return whether there is a run to resume.

    If there is, the configuration must be that of its first piece, but for RESUMABLE.
    """
    path = directory / "config.yaml"
    begun = any((directory / "checkpoints").glob("[0-9]*"))
    if begun and not resume:
        raise FileExistsError(
            f"{directory} already holds a run: resume it, or choose another directory"
        )
    if begun:
        saved, asked = _flat(load_config(path, RunConfig)), _flat(config)
        for key in sorted(saved.keys() | asked.keys()):
            if saved.get(key) != asked.get(key) and key not in RESUMABLE:
                raise TrainingError(
                    f"{path}: the run began with {key} = {saved.get(key)!r}, not "
                    f"{asked.get(key)!r}: resume with the former, or choose another directory"
                )
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(dump_config(config), encoding="utf-8")
    return begun


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    content = value.model_dump(mode="json") if isinstance(value, RunConfig) else value
    flat: dict[str, Any] = {}
    for key, item in content.items():
        if isinstance(item, Mapping) and item:
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = item
    return flat


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
    if not data.validation:
        raise DataError("no validation structures: set data.validation")
    if not set(terms) & set(labelled_properties(data.validation)):
        raise DataError(f"no validation structure has a label for {', '.join(terms)}")
    return terms


def _mean_neighbours(examples: Examples) -> float:
    structures = examples.structures
    return mean_neighbours([2 * len(s.pairs) for s in structures], [len(s) for s in structures])


def _energy_scale(data: DataSets) -> float:
    """Return the size of one unit of network output in eV.

    The RMS force times 1 Å, since forces outnumber energies; without forces the spread of the
    energy per atom about the isolated atoms; without either 1 eV.
    """
    per_atom = [
        (labels_of(atoms).energy - data.references.of(atoms.numbers)) / len(atoms)
        for atoms in data.train
    ]
    known = [energy for energy in per_atom if not math.isnan(energy)]
    for scale in (force_rms(data.train), float(np.std(known)) if known else 0.0):
        if math.isfinite(scale) and scale > 1e-6:
            return scale
    return 1.0


def _facts(loop: TrainingLoop, outcome: str, potential: Potential, num_train: int) -> RunFacts:
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
        structures_per_second=epochs * num_train / max(loop.seconds, 1e-9),
        compilations=progress.compilations + sum(loop.compilations),
        atom_padding=atoms,
        pair_padding=pairs,
        num_parameters=potential.num_parameters,
        device=jax.devices()[0].device_kind,
        versions={"tensornet_jax": __version__} | {name: version(name) for name in packages},
    )


def _with_weights(
    potential: Potential, params: Any, config: RunConfig, progress: Progress
) -> Potential:
    """Return the potential with these weights and a note of where they come from."""
    metadata = {"training": config.model_dump(mode="json"), "step": progress.best_step}
    if math.isfinite(progress.best_loss):
        metadata["validation_loss"] = progress.best_loss
    variables = {"params": params, "buffers": potential.variables["buffers"]}
    return potential.replace(variables=variables, metadata=metadata)
