"""Which lists a simulation gets."""

from collections.abc import Sequence

import jax

from tensornet_jax.graph.long_range import LongRange
from tensornet_jax.graph.structure import Structure
from tensornet_jax.md.lists.device_lists import DeviceLists
from tensornet_jax.md.lists.host_lists import HostLists
from tensornet_jax.md.lists.neighbor_lists import NeighborLists

# Atoms from which on a single structure's list is made on the device: on a CPU, on an accelerator.
# On two cores the device takes 1.1 ms for 500 atoms and the host 12; but its program takes seconds
# more to compile, and on a CPU a step of the model takes longer than either.
LARGE = (500, 100)


def lists_on_device(num_atoms: int) -> bool:
    """Tell whether the list of one structure of so many atoms is made within the loop."""
    return num_atoms >= LARGE[jax.default_backend() != "cpu"]


def choose_lists(
    structures: Sequence[Structure],
    cutoff: float,
    skin: float,
    dtype: str,
    long_range: LongRange | None = None,
) -> NeighborLists:
    """Return the lists of structures, made where it takes less time.

    Args:
        structures: in the order of the graph.
        cutoff: Å.
        skin: Å the lists reach beyond it.
        dtype: of the arrays on the device.
        long_range: what there is beyond the cutoff, whose list is made by the host; None for
            nothing.
    """
    if len(structures) == 1 and long_range is None and lists_on_device(len(structures[0])):
        return DeviceLists(structures[0], cutoff, skin, dtype)
    return HostLists(structures, cutoff, skin, dtype, long_range)
