"""What a file format is, and what its reader gives for each structure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ase import Atoms

from tensornet_jax.data.labels.stated_units import NOTHING_STATED, StatedUnits

if TYPE_CHECKING:
    from tensornet_jax.data.labels.config import LabelConfig


class Frame(NamedTuple):
    """A structure as it stands in a file, in the file's names and units.

    Attributes:
        atoms: its labels are calculator results, arrays or info.
        name: which one of the file it is, for messages.
        units: the units that the file states.
        remarks: what a person should know about how it was read.
    """

    atoms: Atoms
    name: str
    units: StatedUnits = NOTHING_STATED
    remarks: tuple[str, ...] = ()


def _never(path: Path) -> bool:
    return False


@dataclass(frozen=True)
class FileFormat:
    """A way in which files hold structures.

    Attributes:
        read: yields the frames of a file, given the names and units of its labels; what is wrong
            with the file is a ValueError that begins with its path.
        suffixes: of its files, in lower case, with the dot and without that of a compression.
        recognizes: whether a file whose suffix is of no format is one, by its beginning.
        compressed: whether `read` opens compressed files too.
    """

    read: "Callable[[Path, LabelConfig], Iterator[Frame]]"
    suffixes: frozenset[str]
    recognizes: Callable[[Path], bool] = _never
    compressed: bool = False
