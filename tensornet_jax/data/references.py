"""Isolated-atom reference energies E0: given, from isolated-atom frames, or by least squares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.geometry import minkowski_reduce

from tensornet_jax.data.labels.labels import LabelConfig, labels_of, source_of
from tensornet_jax.data.labels.weights import weight_of
from tensornet_jax.data.readers import read_structures

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
        numbers: (S,) atomic numbers, ascending.
        energies: (S,) float64, eV.
        source: where they come from, in words.
        rank: how many independent combinations the data or the input determine, at most S.
        undetermined: symbols whose own energy the data do not fix; only combinations of them are.
    """

    numbers: tuple[int, ...]
    energies: np.ndarray
    source: str
    rank: int
    undetermined: tuple[str, ...] = ()

    @property
    def fitted(self) -> bool:
        """Whether they were fitted to energies, about which those then lie."""
        return self.source.startswith(_FITTED)

    def of(self, numbers: np.ndarray) -> float:
        """Return the sum of reference energies in eV.

        Args:
            numbers: (N,) atomic numbers.

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


def elements_of(atoms_list: Sequence[Atoms]) -> tuple[int, ...]:
    """Return the atomic numbers that occur, ascending."""
    return tuple(sorted({int(z) for atoms in atoms_list for z in np.unique(atoms.numbers)}))


def isolated_atom_indices(atoms_list: Sequence[Atoms]) -> list[int]:
    """Return the indices of frames that are one atom and not a crystal.

    A periodic frame of one atom is a crystal, unless its images are at least ISOLATION away, as in
    the boxes of codes without open boundaries, or its config_type says otherwise.
    """
    return [index for index, atoms in enumerate(atoms_list) if _is_isolated(atoms, ISOLATION)]


def reference_energies(
    spec: ReferenceSpec, atoms_list: Sequence[Atoms], labels: LabelConfig | None = None
) -> ReferenceEnergies:
    """Return reference energies for the elements in atoms_list.

    Args:
        spec: "least_squares": minimum-norm fit of the energies to the composition, float64;
            "isolated_atoms": from one-atom frames in atoms_list; {"isolated_atoms": path}: from a
            file of them; {"H": -13.6, …}: given, eV; "none": zero.
        atoms_list: structures with canonical labels.
        labels: label names and units of the isolated-atom file.

    Raises:
        ValueError: an element has no energy, or two isolated-atom frames contradict each other.
    """
    numbers = elements_of(atoms_list)
    if spec == "none":
        return ReferenceEnergies(numbers, np.zeros(len(numbers)), "none", 0)
    if spec == "least_squares":
        return _least_squares(numbers, atoms_list)
    energies, source = stated_energies(spec, atoms_list, labels)
    missing = [number for number in numbers if number not in energies]
    if missing and (spec == "isolated_atoms" or "isolated_atoms" in spec):
        candidates, least = _candidates(spec, atoms_list, labels)
        source += _why_not(candidates, missing, least)
    return _from_table(numbers, energies, source)


def stated_energies(
    spec: ReferenceSpec, atoms_list: Sequence[Atoms], labels: LabelConfig | None = None
) -> tuple[dict[int, float], str]:
    """Return energies of isolated atoms by atomic number, eV, and where they come from.

    Args:
        spec: as for `reference_energies`, but neither "none" nor "least_squares".
        atoms_list: structures among which isolated atoms may be.
        labels: label names and units of the isolated-atom file.

    Raises:
        ValueError: there is no such kind, or two isolated-atom frames contradict each other.
    """
    if spec == "isolated_atoms":
        return _isolated(atoms_list, ISOLATION), "isolated-atom frames of the data"
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
        candidates, least = _candidates(spec, atoms_list, labels)
        return _isolated(candidates, least), f"isolated atoms of {path}"
    unknown = sorted(set(spec) - set(chemical_symbols[1:]))
    if unknown:
        raise ValueError(f"reference_energies: {', '.join(unknown)} is not a chemical symbol")
    return {atomic_numbers[symbol]: float(energy) for symbol, energy in spec.items()}, "given"


def _candidates(
    spec: ReferenceSpec, atoms_list: Sequence[Atoms], labels: LabelConfig | None
) -> tuple[Sequence[Atoms], float]:
    """Return the frames among which isolated atoms are, and how far their images must be, Å."""
    if isinstance(spec, str):
        return atoms_list, ISOLATION
    path = str(spec["isolated_atoms"])
    return read_structures(path, labels, require_configured=False), _ISOLATION_WHERE_NAMED


def _is_isolated(atoms: Atoms, least: float) -> bool:
    named = str(atoms.info.get("config_type", "")).lower().replace("_", "").replace(" ", "")
    if len(atoms) != 1:
        return False
    return named in ("isolatedatom", "isolatedatoms") or image_distance(atoms) >= least


def image_distance(atoms: Atoms) -> float:
    """Return how far an atom is from its nearest periodic image, Å; infinity without any."""
    if not atoms.pbc.any():
        return float("inf")
    cell: Any = minkowski_reduce(atoms.cell.complete().array, cast(Any, atoms.pbc))[0]
    return float(np.linalg.norm(np.asarray(cell)[atoms.pbc], axis=1).min())


def _isolated(atoms_list: Sequence[Atoms], least: float) -> dict[int, float]:
    energies: dict[int, float] = {}
    for index, atoms in enumerate(atoms_list):
        if not _is_isolated(atoms, least):
            continue
        energy, number = labels_of(atoms).energy, int(atoms.numbers[0])
        if np.isnan(energy) or atoms.info.get("charge", 0.0) != 0.0:
            continue
        if abs(energies.setdefault(number, energy) - energy) > 1e-6:
            raise ValueError(
                f"{source_of(atoms, index)}: a second isolated {chemical_symbols[number]} has "
                f"{energy} eV, another {energies[number]} eV: keep one"
            )
    return energies


def _why_not(atoms_list: Sequence[Atoms], missing: Sequence[int], least: float) -> str:
    """Return why frames of one atom of these elements give no reference energy, for a message."""
    reasons: dict[int, str] = {}
    for index, atoms in enumerate(atoms_list):
        if len(atoms) != 1 or int(atoms.numbers[0]) not in missing:
            continue
        charge = atoms.info.get("charge", 0.0)
        if not _is_isolated(atoms, least):
            reason = (
                f"is periodic, its images {image_distance(atoms):.3g} Å away, and counts as a "
                f"crystal: below {least:g} Å an isolated atom needs config_type=IsolatedAtom or "
                'pbc="F F F"'
            )
        elif weight_of(atoms, "energy") == 0.0:
            reason = "has an energy of weight 0"
        elif np.isnan(labels_of(atoms).energy):
            reason = "has no energy"
        else:
            reason = f"has the charge {charge:+g}"
        reasons.setdefault(int(atoms.numbers[0]), f"{source_of(atoms, index)} {reason}")
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


def _least_squares(numbers: tuple[int, ...], atoms_list: Sequence[Atoms]) -> ReferenceEnergies:
    energies = np.array([labels_of(atoms).energy for atoms in atoms_list])
    fit = fit_to_composition(numbers, atoms_list, energies)
    source = f"{_FITTED} on {fit.count} energies" if fit.count else f"{_FITTED} without any energy"
    return ReferenceEnergies(numbers, fit.energies, source, fit.rank, fit.undetermined)


@dataclass(frozen=True)
class CompositionFit:
    """Energies as a sum over atoms of one energy an element.

    Attributes:
        energies: (S,) float64, eV; the solution of least norm, 0 without any energy.
        rank: how many independent combinations of them the data determine.
        undetermined: symbols whose own energy the data do not fix.
        count: energies fitted to.
    """

    energies: np.ndarray
    rank: int
    undetermined: tuple[str, ...]
    count: int


def fit_to_composition(
    numbers: tuple[int, ...], atoms_list: Sequence[Atoms], energies: np.ndarray
) -> CompositionFit:
    """Fit an energy for each element, by least squares in float64.

    Args:
        numbers: the elements; atoms of others count nothing.
        atoms_list: structures.
        energies: (n,) eV of each structure; NaN is left out.
    """
    labelled = np.flatnonzero(~np.isnan(energies))
    symbols = tuple(chemical_symbols[z] for z in numbers)
    if not len(labelled) or not numbers:
        return CompositionFit(np.zeros(len(numbers)), 0, symbols, len(labelled))
    composition = np.array(
        [
            np.bincount(atoms_list[i].numbers, minlength=119)[list(numbers)]
            for i in labelled.tolist()
        ],
        dtype=np.float64,
    )
    solution, _, rank, _ = np.linalg.lstsq(composition, energies[labelled], rcond=None)
    # An element is determined if its unit vector lies in the row space of the compositions.
    row_space = np.linalg.svd(composition, full_matrices=False)[2][:rank]
    fixed = np.linalg.norm(row_space, axis=0)
    undetermined = tuple(s for s, norm in zip(symbols, fixed, strict=True) if norm < 1 - 1e-6)
    return CompositionFit(solution, int(rank), undetermined, len(labelled))
