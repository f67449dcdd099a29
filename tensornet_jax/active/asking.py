"""The last stage of a round: labels, and what they say of the model that chose."""

from collections.abc import Callable, Sequence

from tensornet_jax.active.config import ActiveConfig
from tensornet_jax.active.errors import reliability_on
from tensornet_jax.active.labelling.answers import Answers
from tensornet_jax.active.labelling.calculators import label_with_calculator
from tensornet_jax.active.labelling.config import CalculatorLabels, CommandLabels
from tensornet_jax.active.labelling.programs import label_by_command, wait_for_labels
from tensornet_jax.active.layout import Round
from tensornet_jax.active.sets import TRAIN, VALIDATION, parted, written
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.potential.model_file import load_model


def label_round(config: ActiveConfig, here: Round, message: Callable[[str], None]) -> None:
    """Have what was selected labelled, and write it as two sets.

    Raises:
        WaitingForLabels: they are made elsewhere, and are not there yet.
        ValueError: there are none.
        ImportError: the calculator is not installed.
    """
    here.labelled.begin()
    structures = read_labelled(here.chosen)
    answers = _answers(config, here, structures, message)
    labelled = list(answers.labelled.values())
    share = round(config.validation_share * len(labelled))
    # Of another round others are drawn.
    train, validation = parted(labelled, share, config.seed + here.number)
    counts = written(here.labelled, train, validation)
    # Read back, so that a loop that goes on says the same.
    files = [
        here.labelled.path / name
        for name, each in ((TRAIN, train), (VALIDATION, validation))
        if each
    ]
    again = read_labelled(files, LabelConfig())
    errors = reliability_on("newly labelled", load_model(here.model), again)
    failed = {structures[k].source: reason for k, reason in answers.failed.items()}
    here.labelled.finish({**counts, "failed": failed, "errors": errors})


def _answers(
    config: ActiveConfig,
    here: Round,
    structures: Sequence[LabelledStructure],
    message: Callable[[str], None],
) -> Answers:
    settings, folder = config.label, here.labelled.path
    if isinstance(settings, CalculatorLabels):
        return label_with_calculator(settings, structures, folder, message)
    if isinstance(settings, CommandLabels):
        return label_by_command(settings, structures, here.chosen, folder)
    return wait_for_labels(settings, structures, here.chosen, folder)
