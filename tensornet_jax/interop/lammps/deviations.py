"""How sure a potential is, in LAMMPS: standard deviations as the vector of its fix.

f_NAME[1] is the standard deviation of the energy, f_NAME[2] the largest length of an atom's
standard deviation of its force, both in LAMMPS's units, of the last step that they were due.
"""

import numpy as np
from jaxtyping import Float

from tensornet_jax.interop.lammps.processes import Lammps, Processes
from tensornet_jax.potential.part_deviations import (
    PartDeviations,
    energy_deviation,
    force_deviations,
)
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.uncertainty.deviations import COLLECTION, NO_UNCERTAINTY


class FixVector:
    """The vector of a fix; made where the fix has been defined.

    Args:
        lmp: a `lammps.lammps`.
        fix: name of the fix.
        potential: with an uncertainty.
        every: steps between two evaluations; see `check_deviations`.
        unit: of energy, eV.
    """

    def __init__(
        self, lmp: Lammps, fix: str, potential: Potential, *, every: int, unit: float
    ) -> None:
        self._lmp, self._fix, self._unit, self._every = lmp, fix, unit, every
        self._potential, self._estimate = potential, potential.variables[COLLECTION]
        lmp.fix_external_set_vector_length(fix, 2)

    def is_due(self, step: int) -> bool:
        """Tell whether a step is one of those to be evaluated."""
        return step % self._every == 0

    def none(self) -> PartDeviations:
        """Return what a process adds that has failed, so that sums have their sizes."""
        columns, directions = (self._estimate[name].shape[1] for name in ("factor", "directions"))
        return PartDeviations(np.zeros(columns), np.zeros((0, 3, directions)))

    def set(
        self,
        energy: Float[np.ndarray, " columns"],
        forces: Float[np.ndarray, "owned 3 directions"],
        processes: Processes,
    ) -> None:
        """Set the vector on all processes; every process has to call it.

        Args:
            energy: `PartDeviations.energy`, summed over processes.
            forces: of the owned atoms of this process, with what others added.
            processes: that share the structure.
        """
        with self._potential.precision():
            found = force_deviations(self._estimate, forces)
            sigma = energy_deviation(self._estimate, energy, self._lmp.get_natoms())
        largest = processes.largest(float(np.linalg.norm(found, axis=1).max(initial=0.0)))
        for index, value in enumerate((sigma, largest), start=1):
            self._lmp.fix_external_set_vector(self._fix, index, value / self._unit)


def check_deviations(potential: Potential, every: int | None) -> None:
    """Raise ValueError if deviations are asked for that a potential has not, or never in time."""
    if every is None:
        return
    if every < 1:
        raise ValueError(f"deviations every {every} steps: must be 1 or more")
    if COLLECTION not in potential.variables:
        raise ValueError(f"deviations every {every} steps: {NO_UNCERTAINTY}")
