"""What a data set holds and what is wrong with it, known before the first training step."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from tensornet_jax.data import findings
from tensornet_jax.data.consistency import WorkSlope, force_work_slope, stress_work_slope
from tensornet_jax.data.labels import CANONICAL, PROPERTIES, LabelConfig, labels_of, source_of
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
        labelled: property → structures that have it.
        label_keys: property → key → structures labelled from it.
        energy_per_atom: mean and standard deviation.
        residual_per_atom: the same after the reference energies are taken off.
        force_rms: over all labelled components.
        force_max: largest length of an atom's force.
        force_max_source: the structure it is in.
        net_force: mean and largest length of a structure's summed force.
        constrained_atoms: atoms under any ASE constraint.
        repeated: structures that repeat an earlier one.
        references: reference energies, or None.
        force_work: −ΔE against F·Δr, or None where there is no trajectory.
        stress_work: ΔE against V σ:ε, or None where no near cells differ.
        errors: what must stop training.
        warnings: what a person should look at.
    """

    structures: int
    atoms: int
    elements: dict[str, int]
    sizes: tuple[int, float, int]
    periodicity: dict[str, int]
    labelled: dict[str, int]
    label_keys: dict[str, dict[str, int]]
    energy_per_atom: tuple[float, float]
    residual_per_atom: tuple[float, float]
    force_rms: float
    force_max: float
    force_max_source: str
    net_force: tuple[float, float]
    constrained_atoms: int
    repeated: int
    references: ReferenceEnergies | None
    force_work: WorkSlope | None
    stress_work: WorkSlope | None
    errors: list[str]
    warnings: list[str]

    def lines(self) -> list[str]:
        """Return the description as lines of text: a table, then warnings, then errors."""
        smallest, mean, most = self.sizes
        rows = [
            ("structures", f"{self.structures}"),
            ("atoms", f"{self.atoms}; a structure has {smallest} to {most}, mean {mean:.1f}"),
            ("elements", _counts(self.elements)),
            ("periodic directions", _counts(self.periodicity)),
        ]
        for name in self.labelled:
            missing = self.structures - self.labelled[name]
            keys = f"; from {_counts(self.label_keys[name])}" if self.labelled[name] else ""
            rows.append((name, f"{self.labelled[name]} found, {missing} missing{keys}"))
        if self.labelled["energy"]:
            rows += [
                ("energy per atom", _mean_and_spread(self.energy_per_atom)),
                ("  less E0", _mean_and_spread(self.residual_per_atom)),
            ]
        if self.labelled["forces"]:
            mean, worst = self.net_force
            rows += [
                ("force RMS", f"{self.force_rms:.4f} eV/Å"),
                ("largest force", f"{self.force_max:.4f} eV/Å in {self.force_max_source}"),
                ("net force", f"mean {mean:.2g}, largest {worst:.2g} eV/Å"),
            ]
        rows += [
            ("constrained atoms", f"{self.constrained_atoms}"),
            ("repeated structures", f"{self.repeated}"),
            ("−ΔE against F·Δr", _slope(self.force_work, "no consecutive frames")),
            ("ΔE against V σ:ε", _slope(self.stress_work, "no strained cells")),
        ]
        if self.references is not None:
            table = self.references
            rank = "" if table.source == "none" else f"; rank {table.rank} of {len(table.numbers)}"
            rows.append(("E0", f"{table.source}{rank}"))
            pairs = zip(table.numbers, table.energies, strict=True)
            named = ((chemical_symbols[z], energy) for z, energy in pairs)
            # A table may know more elements than the data have: that of a universal model.
            values = ", ".join(f"{s} {energy:.4f}" for s, energy in named if s in self.elements)
            if table.source != "none":
                rows.append(("E0 values", f"{values} eV"))
        width = max(len(name) for name, _ in rows)
        return [
            *(f"{name:<{width}}  {text}" for name, text in rows),
            *(f"warning: {text}" for text in self.warnings),
            *(f"error: {text}" for text in self.errors),
        ]


