"""The structures of a run, ready for the network."""

from dataclasses import dataclass

from tensornet_jax.train.data.examples import Examples
from tensornet_jax.train.data.replay import Replay


@dataclass(frozen=True)
class RunExamples:
    """What a run trains and validates on.

    Attributes:
        train: structures to train on.
        validation: structures to validate on; there may be none.
        replay: a set of which every batch gets some.
    """

    train: Examples
    validation: Examples
    replay: Replay | None = None
