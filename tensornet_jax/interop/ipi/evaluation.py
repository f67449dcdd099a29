"""From structures that i-PI asks about to its answers, several in one call of the potential."""

import json
from collections.abc import Sequence

import ase
import numpy as np
from ase import units

from tensornet_jax.calculator.evaluator import HEADROOM, Evaluator
from tensornet_jax.calculator.requests import computed_for
from tensornet_jax.graph.capacity_ladder import CapacityLadder
from tensornet_jax.interop.ipi.connection import Answer, Geometry
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.results import Results

# What i-PI gets in numbers, and not in the text besides.
NUMBERS = frozenset({"energy", "free_energy", "energies", "forces", "stress"})


class Beads:
    """Answers for structures of the same atoms.

    potential: it.
    template: which atoms there are, in which state, and in which directions they repeat.
    skin: Å that the neighbor list of a single structure reaches beyond the cutoff.
    """

    def __init__(
        self, potential: Potential, template: ase.Atoms, together: int = 1, skin: float = 0.5
    ) -> None:
        """Prepare for structures like one.

        Args:
            potential: it.
            template: the structure.
            together: how many are expected in one call; more or fewer are answered as well.
            skin: see above.

        Raises:
            ValueError: no energy, an unknown element, or a charge or spin that the potential does
                not see or needs.
        """
        potential.config.require_energy()
        # A server would wait for what is found later.
        structure = potential.structure(template, " (template)")
        self._ladder = CapacityLadder()
        if together > 1:
            # Fewer are evaluated by the same program.
            self._ladder.choose([structure] * together, HEADROOM)
        self.potential, self.template, self.skin = potential, template.copy(), skin
        self._evaluator = Evaluator(long_run=True)
        # The same as a calculator computes, so that they share what is compiled.
        own = [name for name, row in potential.rows.items() if not row.costly]
        boxed = template.copy()
        boxed.set_cell(np.eye(3))
        self._compute = computed_for(boxed, (), potential.rows, own)
        self._extras = tuple(name for name in self._compute if name not in NUMBERS)

    def answers(self, asked: Sequence[Geometry]) -> list[Answer]:
        """Return the answers for structures.

        Raises:
            ValueError: atoms that coincide, or a cell without a volume.
        """
        frames = [self._placed(geometry) for geometry in asked]
        if len(frames) == 1:
            found = [self._evaluator(self.potential, frames[0], self._compute, self.skin)]
        else:
            found = self.potential.evaluate(
                frames, ("energy", *self._compute), len(frames), capacities=self._ladder
            )
        return [self._answer(results, atoms) for results, atoms in zip(found, frames, strict=True)]

    def _placed(self, geometry: Geometry) -> ase.Atoms:
        atoms = self.template.copy()
        atoms.positions = geometry.positions
        atoms.set_cell(geometry.cell)
        if not abs(np.linalg.det(geometry.cell)) > 0:
            raise ValueError(
                f"the server sent a cell without a volume, {geometry.cell.tolist()} Å: give it "
                "one, a large one for a molecule"
            )
        return atoms

    def _answer(self, results: Results, atoms: ase.Atoms) -> Answer:
        virial = -results["stress"] * abs(np.linalg.det(atoms.cell.array))
        extras = {name: np.asarray(results[name]).tolist() for name in self._extras}
        if "dipole" in extras:
            extras["dipole"] = (results["dipole"] / units.Bohr).tolist()
        return Answer(results["energy"], results["forces"], virial, json.dumps(extras))
