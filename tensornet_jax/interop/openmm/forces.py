"""Energy and forces of a potential as OpenMM asks for them, in kJ/mol and nm.

OpenMM calls an object with a `State` at every step, and writes it, pickled, into the XML of a
System. What is computed depends on positions and box of the state alone, so that barostats, which
scale both, find the energy of the scaled system.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import ase
import numpy as np
from ase import units as ase_units
from jaxtyping import Float

from tensornet_jax.calculator.evaluator import Evaluator
from tensornet_jax.graph.structure import species_of
from tensornet_jax.interop.openmm.types import State
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.preparation import check_visible

ENERGY = ase_units.kJ / ase_units.mol
"""kJ/mol in eV."""

LENGTH = ase_units.nm
"""nm in Å."""


class MLAtoms(NamedTuple):
    """The atoms that a potential is for.

    numbers: atomic numbers.
    periodic: whether the box counts.
    charge: total charge, e.
    spin: multiplicity 2S + 1; None where the potential does not depend on it.
    charges: of the atoms, e, for potentials with a Coulomb energy of fixed charges.
    """

    numbers: Sequence[int]
    periodic: bool
    charge: float = 0.0
    spin: int | None = None
    charges: Sequence[float] | None = None

    def checked(self, potential: Potential) -> "MLAtoms":
        """Return them, if a potential can be evaluated for them.

        Raises:
            ValueError: no energy, an unknown element, a charge or spin that the potential does not
                see, or one that it needs and was not given.
        """
        config = potential.config
        config.require_energy()
        check_visible(config, self.charge, self.spin)
        species_of(np.array(self.numbers), potential.elements.numbers, " (ML atoms)")
        if config.needs_spin and self.spin is None:
            raise ValueError(
                "this potential depends on the spin: give createSystem or createMixedSystem the "
                "multiplicity 2S + 1 of the ML atoms, spin=1 for a singlet"
            )
        if config.needs_charges != (self.charges is not None):
            raise ValueError(
                "this potential has a Coulomb energy of fixed charges: give createSystem or "
                "createMixedSystem charges=[…] in e, one for each ML atom"
                if config.needs_charges
                else "charges=[…] are for potentials with a Coulomb energy of fixed charges, which "
                "this one has not: leave them out"
            )
        if self.charges is not None and len(self.charges) != len(self.numbers):
            raise ValueError(
                f"charges=[…] has {len(self.charges)} numbers for {len(self.numbers)} ML atoms, "
                "link atoms included: give one for each, in order"
            )
        return self

    def template(self) -> ase.Atoms:
        """Return the structure, with all atoms at the origin."""
        atoms = ase.Atoms(self.numbers, pbc=self.periodic)
        atoms.info["charge"] = self.charge
        if self.spin is not None:
            atoms.info["spin"] = self.spin
        if self.charges is not None:
            atoms.set_initial_charges(self.charges)
        return atoms


class PotentialForces:
    """Energy and forces of a potential for the particles of a `PythonForce`.

    potential: it.
    ml: its atoms, all particles of the force.
    skin: Å that neighbor lists reach beyond the cutoff.
    """

    def __init__(self, potential: Potential, ml: MLAtoms, skin: float) -> None:
        self.potential, self.ml, self.skin = potential, ml.checked(potential), skin
        self._template, self._evaluator = ml.template(), Evaluator(long_run=True)

    def __getstate__(self) -> dict[str, Any]:
        """What OpenMM writes into a System's XML: the potential itself, and what it is for."""
        return {"potential": self.potential, "ml": self.ml, "skin": self.skin}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what was written."""
        vars(self).update(state)
        self._template, self._evaluator = self.ml.template(), Evaluator(long_run=True)

    def __call__(self, state: State) -> tuple[float, Float[np.ndarray, "particles 3"]]:
        """Return kJ/mol and kJ/mol/nm.

        Raises:
            ValueError: atoms that coincide, or positions that are not finite.
        """
        atoms = self._placed(positions_of(state), state)
        found = self._evaluator(self.potential, atoms, ("energies", "forces"), self.skin)
        return found["energy"] / ENERGY, found["forces"] * (LENGTH / ENERGY)

    def _placed(self, positions: Float[np.ndarray, "atoms 3"], state: State) -> ase.Atoms:
        # The evaluator keeps the structure that it made its list for.
        atoms = self._template.copy()
        atoms.positions = positions
        if self.ml.periodic:
            atoms.set_cell(box_of(state))
        return atoms


def positions_of(state: State) -> Float[np.ndarray, "particles 3"]:
    """Return the positions of a state, Å."""
    from openmm import unit

    return state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)


def box_of(state: State) -> Float[np.ndarray, "3 3"]:
    """Return the box vectors of a state as rows, Å."""
    from openmm import unit

    return np.array(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom))
