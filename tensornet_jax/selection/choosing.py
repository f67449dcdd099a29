"""The choice of structures that are worth a label."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase.data import chemical_symbols

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.uncertainty.deviations import COLLECTION, NO_UNCERTAINTY
from tensornet_jax.selection.config import SelectionConfig
from tensornet_jax.selection.criteria import farthest, greatest_determinant, largest
from tensornet_jax.selection.points import PointsOf, points_of
from tensornet_jax.selection.soundness import KINDS, LeftOut, absurd, repetitions, unsuitable


@dataclass(frozen=True)
class Choice:
    """A structure that was chosen.

    index: its place among the candidates.
    score: by which it was chosen, in `Selection.unit`.
    reason: in words.
    """

    index: int
    score: float
    reason: str


@dataclass(frozen=True)
class Selection:
    """What was chosen, and what could not be.

    settings: how.
    chosen: in the order of the choice.
    left_out: by index among the candidates.
    unit: of the scores.
    """

    settings: SelectionConfig
    chosen: tuple[Choice, ...]
    left_out: Mapping[int, LeftOut]
    unit: str

    def counts(self) -> dict[str, int]:
        """Return how many were left out of each kind that there is."""
        found = Counter(each.kind for each in self.left_out.values())
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def structures(self, candidates: Sequence[LabelledStructure]) -> list[LabelledStructure]:
        """Return the chosen structures without labels; `info` says why each was chosen.

        Args:
            candidates: as they were given to `select`.
        """
        found = []
        for rank, choice in enumerate(self.chosen):
            bare = candidates[choice.index].without_labels()
            atoms = bare.atoms.copy()
            atoms.info |= {
                "selected_rank": rank,
                "selected_by": self.settings.by,
                "selected_score": choice.score,
                "selected_because": choice.reason,
                "selected_from": bare.source,
            }
            found.append(replace(bare, atoms=atoms))
        return found


def select(
    potential: Potential,
    candidates: Sequence[LabelledStructure],
    settings: SelectionConfig,
    labelled: Sequence[LabelledStructure] = (),
    batch_size: int | None = None,
) -> Selection:
    """Return the structures worth a label, by deviation, distance or determinant.

    Left out are structures that repeat another candidate or a labelled one, whose atoms are too
    close to each other, whose predicted forces are absurd, or that the model cannot compute.

    Args:
        potential: with an uncertainty, unless the choice is by distance.
        candidates: to choose among; their labels, if any, are not looked at.
        settings: how many, and how.
        labelled: structures that have labels: none of them is chosen, and distances count from
            them too.
        batch_size: structures at a time.

    Returns:
        fewer than asked for where there are no more.

    Raises:
        ValueError: the model has no energy, or no uncertainty where one is needed.
    """
    make_points = points_of(potential)
    if settings.by != "distance" and COLLECTION not in potential.variables:
        raise ValueError(f"by {settings.by}: {NO_UNCERTAINTY}; or choose by distance")
    left_out = dict(repetitions(candidates, labelled))
    for index in _others(candidates, left_out):
        reason = unsuitable(potential, candidates[index], settings.closest)
        if reason is not None:
            left_out[index] = reason
    sound = _others(candidates, left_out)
    names = ("forces",)
    if settings.by == "deviation":
        names = ("forces", f"{settings.of}_std")
    results = potential.evaluate([candidates[k].atoms for k in sound], names, batch_size)
    deviations = []
    for index, result in zip(sound, results, strict=True):
        reason = absurd(result["forces"], settings.largest_force)
        if reason is not None:
            left_out[index] = reason
        else:
            deviations.append(result[names[-1]])
    places = _others(candidates, left_out)
    kept = [candidates[k] for k in places]
    if settings.by == "deviation":
        found = _by_deviation(deviations, kept, settings)
    elif settings.by == "distance":
        known = [each for each in labelled if unsuitable(potential, each, 0.0) is None]
        found = _by_distance(make_points, kept, known, settings.count, batch_size)
    else:
        found = _by_determinant(make_points, kept, settings.count, batch_size)
    chosen = tuple(replace(each, index=places[each.index]) for each in found)
    return Selection(settings, chosen, dict(sorted(left_out.items())), unit_of(settings))


def unit_of(settings: SelectionConfig) -> str:
    """Return the unit of the scores of a choice; empty for a logarithm."""
    if settings.by == "deviation":
        return "eV/Å" if settings.of == "forces" else "eV/atom"
    return "eV/atom" if settings.by == "distance" else ""


def _others(candidates: Sequence[LabelledStructure], left_out: Mapping[int, LeftOut]) -> list[int]:
    return [k for k in range(len(candidates)) if k not in left_out]


def _by_deviation(
    deviations: Sequence[float | np.ndarray],
    structures: Sequence[LabelledStructure],
    settings: SelectionConfig,
) -> list[Choice]:
    """Return those of the largest σ; indices are places among these structures."""
    values, reasons = [], []
    for deviation, structure in zip(deviations, structures, strict=True):
        if settings.of == "forces":
            # Of a vector whose components are not sure, this does not depend on the axes.
            lengths = np.linalg.norm(np.asarray(deviation), axis=1)
            atom = int(np.argmax(lengths))
            symbol = chemical_symbols[structure.numbers[atom]]
            values.append(float(lengths[atom]))
            reasons.append(f"σ of the force on atom {atom} ({symbol}) is {values[-1]:.4g} eV/Å")
        else:
            values.append(float(deviation) / len(structure))
            reasons.append(f"σ of the energy is {values[-1]:.4g} eV per atom")
    ranked = largest(np.array(values), settings.count)
    return [Choice(k, score, reasons[k]) for k, score in zip(*ranked, strict=True)]


def _by_distance(
    make_points: PointsOf,
    structures: Sequence[LabelledStructure],
    labelled: Sequence[LabelledStructure],
    count: int,
    batch_size: int | None,
) -> list[Choice]:
    points = make_points([each.atoms for each in structures], batch_size)
    known = points[:0]
    if labelled and len(points):
        known = make_points([each.atoms for each in labelled], batch_size)
    ranked = farthest(points, count, known)
    found = []
    for turn, (k, score) in enumerate(zip(*ranked, strict=True)):
        where = "nearest labelled or chosen one" if labelled else "nearest chosen one"
        if turn == 0 and not labelled:
            where = "mean of the candidates"
        found.append(Choice(k, score, f"{score:.4g} eV per atom from the {where}"))
    return found


def _by_determinant(
    make_points: PointsOf,
    structures: Sequence[LabelledStructure],
    count: int,
    batch_size: int | None,
) -> list[Choice]:
    points = make_points([each.atoms for each in structures], batch_size)
    noise = make_points.noise
    if noise is None:
        # Of an ensemble: labels are taken to err as much as it typically does on the candidates.
        noise = float(np.sqrt(np.mean(np.sum(points**2, axis=1)))) if len(points) else 0.0
    ranked = greatest_determinant(points / (noise or 1.0), count)
    return [
        Choice(k, score, f"its label adds {score:.4g} to the logarithm of the determinant")
        for k, score in zip(*ranked, strict=True)
    ]
