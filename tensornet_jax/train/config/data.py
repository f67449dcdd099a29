"""The data section of a training run: which structures, and how they are labelled."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, cast

import pydantic
from ase.data import atomic_numbers
from pydantic import Field
from pydantic_core import InitErrorDetails, PydanticCustomError

from tensornet_jax.config import TOLD_IN_WORDS, Config, problem_at, unknown_name
from tensornet_jax.data.labels.labels import LabelConfig

# Sets of every run, whose names a test cannot have.
RESERVED = ("train", "validation", "replay", "replay train")
# What the name of a test cannot have: it is part of a file name, and a cell of tables.
UNSAFE = frozenset('/\\|:*?"<>')
LONGEST_NAME = 100


class DataSource(Config):
    """Files whose labels have keys or units of their own."""

    file: Annotated[tuple[str, ...], pydantic.BeforeValidator(lambda v: _as_paths(v))] = Field(
        description="file or list of files", examples=["more.xyz"]
    )
    labels: LabelConfig | None = Field(
        default=None,
        description="what their labels are called, and their units, in place of the labels of the "
        "section around; null: those",
    )


Sources = tuple[str | DataSource, ...]


def labels_of_files(sources: Sources, default: LabelConfig) -> dict[tuple[str, ...], LabelConfig]:
    """Return files → what their labels are called; those of like labels stand together."""
    groups: list[tuple[LabelConfig, list[str]]] = []
    for source in sources:
        own = source.labels if isinstance(source, DataSource) else None
        labels = default if own is None else own
        files = source.file if isinstance(source, DataSource) else (source,)
        for known, paths in groups:
            if known == labels:
                paths += files
                break
        else:
            groups.append((labels, [*files]))
    return {tuple(paths): labels for labels, paths in groups}


def files_of(part: object) -> list[str]:
    """Return the files that a part of the data names; none if it is a number."""
    sources = part if isinstance(part, tuple) else ()
    return [
        path
        for each in sources
        for path in (each.file if isinstance(each, DataSource) else (each,))
    ]


def with_labels(part: object, change: Callable[[LabelConfig], LabelConfig]) -> object:
    """Return a part of the data with the labels of its sections changed."""
    if not isinstance(part, tuple):
        return part
    return tuple(
        each.model_copy(update={"labels": change(each.labels)})
        if isinstance(each, DataSource) and each.labels is not None
        else each
        for each in part
    )


def own_labels(part: object) -> list[LabelConfig]:
    """Return the labels of the sections of a part of the data that have some."""
    sources = part if isinstance(part, tuple) else ()
    return [s.labels for s in sources if isinstance(s, DataSource) and s.labels is not None]


def _check_validation(value: object) -> object:
    return value if value == "none" else _check_held_out(value)


def _check_held_out(value: object) -> object:
    if isinstance(value, str | tuple | Mapping | DataSource):
        return _as_sources(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(
            f"a number of structures, a fraction, or file(s) are needed, not {value!r}"
        )
    if isinstance(value, int) and value < 1:
        raise ValueError(
            f"hold out at least 1 structure, not {value}; validation: none goes without"
        )
    if isinstance(value, float) and not 0 < value < 1:
        raise ValueError(f"a fraction lies between 0 and 1, not {value}; write a count as integer")
    return value


def _as_sources(value: object) -> object:
    if not isinstance(value, tuple):
        return (_as_source(value),)
    if not value:
        raise ValueError("one file or a list of files is needed")
    found = []
    for index, each in enumerate(value):
        try:
            found.append(_as_source(each))
        except pydantic.ValidationError as error:
            details = [
                InitErrorDetails(
                    type=PydanticCustomError(d["type"], "{explanation}", {"explanation": d["msg"]}),
                    loc=(index, *d["loc"]),
                    input=d["input"],
                )
                for d in cast(list[Any], error.errors())
            ]
            raise pydantic.ValidationError.from_exception_data("data", details) from None
        except ValueError as error:
            raise problem_at((index,), str(error)) from None
    return tuple(found)


def _as_source(value: object) -> str | DataSource:
    if isinstance(value, DataSource):
        return value
    if isinstance(value, Mapping):
        return DataSource.model_validate(value)
    return _as_paths(value)[0]


def _as_paths(value: object) -> tuple[str, ...]:
    paths = (value,) if isinstance(value, str) else value
    if not (
        isinstance(paths, tuple)
        and paths
        and all(isinstance(path, str) and path.strip() for path in paths)
    ):
        raise ValueError("a path, a list of paths, or a section with file and labels is needed")
    return paths


def _check_references(value: object) -> object:
    return _check_reference_names(value, ("least_squares", "isolated_atoms", "none"))


def _check_replay_references(value: object) -> object:
    return _check_reference_names(value, ("start", "least_squares", "isolated_atoms"))


def _check_reference_names(value: object, names: tuple[str, ...]) -> object:
    if isinstance(value, str) and value not in names:
        raise ValueError(unknown_name(value, names, "kind of reference energies"))
    if isinstance(value, dict) and set(value) != {"isolated_atoms"}:
        for symbol, energy in value.items():
            if atomic_numbers.get(symbol, 0) < 1:
                raise ValueError(f"{symbol!r} is not the symbol of an element")
            if isinstance(energy, bool | str) or not isinstance(energy, int | float):
                raise ValueError(f"the energy of {symbol} must be a number, not {energy!r}")
    return value


def _files_of_references(value: str | dict[str, float | str]) -> list[str]:
    return [v for v in value.values() if isinstance(v, str)] if isinstance(value, dict) else []


Files = Annotated[Sources, pydantic.BeforeValidator(_as_sources)]
HeldOut = Annotated[int | float | Sources, pydantic.BeforeValidator(_check_held_out)]
Validation = Annotated[
    int | float | Literal["none"] | Sources, pydantic.BeforeValidator(_check_validation)
]
References = Annotated[str | dict[str, float | str], pydantic.BeforeValidator(_check_references)]
ReplayReferences = Annotated[
    str | dict[str, float | str], pydantic.BeforeValidator(_check_replay_references)
]


class ReplayConfig(Config):
    """Structures that are trained on beside the new ones, so that a model forgets less of the old.

    Their energies are counted from reference energies of their own: the network learns the energy
    of bonding of both sets, whatever the zeros of the two.
    """

    train: Files = Field(
        description="file or list of files, best a varied piece of what the starting model was "
        "trained on",
        examples=["replay.xyz"],
        json_schema_extra=TOLD_IN_WORDS,
    )
    validation: HeldOut = Field(
        default=0.1,
        description="structures taken out of replay.train at random, or file(s): their errors, "
        "next to those of the new data, show what is forgotten",
        json_schema_extra=TOLD_IN_WORDS,
    )
    labels: LabelConfig = Field(
        default_factory=LabelConfig, description="what their labels are called, and their units"
    )
    targets: Literal["labels", "model"] = Field(
        default="labels",
        description="what they are trained to: labels of the files, or what the starting model "
        "predicts for them, for which they need no labels",
    )
    reference_energies: ReplayReferences = Field(
        default="start",
        description="what their energies are counted from: start (the isolated atoms of the "
        "starting model), least_squares, isolated_atoms, {isolated_atoms: file}, or "
        "{H: -13.6, ...} in eV",
    )
    batch_size: int | None = Field(
        default=None,
        gt=0,
        description="replay structures added to every batch; null: as many as training.batch_size",
    )
    weight: float = Field(
        default=1.0, gt=0, description="factor of their loss, which is added to that of the new"
    )

    @pydantic.model_validator(mode="after")
    def _check_targets(self) -> Self:
        if self.targets == "model" and self.reference_energies != "start":
            raise problem_at(
                ("reference_energies",),
                "has no meaning for targets: model, whose energies are the starting model's: "
                "leave it out",
            )
        return self

    def files(self) -> tuple[str, ...]:
        """Return every file this section names."""
        files = [*files_of(self.train), *files_of(self.validation)]
        return (*files, *_files_of_references(self.reference_energies))


class DataConfig(Config):
    """Which structures are trained on, validated on and tested on, and how they are labelled."""

    train: Files = Field(
        description="file or list of files to train on: extended XYZ, ASE database, npz, HDF5; "
        "for keys or units of its own, a section {file: more.xyz, labels: {...}}",
        examples=["train.xyz"],
        json_schema_extra=TOLD_IN_WORDS,
    )
    validation: Validation = Field(
        default=0.1,
        description="structures taken out of train at random (a count, or a fraction below 1), "
        "file(s), or none: then the last averaged weights are kept",
        json_schema_extra=TOLD_IN_WORDS,
    )
    test: dict[str, HeldOut] = Field(
        default={},
        description="name: file(s), for error tables after training; or name: count (or fraction) "
        "of structures taken out of train at random",
        json_schema_extra=TOLD_IN_WORDS,
    )
    labels: LabelConfig = Field(
        default_factory=LabelConfig, description="what the labels are called, and their units"
    )
    reference_energies: References = Field(
        default="least_squares",
        description="energies of isolated atoms: least_squares, isolated_atoms (one-atom "
        "structures in train), none, {isolated_atoms: file}, or {H: -13.6, ...} in eV",
    )
    stream: bool | None = Field(
        default=None,
        description="read structures from their files when they are needed, instead of holding "
        "all in memory; null: where the files have more than 256 MB",
    )
    cache: str | None = Field(
        default=None,
        description="folder for what is found out once about streamed data, and for packed copies; "
        "null: data_cache in the run directory",
    )
    workers: int = Field(
        default=0, ge=0, description="processes that search neighbors ahead of time; 0: threads"
    )
    replay: ReplayConfig | None = Field(
        default=None, description="second set to train on beside the new data, with start only"
    )

    @pydantic.model_validator(mode="after")
    def _check_held_out_total(self) -> Self:
        fractions = sum(size for size in self.held_out().values() if isinstance(size, float))
        if fractions >= 1:
            raise ValueError(
                f"validation and test hold out a fraction of {fractions:g}: nothing is left"
            )
        return self

    def held_out(self) -> dict[str, int | float]:
        """Return the parts drawn at random from train: name → count or fraction, validation first.

        A fraction is of all structures in `train`.
        """
        parts: dict[str, object] = {"validation": self.validation, **self.test}
        return {name: size for name, size in parts.items() if isinstance(size, int | float)}

    def files(self) -> tuple[str, ...]:
        """Return every file this section names."""
        parts = (self.train, self.validation, *self.test.values())
        files = [path for part in parts for path in files_of(part)]
        files += _files_of_references(self.reference_energies)
        return (*files, *(self.replay.files() if self.replay else ()))

    def map_labels(self, change: Callable[[LabelConfig], LabelConfig]) -> Self:
        """Return the section with every set of label names changed, those of replay too."""
        changes: dict[str, object] = {
            "train": with_labels(self.train, change),
            "validation": with_labels(self.validation, change),
            "test": {name: with_labels(part, change) for name, part in self.test.items()},
            "labels": change(self.labels),
        }
        if self.replay is not None:
            changes["replay"] = self.replay.model_copy(
                update={
                    "train": with_labels(self.replay.train, change),
                    "validation": with_labels(self.replay.validation, change),
                    "labels": change(self.replay.labels),
                }
            )
        return self.model_copy(update=changes)

    @pydantic.field_validator("test")
    @classmethod
    def _check_names(cls, value: dict[str, object]) -> dict[str, object]:
        known: dict[str, str] = {}
        for name in value:
            folded = name.casefold()
            if folded in RESERVED:
                raise problem_at((name,), f"is the name of another set ({', '.join(RESERVED)})")
            if folded in known:
                # File systems may take them for one.
                raise problem_at((name,), f"and {known[folded]!r} differ in case alone: rename one")
            known[folded] = name
            if (
                not name.strip(" .")
                or name != name.strip()
                or len(name) > LONGEST_NAME
                or not name.isprintable()
                or UNSAFE.intersection(name)
            ):
                raise problem_at(
                    (name,),
                    f"is part of a file name: use up to {LONGEST_NAME} letters, digits, blanks and "
                    f"signs other than {' '.join(sorted(UNSAFE))}, without blanks at the ends",
                )
        return value
