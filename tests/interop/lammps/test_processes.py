"""What processes tell each other, without MPI."""

import numpy as np
import pytest

from tensornet_jax.interop.lammps.processes import MPIProcesses


class Communicator:
    """Stands in for one of mpi4py, whose other processes have said what they have to say."""

    def __init__(self, *others: float) -> None:
        self._others = others

    def Get_size(self) -> int:  # noqa: N802, as mpi4py calls it
        return 1 + len(self._others)

    def allgather(self, value: float) -> list[float]:
        """Return the values of all, one's own in the middle."""
        half = len(self._others) // 2
        return [*self._others[:half], value, *self._others[half:]]


@pytest.mark.parametrize("others", [(), (1.0,), (3.0, 1.0), (1.0, 2.0, 5.0)])
def test_the_largest_is_of_all_processes(others):
    assert MPIProcesses(Communicator(*others)).largest(2.5) == max(2.5, *others, 0.0)


@pytest.mark.parametrize(
    ("own", "others"), [(np.nan, (1.0, 2.0)), (1.0, (np.nan, 2.0)), (1.0, (2.0, np.nan))]
)
def test_nan_of_one_process_is_the_largest_of_all(own, others):
    assert np.isnan(MPIProcesses(Communicator(*others)).largest(own))
