"""What the commands share: clean errors, options, models and structures."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TextIO

import typer
from typer.core import TyperGroup

from tensornet_jax.runtime.compilation_cache import silence_cache_messages
from tensornet_jax.runtime.notices import Notice

if TYPE_CHECKING:
    from tensornet_jax.data.labelled_structure import LabelledStructure
    from tensornet_jax.data.labels.config import LabelConfig
    from tensornet_jax.data.readers import Refusal
    from tensornet_jax.potential.potential import Potential
    from tensornet_jax.runtime.devices import Devices

USAGE_ERROR = 2


class Commands(TyperGroup):
    """A group of commands that shows what went wrong instead of where the program noticed it.

    A problem of the user's files or options is a ValueError or OSError, a missing extra an
    ImportError: its text goes to stderr and the exit code is 2. With `--debug` anywhere in the
    command line the traceback is shown.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take `--debug` out of the arguments."""
        ctx.meta["tensornet_jax.debug"] = "--debug" in args
        return super().parse_args(ctx, [arg for arg in args if arg != "--debug"])

    def invoke(self, ctx: Any) -> object:
        """Run the command, with expected errors shown as one message."""
        silence_cache_messages()
        try:
            with _notices_as_lines():
                return super().invoke(ctx)
        except BrokenPipeError:
            raise  # whoever reads our output, such as `head`, has enough; typer ends quietly
        except (ValueError, OSError, ImportError) as error:
            # With a name it is Python that misses a module of ours: a fault of the program.
            if ctx.meta["tensornet_jax.debug"] or getattr(error, "name", None):
                raise
            typer.echo(f"error: {_text_of(error)}", err=True)
            raise typer.Exit(USAGE_ERROR) from None


@contextmanager
def _notices_as_lines() -> Iterator[None]:
    """Show the package's own warnings once each, without the file and line they come from."""
    usual = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, Notice):
            typer.echo(f"warning: {message}", err=True)
        else:
            usual(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        warnings.filterwarnings("default", category=Notice)
        warnings.showwarning = show
        yield


def _text_of(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


class Precision(StrEnum):
    """Precision a model computes in."""

    float32 = "float32"
    float64 = "float64"


ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Model file (.safetensors).", show_default=False)
]
HeadOption = Annotated[
    str | None,
    typer.Option(
        "--head",
        metavar="NAME",
        help="Of a model with several heads: the level of theory that is meant.",
        show_default="must be given where there are several",
    ),
]
StatedHeadOption = Annotated[
    str | None,
    typer.Option(
        "--head",
        metavar="NAME",
        help="Of a model with several heads: the level of theory that is meant.",
        show_default="the one that each structure names as head",
    ),
]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option("--dtype", help="Precision to compute in.", show_default="the model file's"),
]
DoublePrecisionOption = Annotated[Precision, typer.Option("--dtype", help="Precision.")]
BatchOption = Annotated[
    int,
    typer.Option(
        min=1, help="Structures computed at once on a device; lower it if memory runs out."
    ),
]
DevicesOption = Annotated[
    int | None,
    typer.Option("--devices", min=1, help="How many devices compute.", show_default="all"),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="PROPERTY=KEY",
        help="Key of a label in the data, e.g. energy=dft_energy or, for one of the model's "
        "tensors, polarizability=alpha; or another setting of data.labels, e.g. "
        "stress_sign=compression_positive, stress_order=vasp, zero_forces=missing, "
        "ignore=stress; repeatable.",
        show_default="the usual names",
    ),
]
UnitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--unit",
        metavar="QUANTITY=UNIT",
        help="Unit of the data (energy, length, force, stress, dipole, spin), e.g. "
        "energy=kcal/mol; repeatable.",
        show_default="eV and Å",
    ),
]


ChargeOption = Annotated[
    float | None,
    typer.Option(
        "--charge", help="Total charge of every structure, e.", show_default="what the file says"
    ),
]
SpinOption = Annotated[
    int | None,
    typer.Option(
        "--spin",
        min=1,
        help="Spin multiplicity 2S + 1 of every structure, for models that depend on it.",
        show_default="what the file says",
    ),
]


class State(NamedTuple):
    """Charge (e) and spin multiplicity of the options; None for what the file says."""

    charge: float | None = None
    spin: int | None = None


AS_STATED = State()


def visible_state(potential: "Potential", charge: float | None, spin: int | None) -> State:
    """Return the state of the options.

    Raises:
        ValueError: nothing that the model predicts depends on it.
    """
    from tensornet_jax.potential.potential import check_visible

    check_visible(potential.config, charge, spin)
    return State(charge, spin)


