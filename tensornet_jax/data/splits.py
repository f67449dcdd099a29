"""Seeded splits into training and validation, saved with a fingerprint of the data."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.runtime.whole_files import write_whole

# How much of a data set: a count, a fraction of the whole, or the indices themselves.
Part = int | float | Sequence[int] | np.ndarray
_OF_HEAD = " of head "


def fingerprint(structures: Sequence[LabelledStructure]) -> str:
    """Return the SHA-256 of the atomic numbers and positions of all structures, in order."""
    digest = hashlib.sha256()
    for each in structures:
        atoms = each.atoms
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

    def save(self, path: str | Path, structures: Sequence[LabelledStructure]) -> None:
        """Write the split as JSON, replacing the file in one step.

        Args:
            path: file to write.
            structures: those that the indices count.

        Raises:
            ValueError: the list has another length than the split.
        """
        self._check_length(structures, path)
        content = {
            "num": self.num,
            "seed": self.seed,
            "fingerprint": fingerprint(structures),
            "train": self.train,
            "validation": self.validation,
        }
        write_whole(Path(path), json.dumps(content) + "\n")

    @classmethod
    def load(cls, path: str | Path, structures: Sequence[LabelledStructure]) -> "Split":
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
        split._check_length(structures, path)
        if saved != fingerprint(structures):
            raise ValueError(
                f"{path}: the data have changed since this split was made: restore them, or start "
                "a new run directory"
            )
        return split

    def _check_length(self, structures: Sequence[LabelledStructure], path: str | Path) -> None:
        if len(structures) != self.num:
            raise ValueError(f"{path}: a split of {self.num} structures, not {len(structures)}")


def traits_of(structure: LabelledStructure) -> frozenset[str]:
    """Return what a structure can teach and another may not: elements, state, labels.

    Elements are their symbols; of a structure with a head they are those of the head, such as "C of
    head pbe". The others have two words, such as "charge 1" or "label stress".
    """
    charge, spin = round(structure.state.charge + 0.0, 3), structure.state.spin
    state = {f"charge {charge:g}"} | ({f"spin {spin}"} if spin is not None else set())
    labels = {f"label {name}" for name in structure.labels}
    of_head = "" if structure.head is None else f"{_OF_HEAD}{structure.head}"
    elements = {chemical_symbols[z] + of_head for z in set(structure.numbers.tolist())}
    return frozenset(elements | state | labels)


def make_split(
    num: int,
    train: Part | None,
    validation: Part,
    seed: int,
    traits: Sequence[Collection[str]] | None = None,
) -> Split:
    """Draw disjoint training and validation indices.

    Args:
        num: how many structures there are.
        train: a count, a fraction of num, indices, or None for all that validation leaves.
        validation: a count, a fraction of num, or indices.
        seed: same seed, same split.
        traits: what each structure has (`traits_of`). Of a structure outside the validation set
            there is one for each trait: first of all of them, and where that leaves too few to
            draw, of the elements alone. What is drawn does not change where nothing is at stake.

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
        drawn = free[:size] if traits is None else _drawn(free, size, traits)
        validation_indices = tuple(sorted(drawn))
        free = [i for i in free if i not in set(drawn)]
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


def _drawn(order: Sequence[int], size: int, traits: Sequence[Collection[str]]) -> list[int]:
    """Return the first `size` of `order` that leave another carrier of each trait behind."""
    elements = [{t for t in each if " " not in t or _OF_HEAD in t} for each in traits]
    for kept in (traits, elements):
        counts = Counter(trait for each in kept for trait in each)
        # The order decides as long as it can; a few structures that have everything stay behind
        # where that is what makes the others free.
        for candidates in (order, [i for i in order if i not in _cover(kept, counts)]):
            drawn, left = [], dict(counts)
            for index in candidates:
                if len(drawn) == size:
                    break
                if all(left[trait] > 1 for trait in kept[index]):
                    drawn.append(index)
                    for trait in kept[index]:
                        left[trait] -= 1
            if len(drawn) == size:
                return drawn
    needed = len(_cover(elements, Counter(trait for each in elements for trait in each)))
    raise ValueError(
        f"{size} of {len(order)} structures cannot be held out: {needed} have to stay in "
        "training, so that it has every element: ask for fewer"
    )


def _cover(traits: Sequence[Collection[str]], counts: Mapping[str, int]) -> set[int]:
    """Return few structures that have every trait, the rarest looked after first."""
    carriers: dict[str, list[int]] = {trait: [] for trait in counts}
    for index, each in enumerate(traits):
        for trait in each:
            carriers[trait].append(index)
    missing, chosen = set(counts), set()
    for trait in sorted(counts, key=lambda t: (counts[t], t)):
        if trait in missing:
            best = max(carriers[trait], key=lambda i: len(missing.intersection(traits[i])))
            chosen.add(best)
            missing.difference_update(traits[best])
    return chosen


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
