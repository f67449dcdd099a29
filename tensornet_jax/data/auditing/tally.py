"""The audit of more structures than fit into memory, in one pass.

Counts, sizes and rare faults are those of all structures. What compares structures with each other
or looks at typical values is told of some that are looked at closely: runs of consecutive ones,
evenly spread.
"""

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ase.data import chemical_symbols

from tensornet_jax.data.auditing import findings
from tensornet_jax.data.auditing.audit import FORCE_LIMIT, NET_FORCE_LIMIT, Audit, audit
from tensornet_jax.data.auditing.force_findings import constrained_atoms
from tensornet_jax.data.auditing.magnitudes import ENERGY_LIMIT, StressSize, energies, is_filler
from tensornet_jax.data.auditing.reading import ReadingTally
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.config import PROPERTIES, LabelConfig
from tensornet_jax.data.labels.labels import CANONICAL
from tensornet_jax.data.references import ReferenceEnergies
from tensornet_jax.runtime.sealed_file import Json

# Structures looked at closely, and how many of them are consecutive.
CLOSE = 10_000
RUN = 500
EXAMPLES = 3


class Moments:
    """Count, mean and standard deviation of numbers, and the largest with the one it came from."""

    def __init__(self) -> None:
        self.count, self.largest, self.source = 0, math.nan, ""
        self._mean = self._spread = self._square = 0.0

    def add(self, values: np.ndarray, source: str = "") -> None:
        """Count the values that are not NaN."""
        known = values[~np.isnan(values)]
        if not known.size:
            return
        # Of Chan, Golub and LeVeque: sums of squares lose all digits of energies near each other.
        count, mean = known.size, float(known.mean())
        total, change = self.count + count, mean - self._mean
        self._spread += float(np.sum((known - mean) ** 2)) + change**2 * self.count * count / total
        self._mean += change * count / total
        self._square += float(np.sum(known**2))
        self.count = total
        top = float(np.abs(known).max())
        if not self.largest >= top:
            self.largest, self.source = top, source

    @property
    def mean_and_deviation(self) -> tuple[float, float]:
        """Both; NaN without any number."""
        if not self.count:
            return math.nan, math.nan
        return self._mean, math.sqrt(self._spread / self.count)

    @property
    def rms(self) -> float:
        """Root mean square; NaN without any number."""
        return self.rms_of([self])

    @staticmethod
    def rms_of(parts: Sequence["Moments"]) -> float:
        """Return the root mean square of the numbers of several together; NaN without any."""
        count = sum(part.count for part in parts)
        return math.sqrt(sum(part._square for part in parts) / count) if count else math.nan


class Rare:
    """How many structures have a fault, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.examples: list[str] = []

    def add(self, text: str) -> None:
        """Count one."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(text)

    def told(self, what: str) -> list[str]:
        """Return a sentence if there is any."""
        return [f"{self.count} {what}: {', '.join(self.examples)}"] if self.count else []