def label_config(labels: Sequence[str] | None, units: Sequence[str] | None) -> "LabelConfig":
    """Return the label section for `--label property=key` and `--unit quantity=unit` options.

    A name that is no property and no other setting of the section is that of a tensor.
    """
    from pydantic import ValidationError

    from tensornet_jax.data.labels.config import LabelConfig

    settings = set(LabelConfig.model_fields) - {"tensors", "units"}
    tensors: dict[str, str] = {}
    section: dict[str, object] = {"tensors": tensors, "units": _pairs(units, "--unit")}
    for name, value in _pairs(labels, "--label").items():
        if name == "ignore":
            section[name] = tuple(value.split(","))
        elif name in settings:
            section[name] = value
        else:
            tensors[name] = value
    try:
        return LabelConfig.model_validate(section)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}".removeprefix(": ")
            for detail in error.errors()
        )
        raise ValueError(f"--label/--unit: {problems}") from None


def read_for_model(
    path: Path,
    potential: "Potential",
    config: "LabelConfig",
    state: State = AS_STATED,
    refused: "list[Refusal] | None" = None,
) -> "list[LabelledStructure]":
    """Return structures with the labels of properties, and of the model's tensors by their names.

    Args:
        path: the file.
        potential: the model.
        config: names and units of the labels.
        state: charge and spin of the options, whatever the file says.
        refused: as of `read_labelled`.

    Raises:
        ValueError: a label is named that is neither a property nor one of the model's tensors, or
            whose key no structure has.
    """
    from tensornet_jax.config import unknown_name
    from tensornet_jax.data.labels.config import LabelConfig
    from tensornet_jax.data.readers import read_labelled
    from tensornet_jax.train.config.run import with_tensor_labels

    names = [head.name for head in potential.tensor_heads]
    for name in config.tensors:
        if name not in names:
            known = (*(set(LabelConfig.model_fields) - {"tensors", "units"}), *names)
            raise ValueError(f"--label {name}: {unknown_name(name, known, 'key')}")
    # A file need not have all of the model's tensors, but what the user named it must have.
    labels = with_tensor_labels(config, potential.tensor_heads)
    return _in_state(read_labelled(path, labels, required=config, refused=refused), state)


def read_geometries(
    path: Path, state: State = AS_STATED, refused: "list[Refusal] | None" = None
) -> "list[LabelledStructure]":
    """Return the structures of a file without its labels, which do not survive moving atoms.

    Args:
        path: the file.
        state: charge and spin of the options, whatever the file says.
        refused: as of `read_labelled`.
    """
    from tensornet_jax.data.readers import read_labelled

    structures = _in_state(read_labelled(path, refused=refused), state)
    return [structure.without_labels() for structure in structures]


def _in_state(structures: "list[LabelledStructure]", state: State) -> "list[LabelledStructure]":
    """Return structures in the state of the options, and show what the readers had to decide."""
    from tensornet_jax.data.auditing.reading import ReadingTally

    if state != AS_STATED:
        structures = [each.with_state(state.charge, state.spin) for each in structures]
    # An audit would have them among its warnings.
    for text in ReadingTally.of(structures).remarks():
        typer.echo(f"warning: {text}", err=True)
    return structures


def _pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{option} {text}: write name=value")
        if found.setdefault(name, value) != value:
            raise ValueError(f"{option} {name} is given twice: {found[name]} and {value}")
    return found


def symbols_to_numbers(text: str) -> list[int]:
    """Return the atomic numbers of symbols separated by commas."""
    from ase.data import atomic_numbers

    symbols = [symbol.strip() for symbol in text.split(",")]
    unknown = [symbol for symbol in symbols if symbol not in atomic_numbers]
    if unknown:
        raise ValueError(f"--elements {text}: there is no element {', '.join(unknown)}")
    return sorted({atomic_numbers[symbol] for symbol in symbols})


def check_output(path: Path, *inputs: Path) -> None:
    """Raise ValueError before a long run if its result could not be written, or ends on an input.

    Args:
        path: file that will be written.
        inputs: files that are read.
    """
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}: make it first")
    if any(path.exists() and source.exists() and path.samefile(source) for source in inputs):
        raise ValueError(f"{path} is the input: choose another output")


def prepare_process() -> None:
    """Keep compiled functions on disk, and freed memory with the process."""
    from tensornet_jax.runtime.compilation_cache import enable_compilation_cache
    from tensornet_jax.runtime.memory import keep_freed_memory

    enable_compilation_cache()
    keep_freed_memory()


def open_model(
    path: Path, dtype: Precision | None, head: str | None, *, one_head: bool = True
) -> "Potential":
    """Return the potential of a model file, the process prepared to run it.

    Args:
        path: the file.
        dtype: of the options; None for the file's own.
        head: of the options; None for the only one.
        one_head: whether a head must be named where there are several.
    """
    from tensornet_jax.potential.heads import with_head
    from tensornet_jax.potential.model_file import load_model

    prepare_process()
    potential = load_model(path, dtype=None if dtype is None else dtype.value)
    return with_head(potential, head) if one_head or head is not None else potential


def open_devices(number: int | None) -> "Devices":
    """Return so many devices, or all; the process must be prepared before."""
    from tensornet_jax.runtime.devices import Devices

    return Devices.of("all" if number is None else number)
