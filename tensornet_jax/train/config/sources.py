"""Files of the data section: paths, and sections with labels, a head or a weight of their own."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, Self, cast

import pydantic
from ase.data import atomic_numbers
from pydantic import Field
from pydantic_core import InitErrorDetails, PydanticCustomError

from tensornet_jax.config import Config, KeyPath, problem_at, unknown_name
from tensornet_jax.data.labels.labels import LabelConfig

# What the name of a test or head cannot have: it is part of a file name, and a cell of tables.
UNSAFE = frozenset('/\\|:*?"<>')
LONGEST_NAME = 100


def check_name(name: str, place: KeyPath) -> None:
    """Raise a problem at a place where a name cannot be part of a file name."""
    if (
        not name.strip(" .")
        or name != name.strip()
        or len(name) > LONGEST_NAME
        or not name.isprintable()
        or UNSAFE.intersection(name)
    ):
        raise problem_at(
            place,
            f"is part of a file name: use up to {LONGEST_NAME} letters, digits, blanks and "
            f"signs other than {' '.join(sorted(UNSAFE))}, without blanks at the ends",
        )


def _check_references(value: object) -> object:
    return check_reference_names(value, ("least_squares", "isolated_atoms", "none"))


def check_reference_names(value: object, names: tuple[str, ...]) -> object:
    """Return a kind of reference energies, or a table of them, as it is.

    Raises:
        ValueError: it is no known kind, or no table of energies of elements.
    """
    if isinstance(value, str) and value not in names:
        raise ValueError(unknown_name(value, names, "kind of reference energies"))
    if isinstance(value, dict) and set(value) != {"isolated_atoms"}:
        for symbol, energy in value.items():
            if atomic_numbers.get(symbol, 0) < 1:
                raise ValueError(f"{symbol!r} is not the symbol of an element")
            if isinstance(energy, bool | str) or not isinstance(energy, int | float):
                raise ValueError(f"the energy of {symbol} must be a number, not {energy!r}")
    return value


References = Annotated[str | dict[str, float | str], pydantic.BeforeValidator(_check_references)]


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
    head: str | None = Field(
        default=None,
        description="name of their level of theory, which gets a head of the model of its own; "
        "either all sections have one or none",
    )
    weight: float = Field(default=1.0, gt=0, description="factor of the loss of their structures")
    reference_energies: References | None = Field(
        default=None,
        description="energies of isolated atoms of this head, as data.reference_energies; null: "
        "those",
    )

    @pydantic.model_validator(mode="after")
    def _check_head(self) -> Self:
        if self.head is not None:
            check_name(self.head, ("head",))
        elif self.reference_energies is not None:
            raise problem_at(
                ("reference_energies",),
                "are those of a head: energies of another zero than the other files' need "
                "head: NAME, a head of their own",
            )
        return self


Sources = tuple[str | DataSource, ...]


class Reading(NamedTuple):
    """How files are read: what their labels are called, their head, and a factor of their loss."""

    labels: LabelConfig
    head: str | None = None
    weight: float = 1.0


def readings_of_files(
    sources: Sources, default: LabelConfig
) -> list[tuple[tuple[str, ...], Reading]]:
    """Return files and how they are read; those that are read alike stand together.

    A file may come twice: with labels of two levels of theory, for instance.
    """
    groups: list[tuple[Reading, list[str]]] = []
    for source in sources:
        if isinstance(source, DataSource):
            labels = default if source.labels is None else source.labels
            reading, files = Reading(labels, source.head, source.weight), source.file
        else:
            reading, files = Reading(default), (source,)
        for known, paths in groups:
            if known == reading:
                paths += files
                break
        else:
            groups.append((reading, [*files]))
    return [(tuple(paths), reading) for reading, paths in groups]


def heads_of(part: object) -> list[str | None]:
    """Return the head of each path and section of a part of the data; none if it is a number."""
    sources = part if isinstance(part, tuple) else ()
    return [each.head if isinstance(each, DataSource) else None for each in sources]


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


def as_sources(value: object) -> object:
    """Return a path, a section or a list of both as a tuple of them.

    Raises:
        ValueError: it is none of these, or a section does not validate.
    """
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


Files = Annotated[Sources, pydantic.BeforeValidator(as_sources)]
