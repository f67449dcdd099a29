"""The data sets, their splits, and the one function that all errors come from.

Needs ASE and NumPy alone: what a peer's interpreter runs imports it too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase
import ase.io
import numpy as np

SEED_OF_SPLITS = 0
MILLI = 1e3


@dataclass(frozen=True)
class DataSet:
    """Files of a data set, and how they are split.

    Attributes:
        folders: names its folder may have below the data's.
        train: file whose structures are split.
        validation: structures of it that choose weights.
        held_out: structures of it that are a test, named `held_out`; 0 for none.
        tests: name → file of other tests.
    """

    folders: tuple[str, ...]
    train: str
    validation: int
    held_out: int
    tests: Mapping[str, str]


# Left out: dimers of the ethanol folder. Molecules of one composition do not fix energies of atoms.
SETS = {
    "acac": DataSet(
        ("acac",),
        "train_300K.xyz",
        25,
        0,
        {
            "300K": "test_MD_300K.xyz",
            "600K": "test_MD_600K.xyz",
            "H_transfer": "test_H_transfer.xyz",
            "dihedral": "test_dihedral.xyz",
        },
    ),
    "3bpa": DataSet(("3bpa",), "train_300K.xyz", 25, 50, {}),
    "ethanol": DataSet(
        ("rmd17_ethanol", "rmd17_ethanol_pbe"),
        "train.xyz",
        50,
        0,
        {
            "MD": "test_MD.xyz",
            "H_removal": "test_H_removal.xyz",
            "normal_mode_874": "test_norm_mode_874.xyz",
            "normal_mode_3005": "test_norm_mode_3005.xyz",
        },
    ),
}


@dataclass(frozen=True)
class Labels:
    """Energies and forces of structures, labels or predictions.

    Attributes:
        energies: (structures,), eV.
        forces: (atoms of all structures, 3), eV/Å; NaN where there are none.
    """

    energies: np.ndarray
    forces: np.ndarray


@dataclass(frozen=True)
class Split:
    """Structures of a data set with their labels, the same for everybody."""

    train: list[ase.Atoms]
    validation: list[ase.Atoms]
    tests: dict[str, list[ase.Atoms]]

    def evaluated(self) -> dict[str, list[ase.Atoms]]:
        """Return what errors are reported of: validation, and all tests."""
        return {"validation": self.validation, **self.tests}


def read_split(data: Path, name: str, frames: int | None = None) -> Split:
    """Read a data set and split it, with a fixed seed.

    Tests whose file is not there are left out, as what is published in pieces may lack some.

    Args:
        data: folder of folders of data sets.
        name: one of `SETS`.
        frames: take only so many structures of every part, to try things out; None for all.

    Raises:
        FileNotFoundError: there is no file to train on.
    """
    chosen = SETS[name]
    folders = [data / each for each in chosen.folders if (data / each / chosen.train).is_file()]
    if not folders:
        raise FileNotFoundError(
            f"{data}: {' or '.join(chosen.folders)} with {chosen.train} is needed: tensornet-jax "
            "fetch gets it"
        )
    structures = list(ase.io.iread(folders[0] / chosen.train, ":"))
    order = [int(k) for k in np.random.default_rng(SEED_OF_SPLITS).permutation(len(structures))]
    tests, rest = order[: chosen.held_out], order[chosen.held_out :]
    validation, train = rest[: chosen.validation], rest[chosen.validation :]
    found = {
        test: list(ase.io.iread(folders[0] / file, ":"))[:frames]
        for test, file in chosen.tests.items()
        if (folders[0] / file).is_file()
    }
    if tests:
        found["held_out"] = [structures[k] for k in sorted(tests)[:frames]]
    return Split(
        [structures[k] for k in sorted(train)[:frames]],
        [structures[k] for k in sorted(validation)[:frames]],
        found,
    )


def labels_of(structures: Sequence[ase.Atoms]) -> Labels:
    """Return the labels that files gave structures, NaN where they have no forces."""
    energies, forces = [], []
    for atoms in structures:
        results = {} if atoms.calc is None else atoms.calc.results
        energies.append(results.get("energy", np.nan))
        forces.append(results.get("forces", np.full((len(atoms), 3), np.nan)))
    return Labels(np.array(energies, np.float64), np.concatenate(forces).astype(np.float64))


def reference_energies(structures: Sequence[ase.Atoms]) -> dict[int, float]:
    """Return energies of elements, eV, that least squares fits to those of structures.

    Peers are trained on energies counted from them, so that a number in float32 need not hold
    thousands of eV; what they predict is counted back in float64.
    """
    numbers = sorted({int(z) for atoms in structures for z in atoms.numbers})
    counts = np.array([[np.sum(atoms.numbers == z) for z in numbers] for atoms in structures])
    found = np.linalg.lstsq(counts.astype(float), labels_of(structures).energies, rcond=None)[0]
    return {z: float(energy) for z, energy in zip(numbers, found, strict=True)}


def counted_from(references: Mapping[int, float], structures: Sequence[ase.Atoms]) -> np.ndarray:
    """Return the sums of reference energies of structures, (structures,) in eV.

    Raises:
        KeyError: an element was not trained on.
    """
    return np.array([sum(references[int(z)] for z in atoms.numbers) for atoms in structures])


def errors(labels: Labels, predicted: Labels) -> dict[str, float]:
    """Return what predictions are wrong by: energies of whole structures in meV, forces in meV/Å.

    Differences are of float64. Missing labels are left out, and so is a property without any.

    Raises:
        ValueError: predictions are not of these structures, or not numbers.
    """
    found: dict[str, float] = {}
    for name in ("energies", "forces"):
        true = np.asarray(getattr(labels, name), np.float64)
        value = np.asarray(getattr(predicted, name), np.float64)
        if true.shape != value.shape:
            raise ValueError(f"{name}: {value.shape} predicted for labels of shape {true.shape}")
        known = np.isfinite(true)
        if not known.any():
            continue
        difference = MILLI * (value - true)[known]
        if not np.isfinite(difference).all():
            raise ValueError(f"{name}: what was predicted is not finite: training went astray")
        found[f"{name}_mae"] = float(np.mean(np.abs(difference)))
        found[f"{name}_rmse"] = float(np.sqrt(np.mean(difference**2)))
    return found


def save_labels(path: Path, predicted: Mapping[str, Labels]) -> None:
    """Write predictions of several sets into an npz file."""
    arrays = {}
    for name, each in predicted.items():
        arrays |= {f"{name}/energies": each.energies, f"{name}/forces": each.forces}
    np.savez(path, **arrays)


def load_labels(path: Path) -> dict[str, Labels]:
    """Read what `save_labels` wrote."""
    with np.load(path) as file:
        names = dict.fromkeys(key.rpartition("/")[0] for key in file.files)
        return {name: Labels(file[f"{name}/energies"], file[f"{name}/forces"]) for name in names}
