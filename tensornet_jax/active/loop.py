"""The loop: train, explore, select, label, and so on, from wherever it was left."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tensornet_jax.active.asking import label_round
from tensornet_jax.active.choosing import select_round
from tensornet_jax.active.config import ActiveConfig
from tensornet_jax.active.exploring import explore_round
from tensornet_jax.active.layout import LoopDirectory, Round, Stage
from tensornet_jax.active.report import write_loop_report, write_round_report
from tensornet_jax.active.sets import first_sets
from tensornet_jax.active.training import train_round
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.train.reporting.reporter import Reporter

SURE = "the model was sure of all that was explored"
NOTHING_NEW = "all that was too uncertain is labelled already, or cannot be"


@dataclass(frozen=True)
class LoopResult:
    """What a loop ends with.

    model: file of the last model, with deviations.
    report: on all rounds.
    rounds: how many explored.
    ending: why it ended.
    """

    model: Path
    report: Path
    rounds: int
    ending: str


def _silent(text: str) -> None:
    """Show nothing."""


def run(
    config: ActiveConfig,
    *,
    message: Callable[[str], None] = _silent,
    reporter: Reporter | None = None,
) -> LoopResult:
    """Run a loop, or go on with it: each stage is done once, whatever ended the last run.

    On CPU the same configuration gives the same choices, in one piece or killed at any moment, as
    far as the labeller gives the same labels.

    Args:
        config: the loop.
        message: told what is being done.
        reporter: told what happens in training; nobody if None.

    Raises:
        InUseError: another process runs in the directory.
        ConfigError: the loop began with another configuration.
        WaitingForLabels: they are made elsewhere, and are not there yet; the same call goes on.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
        TrainingError: a model cannot be trained.
        ValueError: data, structures or labels cannot be used; the text says which.
    """
    directory = LoopDirectory(config.directory)
    with directory.held():
        directory.record(config)
        if not directory.first.is_done:
            first_sets(config, directory.first)
        ending = f"all {config.rounds} rounds are done"
        for number in range(config.rounds + 1):
            here, last = directory.round(number), number == config.rounds
            found = _round(config, directory, here, message, reporter, last=last)
            _tell(directory, number, found or (ending if last else None))
            if found is not None:
                ending = found
                break
        save_model(directory.model, load_model(here.model))
        return LoopResult(directory.model, directory.report, number, ending)


def _round(
    config: ActiveConfig,
    directory: LoopDirectory,
    here: Round,
    message: Callable[[str], None],
    reporter: Reporter | None,
    *,
    last: bool,
) -> str | None:
    """Do what of a round is left, and return why there will be no other; None if there will.

    Args:
        config: of the loop.
        directory: of the loop.
        here: the round.
        message: told what is being done.
        reporter: told of training.
        last: whether it is only to train.
    """

    def due(stage: Stage, what: str) -> bool:
        if not stage.is_done:
            message(f"round {here.number}: {what}")
        return not stage.is_done

    if due(here.train, "train"):
        train_round(config, directory, here, reporter)
    if last:
        return None
    if due(here.explore, "explore"):
        explore_round(config, here, message)
    if not here.explore.facts()["candidates"]:
        return SURE
    if due(here.selected, "select"):
        select_round(config, directory, here)
        facts = here.selected.facts()
        message(f"{len(facts['chosen'])} of {facts['candidates']} candidates chosen")
    if not here.selected.facts()["chosen"]:
        return NOTHING_NEW
    if due(here.labelled, "label"):
        write_round_report(here)
        label_round(config, here, message)
    return None


def _tell(directory: LoopDirectory, number: int, ending: str | None) -> None:
    rounds = [directory.round(k) for k in range(number + 1)]
    write_round_report(rounds[-1])
    text = "Not at its end yet." if ending is None else f"Ended: {ending}."
    write_loop_report(directory, rounds, text)
