"""From files that are not held in memory to the sets of a run, through one pass over them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tensornet_jax.data.references import ReferenceEnergies, fitted_energies, reference_energies
from tensornet_jax.data.references_by_head import HeadReferences, References, about_head
from tensornet_jax.data.sources.packed_file import PackedFile
from tensornet_jax.data.sources.source import Chosen, Ranges, Rest, Source, evenly
from tensornet_jax.train.config.data import DataConfig
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.data.datasets import DataSets
from tensornet_jax.train.data.examples import Sizes
from tensornet_jax.train.data.facts import Facts, energy_scale
from tensornet_jax.train.data.found import Found
from tensornet_jax.train.data.other_set import OtherSet
from tensornet_jax.train.data.parts import Parts, ReplayParts
from tensornet_jax.train.data.streamed_sets import StreamedSets, draw, save_split
from tensornet_jax.train.data.survey import Level, Survey, SurveyCache
from tensornet_jax.train.data.survey_audit import audited, close_to_each_other
from tensornet_jax.train.data.watcher import Show, Watcher

# Structures that stand for all where a number is only estimated.
SAMPLE = 10_000
_BLOCK = 1 << 16
_OF_HEADS: Any = {"levels": True, "priors": {"__all__": {"head_scales"}}}


class Surveyor:
    """Looks at the data of a run, or remembers what was found.

    Args:
        config: the resolved configuration.
        folder: where what is found is kept, unless the configuration says.
        message: takes sentences for the user.
        show: is told how far passes are.

    Attributes:
        sets: the files, opened.
    """

    def __init__(
        self, config: ResolvedRun, folder: Path, message: Callable[[str], None], show: Show
    ):
        section = config.data
        self._config, self._message, self._watched = config, message, Watcher(show)
        self._folder = folder if section.cache is None else Path(section.cache).expanduser()
        self.sets = StreamedSets.open(section, self._folder, message, self._watched)
        self._source = self.sets.train.source
        # A name means nothing where a model has one head.
        self._heads = section.heads() if config.model.num_levels > 1 else ()
        start = config.start
        settings = {
            "content": self.sets.checksum,
            "seed": config.seed,
            "held_out": section.held_out(),
            "reference_energies": _own_energies(section, next(iter(section.heads()), None)),
            "model": config.model.model_dump(mode="json", exclude=_OF_HEADS),
            # What a run starts from gives reference energies of its own.
            "run": None if start is None else str(folder.resolve()),
        }
        if self._heads:
            settings["heads"] = {head: _own_energies(section, head) for head in self._heads}
        self._cache = SurveyCache(self._folder, settings)

    def remembered(self) -> Found | None:
        """Return what an earlier pass found, None if there was none."""
        found = self._cache.load()
        return None if found is None else Found.of(found)

    def look(self) -> Survey:
        """Go through all structures that `data.train` names."""
        num = len(self._source)
        drawn = draw(num, self._config.data.held_out(), self._config.seed)
        self._cache.folder.mkdir(parents=True, exist_ok=True)
        for packed in self._source.tables():
            if isinstance(packed, PackedFile):
                for _ in packed.verify():
                    pass
        table = np.lib.format.open_memmap(
            self._cache.folder / "all.npy", "w+", np.dtype("<i4"), (num, 9)
        )
        survey = Survey(self._source, self._config.model, drawn, table, self._heads)
        survey.run(self._watched)
        for text in _notes(survey):
            self._message(text)
        return survey

    def parts(self, survey: Survey, replay: ReplayParts | None) -> Parts:
        """Return some structures of each set, which have all elements."""
        train = [self._source[k] for k in self._typical(survey)]
        held = {name: Chosen(self._source, own) for name, own in survey.held_out.items()}
        close = {name: close_to_each_other(s) for name, s in {**held, **self.sets.files()}.items()}
        labels = self._config.data.labels
        return Parts(
            train,
            [(labels, train)],
            train,
            close.pop("validation", []),
            close,
            [each for level in survey.levels.values() for each in level.isolated],
            replay,
        )

    def conclude(self, survey: Survey, references: References | None) -> Found:
        """Return what was found, and remember it.

        Args:
            survey: the pass over the training structures.
            references: of a run that starts from a model; None finds them in the data.

        Raises:
            DataError: the data have errors.
        """
        references = references or self._references(survey)
        others = {name: self._other(name, source) for name, source in self.sets.files().items()}
        lines = audited(self.sets, survey, others, references, self._message)
        validated = survey.labelled_held
        if "validation" in others:
            validated = others["validation"].labelled
        result = Found(
            [*_file_lines(self._source.tables()), *lines],
            references,
            survey.held_out,
            {"train": np.array(survey.isolated_at, np.int64)}
            | {name: np.array(other.isolated, np.int64) for name, other in others.items()},
            self._facts(survey, references, tuple(validated)),
        )
        self._save(result, survey, others)
        return result

    def data_sets(self, found: Found, replay: ReplayParts | None) -> DataSets:
        """Return the sets of the run."""
        held = {name: Chosen(self._source, own) for name, own in found.held_out.items()}
        files = {
            name: Chosen(source, Rest(len(source), found.isolated[name]))
            for name, source in self.sets.files().items()
        }
        sets: dict[str, Source] = {**held, **files}
        train = Chosen(self._source, Rest(len(self._source), _without(found)))
        validation = sets.pop("validation", [])
        return DataSets(train, validation, sets, found.references, found.lines, replay)

    def sizes(self, name: str) -> Sizes:
        """Return the sizes of the structures of train or validation."""
        return self._cache.sizes(name)

    def save_split(self, path: Path, found: Found) -> None:
        """Write which structures are held out."""
        num, seed = len(self._source), self._config.seed
        save_split(path, num, seed, self.sets.checksum, found.held_out)

    def _references(self, survey: Survey) -> References:
        section = self._config.data
        if not self._heads:
            (level,) = survey.levels.values()
            return _of_one_head(self._source, level, section, next(iter(section.heads()), None))
        tables = []
        for head, level in survey.levels.items():
            try:
                tables.append(_of_one_head(self._source, level, section, head))
            except ValueError as error:
                raise ValueError(f"{about_head(head)}{error}") from error
        return HeadReferences(self._heads, tuple(tables))

    def _facts(self, survey: Survey, references: References, validated: tuple[str, ...]) -> Facts:
        trained_on = survey.trained_on()
        scale = energy_scale(survey.force_rms, self._sample(survey), references)
        own = {
            head: energy_scale(level.tally.forces.rms, self._sample(survey, head), references)
            for head, level in survey.levels.items()
            if head
        }
        several = references.heads if isinstance(references, HeadReferences) else ()
        return Facts(
            survey.labelled,
            validated,
            trained_on.spins or (),
            scale,
            trained_on,
            tuple(own.get(head, scale) / scale for head in several),
        )

    def _sample(self, survey: Survey, head: str = "") -> Source:
        """Return training structures of a head, or of all, that stand for all of them."""
        return Chosen(self._source, np.array(self._typical(survey, head), np.int64))

    def _typical(self, survey: Survey, head: str = "") -> list[int]:
        """Return ascending indices of training structures of a head, or of all.

        They have all elements of their head, and are evenly spaced.
        """
        if not head and self._heads:
            return sorted({k for own in self._heads for k in self._typical(survey, own)})
        gone = np.concatenate([np.array(survey.isolated_at, np.int64), *survey.held_out.values()])
        rest = Rest(len(self._source), np.sort(gone))
        every = Ranges([(0, len(rest))])
        places = Chosen(self._source, rest).places_of(head) if head else every
        chosen = np.asarray(rest[np.asarray(places[evenly(len(places), SAMPLE)])]).tolist()
        return sorted({*chosen, *survey.levels[head].training.carriers.values()})

    def _other(self, name: str, source: Source) -> OtherSet:
        """Look at a set that has files of its own."""
        structures = self._watched(source, f"looking at the {name} set", len(source))
        sizes_for = self._config.model if name == "validation" else None
        return OtherSet.of(structures, len(source), sizes_for, self._heads)

    def _save(self, found: Found, survey: Survey, others: Mapping[str, OtherSet]) -> None:
        table = np.load(self._cache.folder / "all.npy", mmap_mode="r", allow_pickle=False)
        rest = Rest(len(self._source), _without(found))
        pieces = (
            table[rest[np.arange(start, min(start + _BLOCK, len(rest)))]]
            for start in range(0, len(rest), _BLOCK)
        )
        self._cache.write_sizes("train", pieces, len(rest))
        if "validation" in others:
            other = others["validation"]
            own = np.delete(other.table, other.isolated, axis=0)
        else:
            own = table[found.held_out.get("validation", np.zeros(0, np.int64))]
        self._cache.write_sizes("validation", [own], len(own))
        (self._cache.folder / "all.npy").unlink()
        self._cache.save(found.plain(), {"train": len(rest), "validation": len(own)})


def _notes(survey: Survey) -> Iterator[str]:
    """Say which structures are trained on against the draw, and how many are not at all."""
    for index, trait in zip(*survey.kept, strict=False):
        yield (
            f"{survey.source.source(index)} stays in training though it was drawn: no other "
            f"training structure would have {trait}"
        )
    if survey.isolated_at:
        yield (
            f"{len(survey.isolated_at)} isolated atoms among the training structures are left "
            "out of training: they only give reference energies, where reference_energies says so"
        )


def _without(found: Found) -> np.ndarray:
    """Return ascending indices of structures of `data.train` that are not trained on."""
    return np.sort(np.concatenate([found.isolated["train"], *found.held_out.values()]))


def _of_one_head(
    source: Source, level: Level, section: DataConfig, head: str | None
) -> ReferenceEnergies:
    spec, labels = section.references_of(head)
    carriers = level.training.carriers
    if spec == "least_squares":
        numbers = tuple(sorted(carriers))
        return fitted_energies(numbers, level.training.composition.fit(numbers))
    # Of structures that are trained on they look at elements alone.
    structures = [source[k] for k in carriers.values()]
    isolated = level.isolated if spec == "isolated_atoms" else []
    return reference_energies(spec, [*structures, *isolated], labels)


def _own_energies(section: DataConfig, head: str | None) -> object:
    spec, labels = section.references_of(head)
    return spec if spec == section.reference_energies else [spec, labels.model_dump(mode="json")]


def _file_lines(tables: Sequence[Source]) -> list[str]:
    lines = [f"  {_path_of(table)}: {len(table)} structures" for table in tables]
    return [f"{len(lines)} files:", *lines] if len(lines) > 1 else []


def _path_of(source: Source) -> str:
    return str(getattr(source, "path", "structures"))
