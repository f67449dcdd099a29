"""The third stage of a round: which frames are labelled."""

from tensornet_jax.active.config import ActiveConfig
from tensornet_jax.active.exploring import candidates_of
from tensornet_jax.active.layout import LoopDirectory, Round
from tensornet_jax.active.sets import TRAIN, VALIDATION, labelled_before
from tensornet_jax.data.labels.canonical_file import write_canonical
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.selection.choosing import select
from tensornet_jax.selection.table import write_table


def select_round(config: ActiveConfig, directory: LoopDirectory, here: Round) -> None:
    """Choose among the frames of a round, and write them with the reasons.

    Raises:
        ValueError: the model has no energy or no last layer.
    """
    candidates = candidates_of(config, here)
    known = [
        each
        for name in (TRAIN, VALIDATION)
        for each in labelled_before(directory, here.number, name)
    ]
    potential = load_model(here.model, dtype=config.explore[0].dtype)
    found = select(potential, candidates, config.select, known)
    here.selected.begin()
    if found.chosen:
        write_canonical(here.chosen, found.structures(candidates))
    write_table(here.table, found, candidates)
    here.selected.finish(
        {
            "candidates": len(candidates),
            "chosen": [
                {
                    "source": candidates[each.index].source,
                    "score": each.score,
                    "reason": each.reason,
                }
                for each in found.chosen
            ],
            "left_out": found.counts(),
        }
    )
