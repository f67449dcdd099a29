"""Properties recorded along ASE's dynamics: one more evaluation where they are due."""

import ase
import numpy as np
from ase import units

from tensornet_jax.graph.electrons import total_charge
from tensornet_jax.md.config import Record
from tensornet_jax.md.output.flux_records import FluxRecords
from tensornet_jax.md.output.records import Records, recorded_units
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.results import results_about_center_of_mass


class AseRecords:
    """Properties of one structure, evaluated where they are due, until a sample takes them."""

    def __init__(self, record: Record | None, potential: Potential, timestep: float) -> None:
        self._record = record
        self._potential = potential
        self._timestep = timestep
        self._fluxes = FluxRecords(record, potential)
        self._rows: list[tuple[int, float, float, dict[str, np.ndarray]]] = []

    def note(self, atoms: ase.Atoms, step: int, degrees_of_freedom: int) -> None:
        """Evaluate the properties if they are due."""
        if self._record is None or step % self._record.interval:
            return
        names = [name for name in self._record.properties if name not in self._fluxes.names]
        (values,) = self._potential.evaluate(atoms, names) if names else ({},)
        values = results_about_center_of_mass(
            self._potential.config, values, total_charge(atoms), atoms.get_center_of_mass()
        )
        values |= self._fluxes.of(atoms)
        temperature = 2 * float(atoms.get_kinetic_energy()) / (degrees_of_freedom * units.kB)
        self._rows.append((step, temperature, abs(np.linalg.det(atoms.cell.array)), values))

    def take(self) -> Records | None:
        """Return what was noted since the last call, or None if that is nothing."""
        if not self._rows:
            return None
        steps, temperatures, volumes, values = zip(*self._rows, strict=True)
        self._rows = []
        per_atom = self._potential.per_atom & frozenset(values[0])
        step = np.array(steps)
        stacked = {name: np.stack([each[name] for each in values]) for name in values[0]}
        return Records(
            step=step,
            time=step * self._timestep,
            temperature=np.array(temperatures)[:, None],
            volume=np.array(volumes)[:, None],
            values={
                name: rows if name in per_atom else rows[:, None] for name, rows in stacked.items()
            },
            per_atom=per_atom,
            units=recorded_units(self._potential, tuple(stacked)),
        )
