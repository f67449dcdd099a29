"""What may be wrong with where labels come from: two keys, keys nobody reads, weights, charges."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from tensornet_jax.data.auditing.consistency import WorkSlope
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.config import PROPERTIES, LabelConfig
from tensornet_jax.data.labels.picking import DIFFERS

FREE_ENERGY_LIMIT = 1e-4  # eV per atom; a free energy nearer to the energy is not worth a warning


def mixed_keys(
    structures: Sequence[LabelledStructure], labels: LabelConfig | None
) -> tuple[list[str], list[str]]:
    """Return (errors, warnings) on labels of one property that come from two keys.

    It is an error where structures have both keys and their values differ.
    """
    errors, warnings = [], []
    for name in PROPERTIES:
        if labels is not None and labels.decided(name):
            continue
        used = Counter(key for each in structures if (key := each.keys.get(name, "")))
        if len(used) < 2:
            continue
        listed = " and ".join(f"{key} in {count} structures" for key, count in used.items())
        text = f"{name} is read from {listed}"
        conflicts = [
            each.source
            for each in structures
            for other in used
            if f"{other} ({DIFFERS})" in each.ignored.get(name, ())
        ]
        if conflicts:
            errors.append(
                f"{text}, and where a structure has both they differ ({conflicts[0]}): they are "
                f"not of one kind: name the one that is meant as data.labels.{name}"
            )
        else:
            warnings.append(
                f"{text}: are they of one level of theory? data.labels.{name} would name one"
            )
    return errors, warnings


def mixed_families(
    structures: Sequence[LabelledStructure], labels: LabelConfig | None
) -> tuple[list[str], list[str]]:
    """Return (errors, warnings) on energies and their derivatives from different sources.

    `REF_energy` beside `forces`, which may be those of a calculator, is a warning; an error where
    the structure also has an energy beside those forces, and it is another.
    """
    errors, warnings = [], []
    for name in ("forces", "stress"):
        if labels is not None and labels.decided("energy") and labels.decided(name):
            continue
        pairs: Counter[tuple[str, str]] = Counter()
        other_energy: dict[tuple[str, str], str] = {}
        for structure in structures:
            energy, derivative = structure.keys.get("energy", ""), structure.keys.get(name, "")
            if not (energy and derivative) or _family(energy) == _family(derivative):
                continue
            pairs[energy, derivative] += 1
            for passed in structure.ignored.get("energy", ()):
                key = passed.removesuffix(f" ({DIFFERS})")
                if key != passed and _family(key) == _family(derivative):
                    text = f"{key}, which is another energy ({structure.source})"
                    other_energy.setdefault((energy, derivative), text)
        for (energy, derivative), count in pairs.items():
            text = (
                f"{count} structures have their energy from {energy} and {name} from {derivative}"
            )
            remedy = f"name both keys under data.labels, energy and {name}"
            if conflict := other_energy.get((energy, derivative)):
                errors.append(f"{text}, beside {conflict}: {remedy}")
            else:
                warnings.append(f"{text}: are they of one calculation? If so, {remedy}")
    return errors, warnings


def free_energies(
    structures: Sequence[LabelledStructure],
    energy_work: WorkSlope | None,
    free_work: WorkSlope | None,
) -> list[str]:
    """Warnings: free energies beside other energies, of which one belongs to the forces.

    Args:
        structures: with labels.
        energy_work: −ΔE of the energy labels against F·Δr.
        free_work: the same of the free energies.
    """
    different = free_energy_differences(structures)
    if not len(different):
        return []
    better = (
        energy_work is not None
        and free_work is not None
        and abs(free_work.slope - 1) + 0.02 < abs(energy_work.slope - 1)
    )
    if different.max() < FREE_ENERGY_LIMIT and not better:
        return []
    text = (
        f"{len(different)} structures have a free_energy that differs from the energy that is "
        f"used, by up to {different.max():.3g} eV per atom"
    )
    if energy_work is not None and free_work is not None:
        text += (
            f"; −ΔE against F·Δr has slope {free_work.slope:.3g} with the free energy and "
            f"{energy_work.slope:.3g} with the energy"
        )
    verdict = "fits the forces better" if better else "is what forces of smeared electrons follow"
    first = next(each for each in structures if not np.isnan(each.free_energy))
    key = first.keys.get("free_energy", "free_energy")
    return [
        f"{text}: the free energy {verdict}: set data.labels.energy: {key} "
        f"(--label energy={key}), or name the other key to keep it"
    ]


def free_energy_differences(
    structures: Sequence[LabelledStructure],
) -> Float[np.ndarray, " labelled"]:
    """Return |free energy − energy| per atom, eV, of the structures that have both."""
    values = [abs(each.free_energy - each.energy) / len(each) for each in structures]
    found = np.array(values, dtype=np.float64)
    return found[~np.isnan(found)]


def state_counts(
    structures: Sequence[LabelledStructure], kind: Literal["charge", "spin"]
) -> dict[str, int]:
    """Return total charge or spin multiplicity, as text → structures; unstated ones apart."""
    counts: Counter[tuple[bool, float]] = Counter()
    for structure in structures:
        value = float(getattr(structure.state, kind) or 0.0)
        stated = kind in structure.keys or value != 0.0
        counts[not stated, value] += 1
    sign = "+" if kind == "charge" else ""

    def text(unstated: bool, value: float) -> str:
        return "not stated" if unstated else f"{value:{sign if value else ''}g}"

    return {text(*key): count for key, count in sorted(counts.items())}


def weight_ranges(structures: Sequence[LabelledStructure]) -> dict[str, tuple[float, float, int]]:
    """Return label → smallest and largest weight and how many are 0, of labels not all of 1."""
    tensors = sorted({name for structure in structures for name in structure.labels.tensors})
    ranges = {}
    for name in (*PROPERTIES, *tensors):
        weights = np.array([structure.weights.of(name) for structure in structures])
        if (weights != 1.0).any():
            zero = int(np.count_nonzero(weights == 0.0))
            ranges[name] = (float(weights.min()), float(weights.max()), zero)
    return ranges


def _family(key: str) -> str:
    """Return what keys of one calculation share: REF, dft, or nothing."""
    prefix = key.partition("_")[0].lower()
    return prefix if prefix in ("ref", "dft") else ""
