"""What the reader of a file format gives for each structure."""

from typing import NamedTuple

from ase import Atoms

from tensornet_jax.data.labels.stated_units import NOTHING_STATED, StatedUnits


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
