"""Heat fluxes recorded along a simulation, evaluated on the host at the steps that are recorded.

A flux is of energies of atoms with all images around them as atoms of their own, which no graph of
a simulation has: it takes an evaluation of its own, four backward passes long.
"""

from collections.abc import Sequence

import ase
import numpy as np
from jaxtyping import Float

from tensornet_jax.md.config import Record
from tensornet_jax.potential.heat_flux import HeatFluxEvaluator
from tensornet_jax.potential.potential import Potential
from tensornet_jax.properties import FLUXES


class FluxRecords:
    """Heat fluxes of the states that are recorded, until a sample takes them.

    names: of the fluxes to record; none where the section of records names none.
    """

    def __init__(self, record: Record | None, potential: Potential) -> None:
        wanted = () if record is None else record.properties
        self.names = tuple(name for name in wanted if name in FLUXES)
        self._interval = 1 if record is None else record.interval
        self._evaluator = HeatFluxEvaluator(potential) if self.names else None
        self._rows: dict[str, list[Float[np.ndarray, "structures 3"]]] = {}
        self.clear()

    def clear(self) -> None:
        """Forget what was noted."""
        self._rows = {name: [] for name in self.names}

    def due(self, step: int) -> bool:
        """Tell whether a step is recorded."""
        return bool(self.names) and step % self._interval == 0

    def next_due(self, step: int, until: int) -> int:
        """Return the first step after another that is recorded, or the last one if it is earlier.

        Args:
            step: steps done; the first may be 0, after −1.
            until: number of the last step.
        """
        if not self.names:
            return until
        return min(until, (step // self._interval + 1) * self._interval)

    def of(self, atoms: ase.Atoms) -> dict[str, Float[np.ndarray, "3"]]:
        """Return the fluxes of a structure with velocities times its volume, eV·Å/fs."""
        if self._evaluator is None:
            return {}
        flux = self._evaluator.evaluate(atoms)
        both = {"heat_flux": flux.total, "heat_flux_potential": flux.potential}
        return {name: both[name] for name in self.names}

    def note(self, structures: Sequence[ase.Atoms]) -> None:
        """Evaluate the structures of a simulation at a step that is recorded."""
        found = [self.of(atoms) for atoms in structures]
        for name, rows in self._rows.items():
            rows.append(np.stack([each[name] for each in found]))

    def take(self) -> dict[str, Float[np.ndarray, "times structures 3"]]:
        """Return what was noted since the last call, as `Records` has it."""
        taken = {name: np.stack(rows) for name, rows in self._rows.items() if rows}
        self.clear()
        return taken
