"""What observers of a simulation get: the state of all structures at one step."""

from collections.abc import Callable
from dataclasses import dataclass

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from jaxtyping import Float

from tensornet_jax.md.engines.checks import Findings
from tensornet_jax.md.output.records import Records
from tensornet_jax.md.state import FEMTOSECOND, GIGAPASCAL


@dataclass(frozen=True)
class Sample:
    """The state of all structures at one step, on the host in float64.

    step: number of the step.
    time: fs.
    positions: Å along the whole path of each atom, not wrapped; all structures one after the other.
    velocities: Å/fs.
    forces: eV/Å.
    cell: Å.
    potential_energy: eV, isolated atoms' included.
    kinetic_energy: eV.
    temperature: K.
    conserved: eV, what the ensemble conserves.
    stress: eV/Å³ without the kinetic part, or None if it is not computed.
    templates: structures with everything that does not change.
    records: what was recorded since the sample before; None if that is nothing.
    planes: projectors on the planes in which cells may change; None where cells change
        otherwise, or not at all.
    findings: of checks of standard deviations; None where nothing is checked.
    """

    step: int
    time: float
    positions: Float[np.ndarray, "atoms 3"]
    velocities: Float[np.ndarray, "atoms 3"]
    forces: Float[np.ndarray, "atoms 3"]
    cell: Float[np.ndarray, "structures 3 3"]
    potential_energy: Float[np.ndarray, " structures"]
    kinetic_energy: Float[np.ndarray, " structures"]
    temperature: Float[np.ndarray, " structures"]
    conserved: Float[np.ndarray, " structures"]
    stress: Float[np.ndarray, "structures 3 3"] | None
    templates: tuple[ase.Atoms, ...]
    records: Records | None = None
    planes: Float[np.ndarray, "structures 3 3"] | None = None
    findings: Findings | None = None

    def __len__(self) -> int:
        return len(self.templates)

    @property
    def slices(self) -> list[slice]:
        """Rows of each structure in the arrays of atoms."""
        ends = np.cumsum([len(each) for each in self.templates])
        return [
            slice(int(end) - len(each), int(end))
            for end, each in zip(ends, self.templates, strict=True)
        ]

    @property
    def pressure(self) -> Float[np.ndarray, " structures"]:
        """GPa, the kinetic part included; NaN where there is no stress or no volume.

        The mean over the three directions, or over the two of the plane in which the cell may
        change.
        """
        if self.stress is None:
            return np.full(len(self), np.nan)
        size = np.abs(np.linalg.det(self.cell))
        stress, kinetic, dimensions = self.stress, 2 * self.kinetic_energy, 3
        if self.planes is not None:
            stress, dimensions = self.planes @ stress @ self.planes, 2
            within = zip(self.templates, self.slices, self.planes, strict=True)
            moments = [
                np.sum(atoms.get_masses()[:, None] * (self.velocities[here] @ plane) ** 2)
                for atoms, here, plane in within
            ]
            kinetic = np.array(moments) / FEMTOSECOND**2
        kinetic = np.divide(kinetic, dimensions * size, where=size > 0, out=size * np.nan)
        return (kinetic - np.trace(stress, axis1=1, axis2=2) / dimensions) / GIGAPASCAL

    def atoms(self, index: int = 0) -> ase.Atoms:
        """Return one structure with velocities and results."""
        here = self.slices[index]
        atoms = self.templates[index].copy()
        # Constraints would hold the fixed atoms where the template has them.
        constraints, atoms.constraints = atoms.constraints, []
        atoms.set_cell(self.cell[index], scale_atoms=False)
        atoms.set_positions(self.positions[here])
        atoms.set_velocities(self.velocities[here] / FEMTOSECOND)
        atoms.set_constraint(constraints)
        atoms.info |= {"step": self.step, "time_fs": self.time}
        if self.findings is not None:
            atoms.info |= self.findings.notes(index, self.step)
        results: dict[str, float | np.ndarray] = {
            "energy": float(self.potential_energy[index]),
            "forces": self.forces[here].copy(),
        }
        if self.stress is not None and atoms.cell.volume > 0:
            results["stress"] = full_3x3_to_voigt_6_stress(self.stress[index])
        atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms


Observer = Callable[[Sample], None]