class Tally:
    """What an audit counts, one structure after the other.

    Attributes:
        forces: components, eV/Å.
        digests: of atoms, cell and state of each structure, by which repeated ones are known.
    """

    def __init__(self) -> None:
        self.reading = ReadingTally()
        self.forces = Moments()
        self.digests = array("Q")
        self._elements: Counter[int] = Counter()
        self._periodicity: Counter[str] = Counter()
        self._states: dict[str, Counter[tuple[bool, float]]] = {"charge": Counter()}
        self._states["spin"] = Counter()
        self._keys: dict[str, Counter[str]] = {name: Counter() for name in PROPERTIES}
        self._weights: dict[str, tuple[float, float, int]] = {}
        self._smallest, self._largest = 10**9, 0
        self._energy, self._strongest, self._net = Moments(), Moments(), Moments()
        self._stress = Moments()
        self._constrained = self._atoms_above = 0
        self._above, self._zero, self._huge, self._filler = Rare(), Rare(), Rare(), Rare()
        self._net_above = 0

    def __len__(self) -> int:
        return len(self.digests)

    def add(self, structure: LabelledStructure) -> None:
        """Count one structure."""
        atoms = structure.atoms
        self.reading.add(structure)
        self.digests.append(digest_of(structure))
        self._smallest = min(self._smallest, len(structure))
        self._largest = max(self._largest, len(structure))
        found, counts = np.unique(structure.numbers, return_counts=True)
        self._elements.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
        axes = zip("xyz", atoms.pbc, strict=True)
        self._periodicity["".join(a for a, repeats in axes if repeats) or "none"] += 1
        for kind, counter in self._states.items():
            value = float(getattr(structure.state, kind) or 0.0)
            counter[not (kind in structure.keys or value), value] += 1
        for name in structure.labels:
            key = structure.keys.get(name, CANONICAL.get(name, name))
            self._keys.setdefault(name, Counter())[key] += 1
        for name in self._keys:
            weight = structure.weights.of(name)
            least, most, zero = self._weights.get(name, (weight, weight, 0))
            self._weights[name] = min(least, weight), max(most, weight), zero + (weight == 0.0)
        self._constrained += len(constrained_atoms(atoms))
        self._add_energy(structure)
        self._add_derivatives(structure)

    def _add_energy(self, structure: LabelledStructure) -> None:
        energy, size, source = structure.energy, len(structure), structure.source
        self._energy.add(np.array([energy / size]))
        if size == 1 or not math.isfinite(energy):
            return
        if energy == 0.0:
            self._zero.add(source)
        elif abs(energy) > ENERGY_LIMIT * size:
            self._huge.add(source)
        elif is_filler(energy / structure.units.factor("energy")):
            self._filler.add(source)

    def _add_derivatives(self, structure: LabelledStructure) -> None:
        forces, source = structure.labels.get("forces"), structure.source
        if forces is not None:
            lengths = np.linalg.norm(forces, axis=1)
            self.forces.add(forces)
            self._strongest.add(lengths, source)
            above = int(np.count_nonzero(lengths > FORCE_LIMIT))
            self._atoms_above += above
            if above:
                self._above.add(f"{source} ({np.nanmax(lengths):.0f})")
            net = np.linalg.norm(forces.sum(axis=0))
            self._net.add(np.array([net]), source)
            self._net_above += bool(net > NET_FORCE_LIMIT)
        if (stress := structure.labels.get("stress")) is not None:
            self._stress.add(stress, source)

    def audit(
        self,
        close: Sequence[LabelledStructure],
        references: ReferenceEnergies,
        labels: LabelConfig | None,
        energies_of: Sequence[float],
    ) -> Audit:
        """Return the audit of all structures that were counted.

        Args:
            close: some of them, which are compared with each other: `closely`.
            references: reference energies that training will use.
            labels: as for `audit`.
            energies_of: of every structure, eV, NaN without one.
        """
        inf = math.inf
        found = audit(close, references, labels, force_limit=inf, net_force_limit=inf)
        # What is told of all structures need not be told of some again.
        again = {*ReadingTally.of(close).warnings(), *(t for ts in energies(close) for t in ts)}
        again |= set(findings.repetition_warnings(close, findings.repeated(close)))
        seen = f"among {len(close)} structures looked at closely: "
        repeated, contradicting = _repeated(self.digests, energies_of)
        return replace(
            found,
            **self._counts(),
            repeated=repeated,
            errors=[
                *(seen + text for text in found.errors if text not in again),
                *self._huge.told(f"structures have an energy above {ENERGY_LIMIT:g} eV per atom"),
            ],
            warnings=[
                *self._told(),
                *_of_repetition(repeated, contradicting),
                *(seen + text for text in found.warnings if text not in again),
            ],
        )

    def _told(self) -> list[str]:
        forces = f"structures have |F| > {FORCE_LIMIT:g} eV/Å ({self._atoms_above} atoms)"
        remedy = "(write nan for them, or config_energy_weight=0)"
        texts = [
            *self.reading.warnings(),
            *self._zero.told(f"structures have an energy of exactly zero {remedy}"),
            *self._filler.told(f"structures have an energy that looks like a placeholder {remedy}"),
            *self._above.told(forces),
        ]
        if self._net_above:
            texts.append(
                f"{self._net_above} structures have a net force above {NET_FORCE_LIMIT:g} eV/Å, "
                f"largest {self._net.largest:.2g} in {self._net.source}: a model without external "
                "field cannot fit it"
            )
        return texts

    def _counts(self) -> Json:
        """Return fields of `Audit` by name."""
        atoms = sum(self._elements.values())
        keys = {name: dict(counter) for name, counter in self._keys.items()}
        return {
            "structures": len(self),
            "atoms": atoms,
            "elements": {chemical_symbols[z]: n for z, n in sorted(self._elements.items())},
            "sizes": (self._smallest, atoms / max(len(self), 1), self._largest),
            "periodicity": dict(self._periodicity),
            "charges": _states_text(self._states["charge"], "+"),
            "spins": _states_text(self._states["spin"], ""),
            "labelled": {name: sum(counts.values()) for name, counts in keys.items()},
            "label_keys": keys,
            "weights": {n: w for n, w in self._weights.items() if w[:2] != (1.0, 1.0)},
            "energy_per_atom": self._energy.mean_and_deviation,
            "force_rms": self.forces.rms,
            "force_max": self._strongest.largest,
            "force_max_source": self._strongest.source,
            "net_force": (self._net.mean_and_deviation[0], self._net.largest),
            "stress": StressSize(self._stress.rms, self._stress.largest, self._stress.source),
            "constrained_atoms": self._constrained,
        }


