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
    reporter: Callable[[], Reporter] = Reporter,
) -> LoopResult:
    """Run a loop, or go on with it: each stage is done once, whatever ended the last run.

    On CPU the same configuration gives the same choices, in one piece or killed at any moment, as
    far as the labeller gives the same labels.

    Args:
        config: the loop.
        message: told what is being done.
        reporter: makes what is told of each training; by default nobody is.

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
        here, ending = _last_round(config, directory, message, reporter)
        save_model(directory.model, load_model(here.model))
        return LoopResult(directory.model, directory.report, here.number, ending)


def _last_round(
    config: ActiveConfig,
    directory: LoopDirectory,
    message: Callable[[str], None],
    reporter: Callable[[], Reporter],
) -> tuple[Round, str]:
    """Do what of all rounds is left; return that of the last model, and why it is the last."""
    for number in range(config.rounds):
        here = directory.round(number)
        found = _round(config, directory, here, message, reporter)
        _tell(directory, here, found)
        if found is not None:
            return here, found
    here, ending = directory.round(config.rounds), f"all {config.rounds} rounds are done"
    _trained(config, directory, here, message, reporter)
    _tell(directory, here, ending)
    return here, ending


def _trained(
    config: ActiveConfig,
    directory: LoopDirectory,
    here: Round,
    message: Callable[[str], None],
    reporter: Callable[[], Reporter],
) -> None:
    if _due(here, here.train, "train", message):
        train_round(config, directory, here, reporter())


def _due(here: Round, stage: Stage, what: str, message: Callable[[str], None]) -> bool:
    if not stage.is_done:
        message(f"round {here.number}: {what}")
    return not stage.is_done


def _round(
    config: ActiveConfig,
    directory: LoopDirectory,
    here: Round,
    message: Callable[[str], None],
    reporter: Callable[[], Reporter],
) -> str | None:
    """Do what of a round is left, and return why there will be no other; None if there will."""
    _trained(config, directory, here, message, reporter)
    if _due(here, here.explore, "explore", message):
        explore_round(config, here, message)
    if not here.explore.facts()["candidates"]:
        return SURE
    if _due(here, here.selected, "select", message):
        select_round(config, directory, here)
        facts = here.selected.facts()
        message(f"{len(facts['chosen'])} of {facts['candidates']} candidates chosen")
    if not here.selected.facts()["chosen"]:
        return NOTHING_NEW
    if _due(here, here.labelled, "label", message):
        # Whoever labels may want to see what, and why.
        write_round_report(here)
        label_round(config, here, message)
    return None


def _tell(directory: LoopDirectory, here: Round, ending: str | None) -> None:
    write_round_report(here)
    text = "Not at its end yet." if ending is None else f"Ended: {ending}."
    rounds = [directory.round(number) for number in range(here.number + 1)]
    write_loop_report(directory, rounds, text)
