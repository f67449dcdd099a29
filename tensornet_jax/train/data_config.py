"""The data section of a training run: which structures, and how they are labelled."""

import re
from typing import Annotated, Any, Literal, Self

import pydantic
from ase.data import atomic_numbers
from pydantic import Field

from tensornet_jax.config import Config, problem_at, unknown_name
from tensornet_jax.data.labels import LabelConfig

# Sets of every run, whose names a test cannot have.
RESERVED = ("train", "validation", "replay")


def _check_held_out(value: Any) -> Any:
    if isinstance(value, str | tuple):
        return _as_paths(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(
            f"a number of structures, a fraction, or file(s) are needed, not {value!r}"
        )
    if isinstance(value, int) and value < 1:
        raise ValueError(f"hold out at least 1 structure, not {value}")
    if isinstance(value, float) and not 0 < value < 1:
        raise ValueError(f"a fraction lies between 0 and 1, not {value}; write a count as integer")
    return value


def _as_paths(value: Any) -> Any:
    paths = (value,) if isinstance(value, str) else value
    if not (
        isinstance(paths, tuple)
        and paths
        and all(isinstance(path, str) and path.strip() for path in paths)
    ):
        raise ValueError("one path or a list of paths is needed")
    return paths


def _check_references(value: Any) -> Any:
    return _check_reference_names(value, ("least_squares", "isolated_atoms", "none"))


def _check_replay_references(value: Any) -> Any:
    return _check_reference_names(value, ("start", "least_squares", "isolated_atoms"))


def _check_reference_names(value: Any, names: tuple[str, ...]) -> Any:
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


Paths = Annotated[tuple[str, ...], pydantic.BeforeValidator(_as_paths)]
HeldOut = Annotated[int | float | tuple[str, ...], pydantic.BeforeValidator(_check_held_out)]
References = Annotated[str | dict[str, float | str], pydantic.BeforeValidator(_check_references)]
ReplayReferences = Annotated[
    str | dict[str, float | str], pydantic.BeforeValidator(_check_replay_references)
]


class ReplayConfig(Config):
    """Structures that are trained on beside the new ones, so that a model forgets less of the old.

    Their energies are counted from reference energies of their own: the network learns the energy
    of bonding of both sets, whatever the zeros of the two.
    """

    train: Paths = Field(
        description="file or list of files, best a varied piece of what the starting model was "
        "trained on",
        examples=["replay.xyz"],
    )
    validation: HeldOut = Field(
        default=0.1,
        description="structures taken out of replay.train at random, or file(s): their errors, "
        "next to those of the new data, show what is forgotten",
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
        validation = self.validation if isinstance(self.validation, tuple) else ()
        return (*self.train, *validation, *_files_of_references(self.reference_energies))


class DataConfig(Config):
    """Which structures are trained on, validated on and tested on, and how they are labelled."""

    train: Paths = Field(
        description="file or list of files to train on: extended XYZ, ASE database, npz, HDF5",
        examples=["train.xyz"],
    )
    validation: HeldOut = Field(
        default=0.1,
        description="structures taken out of train at random (a count, or a fraction below 1), "
        "or file(s)",
    )
    test: dict[str, HeldOut] = Field(
        default={},
        description="name: file(s), for error tables after training; or name: count (or fraction) "
        "of structures taken out of train at random",
    )
    labels: LabelConfig = Field(
        default_factory=LabelConfig, description="what the labels are called, and their units"
    )
    reference_energies: References = Field(
        default="least_squares",
        description="energies of isolated atoms: least_squares, isolated_atoms (one-atom "
        "structures in train), none, {isolated_atoms: file}, or {H: -13.6, ...} in eV",
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
        parts: dict[str, Any] = {"validation": self.validation, **self.test}
        return {name: size for name, size in parts.items() if not isinstance(size, tuple)}

    def files(self) -> tuple[str, ...]:
        """Return every file this section names."""
        parts = [self.train, self.validation, *self.test.values()]
        files = [path for part in parts if isinstance(part, tuple) for path in part]
        files += _files_of_references(self.reference_energies)
        return (*files, *(self.replay.files() if self.replay else ()))

    @pydantic.field_validator("test")
    @classmethod
    def _check_names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            # The names become file names in the run directory.
            if name in RESERVED or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise problem_at(
                    (name,), f"use letters, digits, - and _, and none of {', '.join(RESERVED)}"
                )
        return value
