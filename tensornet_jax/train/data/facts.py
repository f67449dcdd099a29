"""What training structures say that a potential and its loss are set up with."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.references import ReferenceEnergies
from tensornet_jax.data.references_by_head import References, by_head
from tensornet_jax.data.statistics import force_rms
from tensornet_jax.potential.trained_on import TrainedOn
from tensornet_jax.train.data.datasets import DataSets, labelled_properties


@dataclass(frozen=True)
class Facts:
    """What the structures of a run say, whatever holds them.

    Attributes:
        labelled: properties and tensors that a training structure has a label for.
        validated: the same of the structures to validate on.
        spins: multiplicities of training structures.
        energy_scale: the size of one unit of network output, eV.
        trained_on: elements, charges and spins of training structures, replayed ones included.
        level_scales: energy scales of several heads, in units of `energy_scale`; none of one.
    """

    labelled: tuple[str, ...]
    validated: tuple[str, ...]
    spins: tuple[int, ...]
    energy_scale: float
    trained_on: TrainedOn
    level_scales: tuple[float, ...] = ()

    @classmethod
    def of(cls, data: DataSets) -> "Facts":
        """Return the facts of structures in memory."""
        seen = [*data.train, *(data.replay.train if data.replay else ())]
        scale = energy_scale(force_rms(data.train), data.train, data.references)
        return cls(
            labelled_properties(data.train),
            labelled_properties(data.validation),
            spins_of(data.train),
            scale,
            TrainedOn.of(structure.atoms for structure in seen),
            level_scales(data.train, data.references, scale),
        )


def spins_of(structures: Iterable[LabelledStructure]) -> tuple[int, ...]:
    """Return the multiplicities that structures state, ascending."""
    return tuple(
        sorted({each.state.spin for each in structures if isinstance(each.state.spin, int)})
    )


def level_scales(
    structures: Sequence[LabelledStructure], references: References, scale: float
) -> tuple[float, ...]:
    """Return the `energy_scale` of each of several heads in units of that of all; none of one.

    Args:
        structures: with labels.
        references: the isolated atoms.
        scale: of all, eV.
    """
    if isinstance(references, ReferenceEnergies):
        return ()
    own = by_head(structures, references)
    return tuple(
        energy_scale(force_rms(own[head]), own[head], references) / scale if head in own else 1.0
        for head in references.heads
    )


def energy_scale(
    forces: float, structures: Sequence[LabelledStructure], references: References
) -> float:
    """Return the size of one unit of network output in eV.

    The RMS force times 1 Å, since forces outnumber energies; without forces the spread of the
    energy per atom about the isolated atoms; without either 1 eV.

    Args:
        forces: RMS force, eV/Å; NaN without any.
        structures: whose energies there are.
        references: the isolated atoms.
    """
    if math.isfinite(forces) and forces > 1e-6:
        return forces
    per_atom = [(each.energy - references.of_structure(each)) / len(each) for each in structures]
    known = [energy for energy in per_atom if not math.isnan(energy)]
    scale = float(np.std(known)) if known else 0.0
    return scale if math.isfinite(scale) and scale > 1e-6 else 1.0
