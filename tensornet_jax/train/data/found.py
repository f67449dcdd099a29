"""What a pass over streamed data has found, as it is remembered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from tensornet_jax.data.references_by_head import References, plain_references, read_references
from tensornet_jax.potential.trained_on import TrainedOn
from tensornet_jax.runtime.sealed_file import Json
from tensornet_jax.train.data.facts import Facts

Indices = Mapping[str, Int64[np.ndarray, " indices"]]


@dataclass(frozen=True)
class Found:
    """The results of a pass.

    Attributes:
        lines: the description of the training data.
        references: isolated-atom energies.
        held_out: indices of the structures of `data.train` that are not trained on, by name.
        isolated: indices of isolated atoms, by the name of the set whose files have them.
        facts: what the training structures say, without those of a replay set.
    """

    lines: list[str]
    references: References
    held_out: Indices
    isolated: Indices
    facts: Facts

    def plain(self) -> Json:
        """Return plain values."""
        facts = vars(self.facts) | {"trained_on": self.facts.trained_on.model_dump(mode="json")}
        return {
            "lines": self.lines,
            "references": plain_references(self.references),
            "held_out": {name: own.tolist() for name, own in self.held_out.items()},
            "isolated": {name: own.tolist() for name, own in self.isolated.items()},
            "facts": facts,
        }

    @classmethod
    def of(cls, plain: Json) -> "Found":
        """Return what `plain` returned, read back."""
        facts = dict(plain["facts"])
        facts["trained_on"] = TrainedOn.model_validate(facts["trained_on"])
        tuples: dict[str, Any] = {
            name: tuple(facts[name]) for name in ("labelled", "validated", "spins", "level_scales")
        }
        return cls(
            plain["lines"],
            read_references(plain["references"]),
            _arrays(plain["held_out"]),
            _arrays(plain["isolated"]),
            Facts(**(facts | tuples)),
        )


def _arrays(lists: Mapping[str, list[int]]) -> dict[str, np.ndarray]:
    return {name: np.array(own, np.int64) for name, own in lists.items()}
