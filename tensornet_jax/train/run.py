"""A training run from its configuration to the finished run directory."""

import math
from importlib.metadata import version
from pathlib import Path

from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.uncertainty.estimate import with_spread
from tensornet_jax.runtime.devices import Devices
from tensornet_jax.runtime.precision import precision_scope
from tensornet_jax.runtime.processes import (
    check_same,
    is_first,
    lost_processes_named,
    wait_for_first,
)
from tensornet_jax.runtime.whole_files import sha256_of
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.finetune.start import resolve
from tensornet_jax.train.loop import TrainingLoop
from tensornet_jax.train.outcome import Outcome
from tensornet_jax.train.preparation import PreparedRun, prepare
from tensornet_jax.train.reporting.report import errors_before, evaluate_sets, write_report
from tensornet_jax.train.reporting.reporter import Reporter, Reporters, RunStart
from tensornet_jax.train.reporting.result import RunFacts, TrainingResult
from tensornet_jax.train.reporting.trackers import trackers
from tensornet_jax.train.run_directory import RunDirectory
from tensornet_jax.train.run_state import RunState
from tensornet_jax.train.shared_directory import shared
from tensornet_jax.version import __version__


def train(
    config: RunConfig, *, resume: bool = False, reporter: Reporter | None = None
) -> TrainingResult:
    """Train a potential and write its run directory.

    The directory holds config.yaml (resolved), split.json, log_train.csv, log_validation.csv,
    skipped_steps.csv, checkpoints/, model.safetensors (best averaged weights; the last without a
    validation set) and report/, and start.safetensors if the run starts from a trained model. No
    other run can write there meanwhile. On CPU the same configuration gives
    the same weights bit for bit, in one piece or resumed after having been killed at any moment,
    and to rounding on any number of devices.

    Of several processes (`runtime.processes.join_processes`) all call this with the same
    configuration; the first one writes.

    Args:
        config: the run.
        resume: go on from the newest intact checkpoint in the directory.
        reporter: told what happens in this process; nobody if None.

    Raises:
        FileExistsError: the directory holds a run and `resume` is false.
        InUseError: another process runs in the directory.
        DataError: the data cannot be trained on.
        TrainingError: the run cannot go on.
        CheckpointError: no checkpoint can be used.
        ConfigError: the starting model does not fit the configuration.
        ModelFileError: the starting model cannot be read.
        DevicesError: there are fewer devices than asked for.
        LostProcessError: another process has ended.
    """
    remedy = (
        f"what {config.directory} holds is whole: start all processes again, and they go on from "
        "the newest checkpoint"
    )
    with lost_processes_named(remedy), shared(config.directory) as (directory, begun):
        # A committee has the members side by side on one device.
        devices = Devices.of(1 if config.training.committee else config.training.devices)
        notes: list[str] = []
        run = (
            ResolvedRun.of(config)
            if config.start is None
            else resolve(config, directory.path, begun, notes.append)
        ).completed()
        trackers_of_run = trackers(run, directory) if is_first() else []
        listeners = Reporters([*([reporter] if reporter else []), *trackers_of_run])
        for note in notes:
            listeners.message(note)
        try:
            return _train(run, directory, begun, resume, listeners, devices)
        finally:
            listeners.close()


def _train(
    config: ResolvedRun,
    directory: RunDirectory,
    begun: bool,
    resume: bool,
    reporter: Reporter,
    devices: Devices,
) -> TrainingResult:
    directory.record(config, begun, resume)
    prepared = prepare(config, directory, begun, reporter)
    check_same("data", _fingerprint(directory, prepared))
    potential = prepared.potential
    if config.training.batch_size < devices.count:
        reporter.message(
            f"training.batch_size {config.training.batch_size} leaves some of {devices.count} "
            "devices without a structure in every step: raise it, or lower training.devices"
        )

    def publish(run: RunState) -> None:
        save_model(directory.model, _trained(potential, run, config))

    with precision_scope(config.dtype, config.training.matmul_precision):
        loop = TrainingLoop(
            config,
            potential,
            prepared.examples,
            prepared.terms,
            directory=directory,
            reporter=reporter,
            publish=publish,
            resume=begun,
            devices=devices,
        )
        reporter.start(_run_start(config, prepared, loop, devices))
        outcome = loop.run()
    facts = _facts(loop, outcome, potential, devices)
    if outcome == "interrupted":
        best = _trained(potential, loop.state, config)
        result = TrainingResult(Path(config.directory), best, [], facts, interrupted=True)
        reporter.message(
            f"saved at step {facts.num_steps} of {loop.num_steps} in {config.directory}: the same "
            "command goes on from there"
        )
    else:
        publish(loop.state)
        result = _reported(config, directory, prepared, facts, devices)
    reporter.finish(result)
    return result