def closely(count: int) -> list[int]:
    """Return the indices of structures to look at closely: all, or runs that are evenly spread."""
    if count <= CLOSE:
        return list(range(count))
    starts = np.linspace(0, count - RUN, CLOSE // RUN).astype(int)
    return sorted({index for start in starts.tolist() for index in range(start, start + RUN)})


def digest_of(structure: LabelledStructure) -> int:
    """Return 64 bits of atoms, cell and state to 1e-6 Å, by which copies are known."""
    digest = hashlib.blake2b(digest_size=8)
    for part in findings.identity(structure):
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
    return int.from_bytes(digest.digest(), "little")


def shared(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many digests of the second set the first one has too."""
    known = np.unique(np.asarray(first, np.uint64))
    return int(np.isin(np.asarray(second, np.uint64), known).sum())


def _repeated(digests: Sequence[int], energies_of: Sequence[float]) -> tuple[int, int]:
    """Return how many structures repeat an earlier one, and how many with another energy."""
    values = np.asarray(digests, np.uint64)
    order = np.argsort(values, kind="stable")
    same = values[order][1:] == values[order][:-1]
    known = np.asarray(energies_of, np.float64)[order]
    # NaN compares false: an unlabelled repetition contradicts nothing.
    return int(same.sum()), int((same & (np.abs(np.diff(known)) > 1e-3)).sum())


def _of_repetition(repeated: int, contradicting: int) -> list[str]:
    texts = []
    if repeated:
        texts.append(
            f"{repeated} structures repeat an earlier one: they may stand on both sides of a "
            "random split"
        )
    if contradicting:
        texts.append(
            f"{contradicting} repeated structures have another energy than the one before: another "
            "spin state, level of theory or field? A model cannot tell them apart"
        )
    return texts


def _states_text(counts: Counter[tuple[bool, float]], sign: str) -> dict[str, int]:
    return {
        "not stated" if unstated else f"{value:{sign if value else ''}g}": count
        for (unstated, value), count in sorted(counts.items())
    }
