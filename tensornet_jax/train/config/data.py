"""The data section of a training run: which structures, and how they are labelled."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field

from tensornet_jax.config import TOLD_IN_WORDS, Config, problem_at
from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.train.config.sources import (
    DataSource,
    Files,
    References,
    Sources,
    as_sources,
    check_name,
    check_reference_names,
    files_of,
    heads_of,
    with_labels,
)

# Sets of every run, whose names a test cannot have.
RESERVED = ("train", "validation", "replay", "replay train")


def _check_validation(value: object) -> object:
    return value if value == "none" else _check_held_out(value)


def _check_held_out(value: object) -> object:
    if isinstance(value, str | tuple | Mapping | DataSource):
        return as_sources(value)
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


def _check_replay_references(value: object) -> object:
    return check_reference_names(value, ("start", "least_squares", "isolated_atoms"))


def _files_of_references(value: str | dict[str, float | str]) -> list[str]:
    return [v for v in value.values() if isinstance(v, str)] if isinstance(value, dict) else []


def _check_heads_of_replay(replay: "ReplayConfig", heads: tuple[str, ...]) -> None:
    for name, part in (("train", replay.train), ("validation", replay.validation)):
        for index, source in enumerate(part if isinstance(part, tuple) else ()):
            head = source.head if isinstance(source, DataSource) else None
            place = ("replay", name, index)
            if heads and head is None:
                raise problem_at(
                    place,
                    "needs the head that is to remember it, as data.train has heads: {file: ..., "
                    "head: NAME}, with a head of the starting model",
                )
            if head is not None and not heads:
                raise problem_at(
                    place,
                    f"has the head {head}, and data.train has none: give the new data a head too",
                )
            if isinstance(source, DataSource) and source.reference_energies is not None:
                raise problem_at(
                    (*place, "reference_energies"),
                    "has no meaning: the head keeps those of the starting model",
                )
    if heads and replay.reference_energies != "start":
        raise problem_at(
            ("replay", "reference_energies"),
            "has no meaning for data with heads, which keep those of the starting model: leave it "
            "out",
        )


HeldOut = Annotated[int | float | Sources, pydantic.BeforeValidator(_check_held_out)]
Validation = Annotated[
    int | float | Literal["none"] | Sources, pydantic.BeforeValidator(_check_validation)
]
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
        "trained on; where data.train names heads, {file: replay.xyz, head: NAME} with a head of "
        "the starting model",
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

    def heads(self) -> tuple[str, ...]:
        """Return the heads of the files, in alphabetical order."""
        named = [*heads_of(self.train), *heads_of(self.validation)]
        return tuple(sorted({head for head in named if head is not None}))

    def files(self) -> tuple[str, ...]:
        """Return every file this section names."""
        files = [*files_of(self.train), *files_of(self.validation)]
        return (*files, *_files_of_references(self.reference_energies))


class DataConfig(Config):
    """Which structures are trained on, validated on and tested on, and how they are labelled."""

    train: Files = Field(
        description="file or list of files to train on: extended XYZ, ASE database, npz, HDF5; "
        "for keys, units or a head of its own, a section {file: more.xyz, labels: {...}, "
        "head: NAME}",
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

    @pydantic.model_validator(mode="after")
    def _check_heads(self) -> Self:
        heads = self.heads()
        parts: dict[str, object] = {"train": self.train, "validation": self.validation}
        for name, part in (parts | self.test).items():
            place = ("test", name) if name in self.test else (name,)
            for index, head in enumerate(heads_of(part)):
                if head is None and heads:
                    raise problem_at(
                        (*place, index),
                        f"needs a head, as others have one: {{file: ..., head: {heads[0]}}}",
                    )
                if head is not None and head not in heads:
                    raise problem_at(
                        (*place, index),
                        f"no section of train has the head {head}: name one of theirs",
                    )
        for head in heads:
            own = [s.reference_energies for s in self._of_head(head) if s.reference_energies]
            if any(each != own[0] for each in own):
                raise problem_at(
                    ("train",), f"reference_energies of head {head} are given twice: keep one"
                )
        if self.replay is not None:
            _check_heads_of_replay(self.replay, heads)
        return self

    def heads(self) -> tuple[str, ...]:
        """Return the heads of the files, in alphabetical order, whatever that of the files."""
        return tuple(sorted({head for head in heads_of(self.train) if head is not None}))

    def references_of(self, head: str | None) -> tuple[str | dict[str, float | str], LabelConfig]:
        """Return reference energies of a head, and the labels of files that they name."""
        for source in self._of_head(head):
            if source.reference_energies is not None:
                return source.reference_energies, source.labels or self.labels
        return self.reference_energies, self.labels

    def _of_head(self, head: str | None) -> list[DataSource]:
        return [s for s in self.train if isinstance(s, DataSource) and s.head == head]

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
        named = [self.reference_energies, *(self.references_of(head)[0] for head in self.heads())]
        files += dict.fromkeys(path for each in named for path in _files_of_references(each))
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
            check_name(name, (name,))
        return value