def _fingerprint(directory: RunDirectory, prepared: PreparedRun) -> list[object]:
    """Return what all processes must agree on for their shards to be of one batch."""
    examples = prepared.examples
    replay = () if examples.replay is None else examples.replay.train
    sizes = [len(each) for each in (examples.train, examples.validation, replay)]
    splits = [path for path in directory.read_when_resumed() if path.suffix == ".json"]
    return [sizes, list(prepared.terms), sorted(sha256_of(path) for path in splits)]


def _run_start(
    config: ResolvedRun, prepared: PreparedRun, loop: TrainingLoop, devices: Devices
) -> RunStart:
    examples = prepared.examples
    return RunStart(
        directory=config.directory,
        num_train=len(examples.train),
        num_validation=len(examples.validation),
        num_parameters=loop.num_trained,
        num_replay=0 if examples.replay is None else len(examples.replay.train),
        start_step=loop.state.progress.step,
        steps_per_epoch=loop.steps_per_epoch,
        num_steps=loop.num_steps,
        batch_size=config.training.batch_size,
        terms=tuple(prepared.terms),
        tensors={head.name: head.unit for head in prepared.potential.tensor_heads},
        device=devices.kind,
    )


def _size_of_report(batch_size: int, validated: int, devices: Devices) -> int:
    """Return how many structures of the report a device evaluates at a time.

    As many as in validation, so that no other program has to be compiled, unless they are few.

    Args:
        batch_size: of validation, at most.
        validated: structures of the validation set.
        devices: that share them.
    """
    own = -(-validated // devices.count)
    return own if own <= batch_size <= 2 * own else batch_size


def _reported(
    config: ResolvedRun,
    directory: RunDirectory,
    prepared: PreparedRun,
    facts: RunFacts,
    devices: Devices,
) -> TrainingResult:
    """Evaluate the model file, and write the report."""
    # Read back, so that what is evaluated is the file that users will get.
    final = load_model(directory.model)
    data = prepared.data
    size = _size_of_report(config.training.validation_batch_size, len(data.validation), devices)
    rows, drawn = evaluate_sets(directory.report, final, data.all(), data.references, size, devices)
    before = []
    if prepared.finetuned is not None:
        before = errors_before(directory.report, prepared.finetuned, data.held_out(), size, devices)
    if is_first():
        write_report(directory, config, data, rows, facts, before, drawn)
    # At their end processes wait for each other for a short time only.
    wait_for_first()
    return TrainingResult(Path(config.directory), final, rows, facts, interrupted=False)


def _facts(
    loop: TrainingLoop, outcome: Outcome, potential: Potential, devices: Devices
) -> RunFacts:
    progress, seconds = loop.state.progress, loop.seconds
    atoms, pairs = progress.padding.fractions()
    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "ase")
    return RunFacts(
        outcome=outcome,
        num_steps=progress.step,
        epochs=loop.epoch,
        best_epoch=progress.best_step / loop.steps_per_epoch,
        best_loss=progress.best_loss,
        skipped=progress.skipped,
        minutes=seconds / 60,
        structures_per_second=loop.epoch * loop.batches.structures_per_epoch / max(seconds, 1e-9),
        compilations=loop.compilations,
        atom_padding=atoms,
        pair_padding=pairs,
        num_parameters=potential.num_parameters,
        num_trained=loop.num_trained,
        device=devices.kind,
        versions={"tensornet_jax": __version__} | {name: version(name) for name in packages},
    )


def _trained(potential: Potential, run: RunState, config: ResolvedRun) -> Potential:
    """Return the potential with the best weights of a run and a note of where they come from."""
    metadata = potential.metadata | {
        "training": config.model_dump(mode="json"),
        "step": run.progress.best_step,
    }
    if math.isfinite(run.progress.best_loss):
        metadata["validation_loss"] = run.progress.best_loss
    variables = {"params": run.best, "buffers": potential.variables["buffers"]}
    trained = potential.replace(variables=variables, metadata=metadata)
    # A committee knows its spread, which only errors on other data can scale.
    knows = trained.config.committee is not None and "energy" in trained.heads
    return with_spread(trained) if knows else trained
