"""One pass over data that are not held in memory, of which everything is remembered.

Audit, reference energies, sizes and scales come out of it. Its memory does not grow with the number
of structures but for a few bytes each. What is found is kept in a folder by the content's checksum,
so that a run that goes on, or another one of the same data, begins at once.
"""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Bool, Int32, Int64

from tensornet_jax.data.auditing.tally import Moments, Tally
from tensornet_jax.data.composition_fit import CompositionSums
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.references import is_isolated_atom
from tensornet_jax.data.sources.source import Source
from tensornet_jax.data.splits import traits_of
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.potential.preparation import prepare_structure
from tensornet_jax.potential.trained_on import TrainedOn
from tensornet_jax.runtime.sealed_file import Json
from tensornet_jax.runtime.whole_files import replacing, write_whole
from tensornet_jax.train.data.examples import Sizes, size_of
from tensornet_jax.train.data.parts import DataError

VERSION = 1
Watched = Callable[[Iterable[LabelledStructure], str, int], Iterator[LabelledStructure]]
"""Passes structures on and shows how many of how many there were, under a name for the work."""

# Sizes do not depend on which elements a model knows.
_EVERY_ELEMENT = tuple(range(1, len(chemical_symbols)))
_BLOCK = 1024
_MOST_ISOLATED = 1000


@dataclass
class TrainingTally:
    """What is learned of the structures that are trained on."""

    composition: CompositionSums = field(default_factory=CompositionSums)
    labelled: dict[str, None] = field(default_factory=dict)
    carriers: dict[int, int] = field(default_factory=dict)
    record: TrainedOn | None = None
    _waiting: list[LabelledStructure] = field(default_factory=list)

    def add(self, index: int, structure: LabelledStructure) -> None:
        """Count one structure."""
        self.composition.add(structure)
        self.labelled |= dict.fromkeys(structure.labels)
        for number in structure.numbers.tolist():
            self.carriers.setdefault(number, index)
        self._waiting.append(structure)
        if len(self._waiting) == _BLOCK:
            self.finish()

    def finish(self) -> TrainedOn:
        """Return what a potential that is trained on all of them has seen."""
        found = TrainedOn.of(structure.atoms for structure in self._waiting)
        self.record, self._waiting = found.merged(self.record), []
        return self.record


@dataclass
class Level:
    """What a pass finds of one level of theory, which is all there is without several heads.

    Attributes:
        tally: of all structures but isolated atoms, held out or not.
        training: of those that are trained on.
        energies: of all that the tally has, eV, NaN where there is none.
        isolated: isolated atoms, which only give reference energies.
    """

    tally: Tally = field(default_factory=Tally)
    training: TrainingTally = field(default_factory=TrainingTally)
    energies: "array[float]" = field(default_factory=lambda: array("d"))
    isolated: list[LabelledStructure] = field(default_factory=list)


