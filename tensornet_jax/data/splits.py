"""Seeded splits into training and validation, saved with a fingerprint of the data."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

# How much of a data set: a count, a fraction of the whole, or the indices themselves.
Part = int | float | Sequence[int] | np.ndarray


def fingerprint(atoms_list: Sequence[Atoms]) -> str:
    """Return the SHA-256 of the atomic numbers and positions of all structures, in order."""
    digest = hashlib.sha256()
    for atoms in atoms_list:
        digest.update(len(atoms).to_bytes(8, "little"))
        digest.update(atoms.numbers.astype("<i8").tobytes())
        digest.update(np.ascontiguousarray(atoms.positions, dtype="<f8").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Split:
    """Disjoint indices into one list of structures.

    Attributes:
        num: length of the list.
        train: ascending indices.
        validation: ascending indices.
        seed: the seed they were drawn with.
    """

    num: int
    train: tuple[int, ...]
    validation: tuple[int, ...]
    seed: int

    def __post_init__(self) -> None:
        for name in ("train", "validation"):
            indices = getattr(self, name)
            if len(set(indices)) != len(indices):
                raise ValueError(f"{name} indices contain repetitions")
            outside = [i for i in indices if not 0 <= i < self.num]
            if outside:
                raise ValueError(f"{name} index {outside[0]} is outside 0 … {self.num - 1}")
        both = sorted(set(self.train) & set(self.validation))
        if both:
            raise ValueError(f"structures {both[:5]} are in both training and validation")

    def save(self, path: str | Path, atoms_list: Sequence[Atoms]) -> None:
        """Write the split as JSON, replacing the file in one step.

        Args:
            path: file to write.
            atoms_list: the structures that the indices count.

        Raises:
            ValueError: the list has another length than the split.
        """
        self._check_length(atoms_list, path)
        content = {
            "num": self.num,
            "seed": self.seed,
            "fingerprint": fingerprint(atoms_list),
            "train": self.train,
            "validation": self.validation,
        }
        temporary = Path(path).with_name(Path(path).name + ".partial")
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def load(cls, path: str | Path, atoms_list: Sequence[Atoms]) -> "Split":
        """Read a split and check that it was made for these structures.

        Raises:
            ValueError: the file is not a split, or the structures are not the same in number,
                order, elements and positions.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            split = cls(
                num=int(content["num"]),
                train=tuple(int(i) for i in content["train"]),
                validation=tuple(int(i) for i in content["validation"]),
                seed=int(content["seed"]),
            )
            saved = str(content["fingerprint"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not a saved split: {error!r}") from error
        split._check_length(atoms_list, path)
        if saved != fingerprint(atoms_list):
            raise ValueError(
                f"{path}: the data have changed since this split was made: restore them, or start "
                "a new run directory"
            )
        return split

    def _check_length(self, atoms_list: Sequence[Atoms], path: str | Path) -> None:
        if len(atoms_list) != self.num:
            raise ValueError(f"{path}: a split of {self.num} structures, not {len(atoms_list)}")


def make_split(num: int, train: Part | None, validation: Part, seed: int) -> Split:
    """Draw disjoint training and validation indices.

    Args:
        num: how many structures there are.
        train: a count, a fraction of num, indices, or None for all that validation leaves.
        validation: a count, a fraction of num, or indices.
        seed: same seed, same split.

    Raises:
        ValueError: a part is empty (validation may be 0), outside the data, overlapping, or the
            two do not fit.
    """
    fixed = {
        name: tuple(sorted(int(i) for i in part))
        for name, part in (("train", train), ("validation", validation))
        if isinstance(part, Sequence | np.ndarray)
    }
    taken = {i for indices in fixed.values() for i in indices}
    free = [int(i) for i in np.random.default_rng(seed).permutation(num) if int(i) not in taken]
    # Validation is drawn first, so that it stays the same when only the training size changes.
    if "validation" in fixed:
        validation_indices = fixed["validation"]
    else:
        size = _size(validation, num, "validation")  # type: ignore[arg-type]
        if size > len(free):
            raise ValueError(f"validation wants {size} of {len(free)} structures")
        validation_indices, free = tuple(sorted(free[:size])), free[size:]
    if "train" in fixed:
        train_indices = fixed["train"]
    elif train is None:
        train_indices = tuple(sorted(free))
    else:
        size = _size(train, num, "train")  # type: ignore[arg-type]
        if size > len(free):
            raise ValueError(
                f"train wants {size} structures, but of {num} only {len(free)} are left after "
                f"{len(validation_indices)} for validation: ask for fewer"
            )
        train_indices = tuple(sorted(free[:size]))
    if not train_indices:
        raise ValueError(f"no training structures are left of {num}: ask for less validation")
    return Split(num=num, train=train_indices, validation=validation_indices, seed=seed)


def _size(part: int | float, num: int, name: str) -> int:
    if isinstance(part, bool) or part < 0 or not np.isfinite(part):
        raise ValueError(f"{name} is {part!r}: give a count, a fraction below 1, or indices")
    if isinstance(part, int):
        return part
    if part >= 1:
        raise ValueError(f"{name} is {part!r}: a fraction must be below 1; a count has no point")
    if part == 0:
        return 0
    return max(1, round(part * num))