@np.errstate(invalid="ignore")  # infinite labels are to be reported, not to end the audit
def audit(
    atoms_list: Sequence[Atoms],
    references: ReferenceEnergies | None = None,
    labels: LabelConfig | None = None,
    *,
    force_limit: float = FORCE_LIMIT,
    net_force_limit: float = NET_FORCE_LIMIT,
) -> Audit:
    """Describe structures with canonical labels and list their errors and warnings.

    Args:
        atoms_list: as `read_structures` returns them.
        references: reference energies that training will use.
        labels: the label section of the configuration; keys that it names must have been used.
        force_limit: eV/Å; atoms with a larger force are reported.
        net_force_limit: eV/Å; structures with a larger summed force are reported.

    Raises:
        ValueError: the list is empty.
    """
    if not atoms_list:
        raise ValueError("no structures to audit")
    known = [labels_of(atoms) for atoms in atoms_list]
    sizes = np.array([len(atoms) for atoms in atoms_list], dtype=int)
    energies = np.array([each.energy for each in known], dtype=np.float64)
    strongest = np.array([_largest(np.linalg.norm(each.forces, axis=1)) for each in known])
    net = np.array([np.linalg.norm(each.forces.sum(axis=0)) for each in known])
    keys = _label_keys(atoms_list)
    top = int(np.nanargmax(strongest)) if np.isfinite(strongest).any() else None

    zero_errors, zero_warnings = findings.zero_forces(atoms_list)
    errors = [*findings.label_errors(atoms_list, labels), *zero_errors]
    pairs = findings.repeated(atoms_list)
    force_work, stress_work = force_work_slope(atoms_list), stress_work_slope(atoms_list)
    warnings = [
        *findings.reading_remarks(atoms_list),
        *findings.passed_over(atoms_list),
        *zero_warnings,
        *findings.large_forces(atoms_list, force_limit),
        *findings.net_forces(atoms_list, net_force_limit),
        *findings.constraints(atoms_list),
        *findings.work_warnings(force_work, stress_work),
        *findings.repetition_warnings(atoms_list, pairs),
    ]
    residuals = np.full(len(energies), np.nan)
    if references is not None:
        uncovered = findings.uncovered_elements(atoms_list, references)
        errors += uncovered
        if not uncovered:
            offsets = np.array([references.of(atoms.numbers) for atoms in atoms_list])
            residuals = (energies - offsets) / sizes
            warnings += findings.reference_warnings(references, residuals)
    elements = Counter(int(z) for atoms in atoms_list for z in atoms.numbers)
    return Audit(
        structures=len(atoms_list),
        atoms=int(sizes.sum()),
        elements={chemical_symbols[z]: count for z, count in sorted(elements.items())},
        sizes=(int(sizes.min()), float(sizes.mean()), int(sizes.max())),
        periodicity=dict(Counter(_directions(atoms) for atoms in atoms_list)),
        labelled={name: sum(counts.values()) for name, counts in keys.items()},
        label_keys=keys,
        energy_per_atom=_moments(energies / sizes),
        residual_per_atom=_moments(residuals),
        force_rms=force_rms(atoms_list),
        force_max=float("nan") if top is None else float(strongest[top]),
        force_max_source="" if top is None else source_of(atoms_list[top], top),
        net_force=(_moments(net)[0], _largest(net)),
        constrained_atoms=sum(len(findings.constrained_atoms(atoms)) for atoms in atoms_list),
        repeated=len(pairs),
        references=references,
        force_work=force_work,
        stress_work=stress_work,
        errors=errors,
        warnings=warnings,
    )


def _label_keys(atoms_list: Sequence[Atoms]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {name: Counter() for name in PROPERTIES}
    for atoms in atoms_list:
        known = labels_of(atoms)
        read_from = atoms.info.get("label_keys", {})
        for name in known.names:
            key = read_from.get(name, CANONICAL.get(name, name))
            counts.setdefault(name, Counter())[key] += 1
    return {name: dict(counter) for name, counter in counts.items()}


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
