"""What a data set holds and what is wrong with it, known before the first training step."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple, TypedDict

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float

from tensornet_jax.data.auditing import findings, force_findings, label_findings, magnitudes
from tensornet_jax.data.auditing.consistency import WorkSlope, force_work_slope, stress_work_slope
from tensornet_jax.data.auditing.magnitudes import StressSize, stress_size
from tensornet_jax.data.auditing.reading import ReadingTally
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.config import PROPERTIES, LabelConfig
from tensornet_jax.data.labels.labels import CANONICAL
from tensornet_jax.data.references import ReferenceEnergies
from tensornet_jax.data.statistics import force_rms

FORCE_LIMIT = 50.0  # eV/Å
NET_FORCE_LIMIT = 0.1  # eV/Å


@dataclass(frozen=True)
class Audit:
    """Description of a data set. Energies in eV, forces in eV/Å; NaN where there are no labels.

    Attributes:
        structures: how many.
        atoms: in all structures together.
        elements: symbol → atoms of it.
        sizes: smallest, mean and largest number of atoms.
        periodicity: periodic directions ("none", "xyz", …) → structures.
        charges: total charge as text → structures.
        spins: spin multiplicity as text → structures.
        labelled: property → structures that have it.
        label_keys: property → key → structures labelled from it.
        weights: label → smallest and largest weight and how many are 0; those not all of 1.
        energy_per_atom: mean and standard deviation.
        residual_per_atom: the same after the reference energies are taken off.
        force_rms: over all labelled components.
        force_max: largest length of an atom's force.
        force_max_source: the structure it is in.
        net_force: mean and largest length of a structure's summed force.
        stress: how large stresses are.
        constrained_atoms: atoms under any ASE constraint.
        repeated: structures that repeat an earlier one.
        references: reference energies, or None.
        force_work: −ΔE against F·Δr, or None where there is no trajectory.
        free_energy_work: the same of free energies that structures have beside their energy.
        free_energy_difference: largest between the two, eV per atom; NaN without any.
        stress_work: ΔE against V σ:ε, or None where no near cells differ.
        errors: what must stop training.
        warnings: what a person should look at.
    """

    structures: int
    atoms: int
    elements: dict[str, int]
    sizes: tuple[int, float, int]
    periodicity: dict[str, int]
    charges: dict[str, int]
    spins: dict[str, int]
    labelled: dict[str, int]
    label_keys: dict[str, dict[str, int]]
    weights: dict[str, tuple[float, float, int]]
    energy_per_atom: tuple[float, float]
    residual_per_atom: tuple[float, float]
    force_rms: float
    force_max: float
    force_max_source: str
    net_force: tuple[float, float]
    stress: StressSize
    constrained_atoms: int
    repeated: int
    references: ReferenceEnergies | None
    force_work: WorkSlope | None
    free_energy_work: WorkSlope | None
    free_energy_difference: float
    stress_work: WorkSlope | None
    errors: list[str]
    warnings: list[str]

    def lines(self) -> list[str]:
        """Return the description as lines of text: a table, then warnings, then errors."""
        rows = [*self._what(), *self._labels(), *self._checks(), *self._references()]
        width = max(len(name) for name, _ in rows)
        return [
            *(f"{name:<{width}}  {text}" for name, text in rows),
            *(f"warning: {text}" for text in self.warnings),
            *(f"error: {text}" for text in self.errors),
        ]

    def _what(self) -> Iterator[tuple[str, str]]:
        smallest, mean, most = self.sizes
        yield "structures", f"{self.structures}"
        yield "atoms", f"{self.atoms}; a structure has {smallest} to {most}, mean {mean:.1f}"
        yield "elements", _counts(self.elements)
        yield "periodic directions", _counts(self.periodicity)
        yield "total charge", _counts(self.charges)
        yield "spin multiplicity", _counts(self.spins)

    def _labels(self) -> Iterator[tuple[str, str]]:
        for name, count in self.labelled.items():
            keys = f"; from {_counts(self.label_keys[name])}" if count else ""
            yield name, f"{count} found, {self.structures - count} missing{keys}"
        for name, (least, most, zero) in self.weights.items():
            off = f"; {zero} switched off by weight 0" if zero else ""
            yield f"weight of {name}", f"{least:g} to {most:g}{off}"
        if self.labelled["energy"]:
            yield "energy per atom", _mean_and_spread(self.energy_per_atom)
            yield "  less E0", _mean_and_spread(self.residual_per_atom)
        if self.free_energy_difference > 0:
            text = f"differs from the energy by up to {self.free_energy_difference:.3g} eV per atom"
            yield "free energy", text
        if self.labelled["forces"]:
            mean, worst = self.net_force
            yield "force RMS", f"{self.force_rms:.4f} eV/Å"
            yield "largest force", f"{self.force_max:.4f} eV/Å in {self.force_max_source}"
            net = f"mean {mean:.2g}, largest {worst:.2g} eV/Å"
            unknown = "not checked: no structure has forces on all atoms"
            yield "net force", unknown if np.isnan(worst) else net
        if self.labelled["stress"]:
            yield "size of stress", self.stress.text()

    def _checks(self) -> Iterator[tuple[str, str]]:
        yield "constrained atoms", f"{self.constrained_atoms}"
        yield "repeated structures", f"{self.repeated}"
        yield "−ΔE against F·Δr", _slope(self.force_work, "no consecutive frames")
        if self.free_energy_work is not None:
            yield "  with free energy", _slope(self.free_energy_work, "")
        yield "ΔE against V σ:ε", _slope(self.stress_work, "no strained cells")

    def _references(self) -> Iterator[tuple[str, str]]:
        table = self.references
        if table is None:
            return
        rank = "" if table.source == "none" else f"; rank {table.rank} of {len(table.numbers)}"
        yield "E0", f"{table.source}{rank}"
        pairs = zip(table.numbers, table.energies, strict=True)
        named = ((chemical_symbols[z], energy) for z, energy in pairs)
        # A table may know more elements than the data have: that of a universal model.
        values = ", ".join(f"{s} {energy:.4f}" for s, energy in named if s in self.elements)
        if table.source != "none":
            yield "E0 values", f"{values} eV"


@np.errstate(invalid="ignore")  # infinite labels are to be reported, not to end the audit
def audit(
    structures: Sequence[LabelledStructure],
    references: ReferenceEnergies | None = None,
    labels: LabelConfig | None = None,
    *,
    force_limit: float = FORCE_LIMIT,
    net_force_limit: float = NET_FORCE_LIMIT,
) -> Audit:
    """Describe structures with labels and list their errors and warnings.

    Args:
        structures: as `read_labelled` returns them.
        references: reference energies that training will use.
        labels: the label section of the configuration; keys that it names must have been used.
        force_limit: eV/Å; atoms with a larger force are reported.
        net_force_limit: eV/Å; structures with a larger summed force are reported.

    Raises:
        ValueError: the list is empty.
    """
    if not structures:
        raise ValueError("no structures to audit")
    errors, warnings = _wrong_values(structures, labels)
    pairs = findings.repeated(structures)
    work = _work_of(structures)
    warnings += [
        *force_findings.large_forces(structures, force_limit),
        *force_findings.net_forces(structures, net_force_limit),
        *force_findings.constraints(structures),
        *findings.work_warnings(work.force, work.stress),
        *label_findings.free_energies(structures, work.force, work.free_energy),
        *findings.repetition_warnings(structures, pairs),
    ]
    uncovered, residuals = _residuals(structures, references)
    errors += uncovered
    if references is not None and not uncovered:
        warnings += findings.reference_warnings(references, residuals)
    keys = _label_keys(structures)
    return Audit(
        **_contents(structures),
        **_force_sizes(structures),
        labelled={name: sum(counts.values()) for name, counts in keys.items()},
        label_keys=keys,
        weights=label_findings.weight_ranges(structures),
        energy_per_atom=_moments(np.array([each.energy / len(each) for each in structures])),
        residual_per_atom=_moments(residuals),
        stress=stress_size(structures),
        constrained_atoms=sum(
            len(force_findings.constrained_atoms(each.atoms)) for each in structures
        ),
        repeated=len(pairs),
        references=references,
        force_work=work.force,
        free_energy_work=work.free_energy,
        free_energy_difference=_largest(label_findings.free_energy_differences(structures)),
        stress_work=work.stress,
        errors=errors,
        warnings=warnings,
    )


class _Contents(TypedDict):
    structures: int
    atoms: int
    elements: dict[str, int]
    sizes: tuple[int, float, int]
    periodicity: dict[str, int]
    charges: dict[str, int]
    spins: dict[str, int]


def _contents(structures: Sequence[LabelledStructure]) -> _Contents:
    """Return what structures are there, whatever their labels."""
    sizes = np.array([len(each) for each in structures], dtype=int)
    elements = Counter(int(z) for each in structures for z in each.numbers)
    return {
        "structures": len(structures),
        "atoms": int(sizes.sum()),
        "elements": {chemical_symbols[z]: count for z, count in sorted(elements.items())},
        "sizes": (int(sizes.min()), float(sizes.mean()), int(sizes.max())),
        "periodicity": dict(Counter(_directions(each.atoms) for each in structures)),
        "charges": label_findings.state_counts(structures, "charge"),
        "spins": label_findings.state_counts(structures, "spin"),
    }


class _Work(NamedTuple):
    force: WorkSlope | None
    free_energy: WorkSlope | None
    stress: WorkSlope | None


def _work_of(structures: Sequence[LabelledStructure]) -> _Work:
    """Return how energies, and free energies if there are any, follow forces and stresses."""
    free = any(not np.isnan(each.free_energy) for each in structures)
    return _Work(
        force_work_slope(structures),
        force_work_slope(structures, attrgetter("free_energy")) if free else None,
        stress_work_slope(structures),
    )


def _wrong_values(
    structures: Sequence[LabelledStructure], labels: LabelConfig | None
) -> tuple[list[str], list[str]]:
    """Return errors and warnings that each label gives by itself, without a limit to choose."""
    errors = findings.label_errors(structures, labels)
    warnings = ReadingTally.of(structures).warnings()
    for found in (
        label_findings.mixed_keys(structures, labels),
        label_findings.mixed_families(structures, labels),
        magnitudes.energies(structures),
        force_findings.zero_forces(structures),
        magnitudes.stresses(structures),
    ):
        errors += found[0]
        warnings += found[1]
    return errors, [*warnings, *force_findings.zero_rows(structures)]


def _residuals(
    structures: Sequence[LabelledStructure], references: ReferenceEnergies | None
) -> tuple[list[str], Float[np.ndarray, " structures"]]:
    """Return errors, and energies per atom less E0 (eV), NaN where either is unknown."""
    uncovered = [] if references is None else findings.uncovered_elements(structures, references)
    if references is None or uncovered:
        return uncovered, np.full(len(structures), np.nan)
    left = [(each.energy - references.of(each.numbers)) / len(each) for each in structures]
    return [], np.array(left)


def _label_keys(structures: Sequence[LabelledStructure]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {name: Counter() for name in PROPERTIES}
    for structure in structures:
        for name in structure.labels:
            key = structure.keys.get(name, CANONICAL.get(name, name))
            counts.setdefault(name, Counter())[key] += 1
    return {name: dict(counter) for name, counter in counts.items()}


class _ForceSizes(TypedDict):
    force_rms: float
    force_max: float
    force_max_source: str
    net_force: tuple[float, float]


def _force_sizes(structures: Sequence[LabelledStructure]) -> _ForceSizes:
    forces = [structure.labels.of("forces") for structure in structures]
    strongest = np.array([_largest(np.linalg.norm(each, axis=1)) for each in forces])
    net = np.array([np.linalg.norm(each.sum(axis=0)) for each in forces])
    top = int(np.nanargmax(strongest)) if np.isfinite(strongest).any() else None
    return {
        "force_rms": force_rms(structures),
        "force_max": float("nan") if top is None else float(strongest[top]),
        "force_max_source": "" if top is None else structures[top].source,
        "net_force": (_moments(net)[0], _largest(net)),
    }


def _directions(atoms: Atoms) -> str:
    names = (axis for axis, periodic in zip("xyz", atoms.pbc, strict=True) if periodic)
    return "".join(names) or "none"


def _largest(values: np.ndarray) -> float:
    """Return the largest value that is not NaN, else NaN."""
    known = values[~np.isnan(values)]
    return float(known.max()) if len(known) else float("nan")


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of the finite values."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    return float(known.mean()), float(known.std())


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _mean_and_spread(moments: tuple[float, float]) -> str:
    return f"mean {moments[0]:.4f}, standard deviation {moments[1]:.4f} eV"


def _slope(found: WorkSlope | None, otherwise: str) -> str:
    if found is None:
        return f"not checked: {otherwise}"
    return f"slope {found.slope:.3f} over {found.pairs} pairs"
