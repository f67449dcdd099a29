"""Labels of another program: one that is run, or one that is waited for."""

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tensornet_jax.active.labelling.answers import Answers, read_answers
from tensornet_jax.active.labelling.config import INPUT, OUTPUT, CommandLabels, WaitForLabels
from tensornet_jax.data.labelled_structure import LabelledStructure

ANSWERS = "answers.xyz"
SHOWN = 2000


class WaitingForLabels(Exception):  # noqa: N818 (nothing went wrong)
    """The loop has to wait; the text says for what, and what to do then."""


def label_by_command(
    settings: CommandLabels,
    structures: Sequence[LabelledStructure],
    questions: Path,
    folder: Path,
) -> Answers:
    """Return what a program has labelled; a run that was killed is begun anew.

    Args:
        settings: the command.
        structures: to label.
        questions: the file that has them.
        folder: where the program writes.

    Raises:
        ValueError: it cannot be started, fails, or leaves no labels.
    """
    answers = folder / ANSWERS
    answers.unlink(missing_ok=True)
    words = [
        word.replace(INPUT, str(questions)).replace(OUTPUT, str(answers))
        for word in shlex.split(settings.command)
    ]
    log = folder / "command.log"
    try:
        with log.open("wb") as output:  # as it comes: a long calculation can be watched
            ended = subprocess.run(words, stdout=output, stderr=subprocess.STDOUT, check=False)
    except OSError as error:
        raise ValueError(f"label.command {words[0]}: {error.strerror}") from None
    if ended.returncode:
        said = log.read_text(encoding="utf-8", errors="replace")
        raise ValueError(
            f"label.command ended with exit code {ended.returncode}: {shlex.join(words)}\n"
            f"{said[-SHOWN:]}".rstrip()
        )
    if not answers.exists():
        raise ValueError(f"label.command did not write {answers}: {shlex.join(words)}")
    return read_answers(answers, structures, settings.labels)


def wait_for_labels(
    settings: WaitForLabels,
    structures: Sequence[LabelledStructure],
    questions: Path,
    folder: Path,
) -> Answers:
    """Return what was labelled meanwhile.

    Args:
        settings: what the labels are called.
        structures: to label.
        questions: the file that has them.
        folder: where the labels are to be.

    Raises:
        WaitingForLabels: there are none yet.
        ValueError: what is there cannot be used.
    """
    answers = folder / ANSWERS
    if not answers.exists():
        raise WaitingForLabels(
            f"{len(structures)} structures wait for labels in {questions}: write them with energy "
            f"and forces to {answers} (whole, or under another name first), and give the same "
            "command again"
        )
    return read_answers(answers, structures, settings.labels)