class Survey:
    """A pass over the structures of a source.

    Args:
        source: the structures.
        model: says which neighbors there are to count.
        held_out: ascending indices of parts that are not trained on, by name.
        table: gets the sizes, a row for each structure.
        heads: of the structures, if the model has several.

    Attributes:
        levels: what was found, by head; all under "" without several.
        held_out: the same without isolated atoms, and without the only carriers of a trait.
        isolated_at: indices of isolated atoms.
        kept: what stays in training though it was drawn, and what no other structure has.
    """

    def __init__(
        self,
        source: Source,
        model: ModelConfig,
        held_out: Mapping[str, Int64[np.ndarray, " held"]],
        table: Int32[np.ndarray, "structures 9"],
        heads: Sequence[str] = (),
    ):
        self.source, self._model, self._table = source, model, table
        self.held_out = dict(held_out)
        self.levels = {head: Level() for head in heads or ("",)}
        self.isolated_at: list[int] = []
        self.labelled_held: dict[str, None] = {}
        self.kept: tuple[list[int], list[str]] = [], []
        self._kinds: dict[frozenset[str], int] = {}

    def run(self, watched: Watched) -> None:
        """Go through all structures."""
        held = np.zeros(len(self.source), bool)
        for indices in self.held_out.values():
            held[indices] = True
        kinds = np.full(len(self.source), -1, np.int32)
        structures = watched(self.source, "looking at all structures", len(self.source))
        for index, structure in enumerate(structures):
            self._table[index] = sizes_in(structure, self._model)
            level = self._level_of(structure)
            if is_isolated_atom(structure):
                self.isolated_at.append(index)
                if len(level.isolated) < _MOST_ISOLATED:
                    level.isolated.append(structure)
                continue
            kinds[index] = self._kinds.setdefault(traits_of(structure), len(self._kinds))
            level.tally.add(structure)
            level.energies.append(structure.energy)
            if held[index]:
                self.labelled_held |= dict.fromkeys(structure.labels)
            else:
                level.training.add(index, structure)
        for head, level in self.levels.items():
            if not len(level.tally):
                whose = f" of head {head}" if head else ""
                raise DataError(
                    f"all structures{whose} are isolated atoms: set data.stream: false to use them"
                )
        self._keep_in_training(held, kinds)

    @property
    def labelled(self) -> tuple[str, ...]:
        """Names of labels that some structure that is trained on has."""
        each = (level.training.labelled for level in self.levels.values())
        return tuple(dict.fromkeys(name for own in each for name in own))

    @property
    def force_rms(self) -> float:
        """RMS force of all levels of theory together, eV/Å; NaN without any."""
        return Moments.rms_of([level.tally.forces for level in self.levels.values()])

    def trained_on(self) -> TrainedOn:
        """Return what a potential that is trained on all of them has seen."""
        first, *others = (level.training.finish() for level in self.levels.values())
        for other in others:
            first = first.merged(other)
        return first

    def _level_of(self, structure: LabelledStructure) -> Level:
        return self.levels["" if "" in self.levels else str(structure.head)]

    def _keep_in_training(self, held: Bool[np.ndarray, " all"], kinds: np.ndarray) -> None:
        """Take back into training what was drawn and is the only one of its kind."""
        usual = kinds >= 0
        count = len(self._kinds)
        left = np.bincount(kinds[usual & ~held], minlength=count)
        known = {trait for kind, n in zip(self._kinds, left, strict=True) if n for trait in kind}
        only = {trait for kind in self._kinds for trait in kind} - known
        needed = [place for kind, place in self._kinds.items() if kind & only]
        kept = np.flatnonzero(held & np.isin(kinds, needed))
        for index in kept.tolist():
            structure = self.source[index]
            self._level_of(structure).training.add(index, structure)
        gone = np.concatenate([kept, np.array(self.isolated_at, np.int64)])
        self.held_out = {name: np.setdiff1d(own, gone) for name, own in self.held_out.items()}
        self.kept = kept.tolist(), sorted(only)


def sizes_in(structure: LabelledStructure, model: ModelConfig) -> tuple[int, ...]:
    """Return the row of a structure in `Sizes.table`, for a model."""
    where = f" ({structure.source})"
    return size_of(prepare_structure(model, _EVERY_ELEMENT, structure.atoms, where))


class SurveyCache:
    """What passes found, by what it follows from.

    Args:
        folder: where it is kept.
        depends_on: plain values; of other values nothing is known.
    """

    def __init__(self, folder: Path, depends_on: Mapping[str, object]):
        text = json.dumps({"version": VERSION, **depends_on}, sort_keys=True, default=str)
        self.folder = folder / f"survey-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self._path = self.folder / "survey.json"

    def load(self) -> Json | None:
        """Return what was saved, None if nothing was or it is not whole."""
        try:
            found = json.loads(self._path.read_text("utf-8"))
            whole = all(len(self.sizes(name)) == n for name, n in found["sizes"].items())
        except (FileNotFoundError, ValueError, KeyError):
            return None
        return found if whole else None

    def save(self, found: Mapping[str, object], tables: Mapping[str, int]) -> None:
        """Write what was found, after the tables.

        Args:
            found: plain values.
            tables: rows of the tables that were written, by name.
        """
        write_whole(self._path, json.dumps({**found, "sizes": dict(tables)}) + "\n")

    def sizes(self, name: str) -> Sizes:
        """Return a table of sizes, which stays on the disk."""
        return Sizes(np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))

    def write_sizes(self, name: str, rows: Iterable[Int32[np.ndarray, "some 9"]], num: int) -> None:
        """Write a table of sizes.

        Args:
            name: of the table.
            rows: pieces of it.
            num: rows in all of them.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / f"{name}.npy") as partial, partial.open("wb") as file:
            header = {"descr": "<i4", "fortran_order": False, "shape": (num, 9)}
            np.lib.format.write_array_header_2_0(file, header)
            for piece in rows:
                file.write(np.ascontiguousarray(piece, "<i4").tobytes())
