"""Isolated-atom reference energies E0: given, from isolated-atom frames, or by least squares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.geometry import minkowski_reduce
from jaxtyping import Float, Int

from tensornet_jax.data.composition_fit import CompositionFit, fit_to_composition
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.config import LabelConfig
from tensornet_jax.data.readers import read_labelled

# "least_squares" | "isolated_atoms" | "none" | {"isolated_atoms": FILE} | {symbol: energy in eV}
ReferenceSpec: TypeAlias = str | Mapping[str, float | str]

# Å from a lone atom to its nearest periodic image. No crystal of one atom a cell is as wide as the
# first (cesium 5.3 Å, expanded crystals somewhat more); the second is of files that are said to
# hold isolated atoms.
ISOLATION = 8.0
_ISOLATION_WHERE_NAMED = 6.0
_FITTED = "least squares"


@dataclass(frozen=True)
class ReferenceEnergies:
    """Reference energies of the elements of a data set.

    Attributes:
        numbers: atomic numbers, ascending.
        energies: eV, float64.
        source: where they come from, in words.
        rank: how many independent combinations the data or the input determine, at most S.
        undetermined: symbols whose own energy the data do not fix; only combinations of them are.
    """

    numbers: tuple[int, ...]
    energies: Float[np.ndarray, " elements"]
    source: str
    rank: int
    undetermined: tuple[str, ...] = ()

    def of_structure(self, structure: LabelledStructure) -> float:
        """Return the sum of reference energies of a structure in eV; see `of`."""
        return self.of(structure.numbers)

    @property
    def fitted(self) -> bool:
        """Whether they were fitted to energies, about which those then lie."""
        return self.source.startswith(_FITTED)

    def of(self, numbers: Int[np.ndarray, " atoms"]) -> float:
        """Return the sum of reference energies in eV.

        Args:
            numbers: atomic numbers.

        Raises:
            ValueError: an element is not in the table.
        """
        present, counts = np.unique(np.asarray(numbers, dtype=int), return_counts=True)
        unknown = [chemical_symbols[z] for z in present if int(z) not in self.numbers]
        if unknown:
            known = ", ".join(chemical_symbols[z] for z in self.numbers)
            raise ValueError(f"no reference energy for {', '.join(unknown)}: known are {known}")
        index = np.searchsorted(self.numbers, present)
        return float(self.energies[index] @ counts)


def elements_of(structures: Sequence[LabelledStructure]) -> tuple[int, ...]:
    """Return the atomic numbers that occur, ascending."""
    return tuple(sorted({int(z) for each in structures for z in np.unique(each.numbers)}))


def is_isolated_atom(structure: LabelledStructure) -> bool:
    """Return whether a structure is one atom and not a crystal."""
    return _is_isolated(structure, ISOLATION)


def isolated_atom_indices(structures: Sequence[LabelledStructure]) -> list[int]:
    """Return the indices of frames that are one atom and not a crystal.

    A periodic frame of one atom is a crystal, unless its images are at least ISOLATION away, as in
    the boxes of codes without open boundaries, or its config_type says otherwise.
    """
    return [index for index, each in enumerate(structures) if is_isolated_atom(each)]


def reference_energies(
    spec: ReferenceSpec, structures: Sequence[LabelledStructure], labels: LabelConfig | None = None
) -> ReferenceEnergies:
    """Return reference energies for the elements of structures.

    Args:
        spec: "least_squares": minimum-norm fit of the energies to the composition, float64;
            "isolated_atoms": from one-atom frames among them; {"isolated_atoms": path}: from a
            file of them; {"H": -13.6, …}: given, eV; "none": zero.
        structures: with labels.
        labels: label names and units of the isolated-atom file.

    Raises:
        ValueError: an element has no energy, or two isolated-atom frames contradict each other.
    """
    numbers = elements_of(structures)
    if spec == "none":
        return ReferenceEnergies(numbers, np.zeros(len(numbers)), "none", 0)
    if spec == "least_squares":
        energies = np.array([structure.energy for structure in structures])
        return fitted_energies(numbers, fit_to_composition(numbers, structures, energies))
    energies, source = stated_energies(spec, structures, labels)
    missing = [number for number in numbers if number not in energies]
    if missing and (spec == "isolated_atoms" or "isolated_atoms" in spec):
        candidates, least = _candidates(spec, structures, labels)
        source += _why_not(candidates, missing, least)
    return _from_table(numbers, energies, source)


def stated_energies(
    spec: ReferenceSpec, structures: Sequence[LabelledStructure], labels: LabelConfig | None = None
) -> tuple[dict[int, float], str]:
    """Return energies of isolated atoms by atomic number, eV, and where they come from.

    Args:
        spec: as for `reference_energies`, but neither "none" nor "least_squares".
        structures: those among which isolated atoms may be.
        labels: label names and units of the isolated-atom file.

    Raises:
        ValueError: there is no such kind, or two isolated-atom frames contradict each other.
    """
    if spec == "isolated_atoms":
        return _isolated(structures, ISOLATION), "isolated-atom frames of the data"
    if isinstance(spec, str):
        raise ValueError(
            f"reference_energies is {spec!r}: use least_squares, isolated_atoms, none, "
            "{isolated_atoms: FILE} or {symbol: energy, …}"
        )
    if "isolated_atoms" in spec:
        path = str(spec["isolated_atoms"])
        if len(spec) > 1:
            raise ValueError(
                "reference_energies: give a file of isolated atoms or energies, not both"
            )
        candidates, least = _candidates(spec, structures, labels)
        return _isolated(candidates, least), f"isolated atoms of {path}"
    unknown = sorted(set(spec) - set(chemical_symbols[1:]))
    if unknown:
        raise ValueError(f"reference_energies: {', '.join(unknown)} is not a chemical symbol")
    return {atomic_numbers[symbol]: float(energy) for symbol, energy in spec.items()}, "given"


def _candidates(
    spec: ReferenceSpec, structures: Sequence[LabelledStructure], labels: LabelConfig | None
) -> tuple[Sequence[LabelledStructure], float]:
    """Return the frames among which isolated atoms are, and how far their images must be, Å."""
    if isinstance(spec, str):
        return structures, ISOLATION
    path = str(spec["isolated_atoms"])
    return read_labelled(path, labels, require_configured=False), _ISOLATION_WHERE_NAMED


def _is_isolated(structure: LabelledStructure, least: float) -> bool:
    if len(structure) != 1:
        return False
    named = (structure.config_type or "").lower().replace("_", "").replace(" ", "")
    return named in ("isolatedatom", "isolatedatoms") or image_distance(structure.atoms) >= least


def image_distance(atoms: Atoms) -> float:
    """Return how far an atom is from its nearest periodic image, Å; infinity without any."""
    if not atoms.pbc.any():
        return float("inf")
    pbc: Any = atoms.pbc  # annotated as one bool by ASE
    reduced = np.asarray(minkowski_reduce(atoms.cell.complete().array, pbc)[0])
    return float(np.linalg.norm(reduced[atoms.pbc], axis=1).min())


def _isolated(structures: Sequence[LabelledStructure], least: float) -> dict[int, float]:
    energies: dict[int, float] = {}
    for structure in structures:
        if not _is_isolated(structure, least):
            continue
        energy, number = structure.energy, int(structure.numbers[0])
        if np.isnan(energy) or structure.state.charge != 0.0:
            continue
        if abs(energies.setdefault(number, energy) - energy) > 1e-6:
            raise ValueError(
                f"{structure.source}: a second isolated {chemical_symbols[number]} has "
                f"{energy} eV, another {energies[number]} eV: keep one"
            )
    return energies


def _why_not(structures: Sequence[LabelledStructure], missing: Sequence[int], least: float) -> str:
    """Return why frames of one atom of these elements give no reference energy, for a message."""
    reasons: dict[int, str] = {}
    for structure in structures:
        if len(structure) != 1 or int(structure.numbers[0]) not in missing:
            continue
        if not _is_isolated(structure, least):
            distance = image_distance(structure.atoms)
            reason = (
                f"is periodic, its images {distance:.3g} Å away, and counts as a crystal: below "
                f"{least:g} Å an isolated atom needs config_type=IsolatedAtom or "
                'pbc="F F F"'
            )
        elif structure.weights.of("energy") == 0.0:
            reason = "has an energy of weight 0"
        elif np.isnan(structure.energy):
            reason = "has no energy"
        else:
            reason = f"has the charge {structure.state.charge:+g}"
        reasons.setdefault(int(structure.numbers[0]), f"{structure.source} {reason}")
    return "".join(f"; {reason}" for reason in reasons.values())


def _from_table(
    numbers: tuple[int, ...], table: dict[int, float], source: str
) -> ReferenceEnergies:
    missing = [chemical_symbols[z] for z in numbers if z not in table]
    if missing:
        raise ValueError(
            f"no reference energy for {', '.join(missing)} ({source}): add it, or use least_squares"
        )
    energies = np.array([table[z] for z in numbers], dtype=np.float64)
    if not np.isfinite(energies).all():
        bad = [chemical_symbols[z] for z in numbers if not np.isfinite(table[z])]
        raise ValueError(f"reference energy of {', '.join(bad)} is not finite ({source})")
    return ReferenceEnergies(numbers, energies, source, len(numbers))


def fitted_energies(numbers: tuple[int, ...], fit: CompositionFit) -> ReferenceEnergies:
    """Return a fit to energies as reference energies of the elements it was made for."""
    source = f"{_FITTED} on {fit.count} energies" if fit.count else f"{_FITTED} without any energy"
    return ReferenceEnergies(numbers, fit.energies, source, fit.rank, fit.undetermined)
