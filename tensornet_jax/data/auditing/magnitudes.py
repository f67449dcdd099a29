"""Values that no label of energy or stress has: zeros everywhere, placeholders, other units."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.units import GPa

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.statistics import force_rms

STRESS_LIMIT = 1.0  # eV/Å³, 160 GPa; few data sets of solids or liquids reach it
ENERGY_LIMIT = 1e6  # eV per atom; all electrons of uranium bind with 7.6e5 eV
_LEAST_STRESS = 1e-5  # eV/Å³, 1.6 MPa; below it stresses of atoms with forces are no stresses
_LEAST_FORCE = 0.05  # eV/Å
_PLACEHOLDERS = {float(nines) for n in range(3, 10) for nines in ("9" * n, "1" + "0" * (n + 1))}
_NEVER_COMPUTED = "they were never computed, or lost"


@dataclass(frozen=True)
class StressSize:
    """How large stress labels are, eV/Å³; NaN where there are none.

    Attributes:
        rms: over all labelled components.
        largest: largest component, without sign.
        source: the structure it is in.
    """

    rms: float
    largest: float
    source: str

    def text(self) -> str:
        """Return both sizes in eV/Å³ and GPa."""
        return f"RMS {in_both(self.rms)}, largest {in_both(self.largest)} in {self.source}"


def in_both(stress: float) -> str:
    """Return a stress in eV/Å³ and GPa as text."""
    return f"{stress:.4g} eV/Å³ ({stress / GPa:.3g} GPa)"


def stress_size(structures: Sequence[LabelledStructure]) -> StressSize:
    """Return how large the stress labels are."""
    sizes = _largest_components(structures)
    if not sizes:
        return StressSize(float("nan"), float("nan"), "")
    components = np.concatenate([structures[i].labels["stress"].ravel() for i in sizes])
    top = max(sizes, key=lambda index: sizes[index])
    rms = float(np.sqrt(np.nanmean(components**2)))
    return StressSize(rms, sizes[top], structures[top].source)


def stresses(structures: Sequence[LabelledStructure]) -> tuple[list[str], list[str]]:
    """Return (errors, warnings) on stresses that are zero, too large, or too small."""
    sizes = _largest_components(structures)
    if not sizes:
        return [], []
    zero = [index for index, size in sizes.items() if size == 0.0]
    if 1 < len(zero) == len(sizes):
        return [
            f"all stresses of all {len(zero)} structures with stress are exactly zero: "
            f"{_NEVER_COMPUTED}: name another key as data.labels.stress or virial, or set "
            "data.labels.ignore: [stress] (--label ignore=stress)"
        ], []
    warnings = []
    if zero:
        warnings.append(
            f"{len(zero)} of {len(sizes)} structures have a stress of exactly zero, e.g. "
            f"{structures[zero[0]].source}: {_NEVER_COMPUTED}? write nan for it, or "
            "config_stress_weight=0"
        )
    size = stress_size(structures)
    remedies = (
        "set data.labels.units.stress (--unit stress=GPa or kbar), for what VASP prints also "
        "data.labels.stress_sign: compression_positive (--label stress_sign=…); a virial in eV is "
        "named as data.labels.virial"
    )
    above = [index for index, value in sizes.items() if value > STRESS_LIMIT]
    forces = force_rms(structures)
    if np.median(list(sizes.values())) > STRESS_LIMIT:
        warnings.append(
            f"unit of stress: the RMS is {in_both(size.rms)}, more than solids have: is the stress "
            f"in GPa, in kbar, or a virial? {remedies}"
        )
    elif above:
        worst = structures[above[0]].source
        warnings.append(
            f"{len(above)} structures have a stress above {in_both(STRESS_LIMIT)}, e.g. {worst}: "
            f"if they are not compressed that much, {remedies}"
        )
    elif size.rms < _LEAST_STRESS and forces > _LEAST_FORCE:
        warnings.append(
            f"unit of stress: the RMS is {in_both(size.rms)}, hardly anything beside forces of "
            f"{forces:.2g} eV/Å: {remedies}"
        )
    return [], warnings


def energies(structures: Sequence[LabelledStructure]) -> tuple[list[str], list[str]]:
    """Return (errors, warnings) on energies that are zero, placeholders, or all the same.

    Structures of one atom are left out: an isolated atom may be the zero of energy.
    """
    values = {i: each.energy for i, each in enumerate(structures) if len(each) > 1}
    values = {index: value for index, value in values.items() if np.isfinite(value)}
    remedy = "write nan for them, or config_energy_weight=0"
    zero = [index for index, value in values.items() if value == 0.0]
    if len(zero) > 1 and len(zero) == len(values):
        return [
            f"all energies of all {len(zero)} structures are exactly zero: {_NEVER_COMPUTED}: name "
            "another key as data.labels.energy, or set data.labels.ignore: [energy] "
            "(--label ignore=energy)"
        ], []
    errors, warnings = [], []

    def tell(texts: list[str], found: list[int], what: str) -> None:
        if found:
            examples = ", ".join(structures[index].source for index in found[:3])
            texts.append(f"{len(found)} of {len(values)} structures have {what}: {examples}")

    tell(warnings, zero, f"an energy of exactly zero, a placeholder? {remedy}")
    huge = [i for i, value in values.items() if abs(value) > ENERGY_LIMIT * len(structures[i])]
    tell(errors, huge, f"an energy above {ENERGY_LIMIT:g} eV per atom, a placeholder: {remedy}")
    # Fillers are round numbers in the file's own unit.
    own = {i: value / structures[i].units.factor("energy") for i, value in values.items()}
    filled = [index for index, value in own.items() if index not in huge and is_filler(value)]
    tell(warnings, filled, f"an energy that looks like a placeholder (999…, 10000…): {remedy}")
    same = len(set(values.values())) == 1
    shapes = {structures[index].atoms.positions.tobytes() for index in values}
    if same and not (zero or huge or filled) and len(shapes) > 3:
        warnings.append(
            f"all {len(values)} energies are equal, {next(iter(values.values()))} eV, though the "
            f"structures are not: a placeholder? {remedy}"
        )
    return errors, warnings


def _largest_components(structures: Sequence[LabelledStructure]) -> dict[int, float]:
    """Return the largest component of each stress label, eV/Å³, by index."""
    found = {}
    for index, structure in enumerate(structures):
        stress = structure.labels.get("stress")
        if stress is not None and np.isfinite(stress).any():
            found[index] = float(np.nanmax(np.abs(stress)))
    return found


def is_filler(value: float) -> bool:
    """Return whether a number looks like a placeholder: 999…, 10000…."""
    nearest = abs(round(value))
    return float(nearest) in _PLACEHOLDERS and bool(np.isclose(abs(value), nearest, rtol=1e-12))
