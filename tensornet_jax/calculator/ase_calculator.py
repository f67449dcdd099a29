"""The ASE calculator: a potential behind the interface that ASE's optimizers and dynamics use.

The neighbor list reaches a skin beyond the cutoff and stays on the device; a step sends positions
there and brings energies and forces back. Arrays have the static shape of a `Capacity`, so that
thousands of steps run the same compiled function, and calculators of one model share it.
"""

import copy
import os
from collections.abc import Sequence
from typing import Any, Self, TypeAlias

import ase
import numpy as np
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from jaxtyping import Float

from tensornet_jax.calculator.changes import changes_between
from tensornet_jax.calculator.evaluator import Evaluator
from tensornet_jax.calculator.requests import computed_for
from tensornet_jax.graph.electrons import with_state
from tensornet_jax.potential.heads import with_head
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.preparation import check_visible
from tensornet_jax.potential.results import Results, in_voigt_order
from tensornet_jax.properties import DEVIATIONS, PROPERTIES
from tensornet_jax.runtime.compilation_cache import enable_compilation_cache
from tensornet_jax.runtime.forked import check_not_forked

KNOWN_TO_ASE = tuple(row.name for row in PROPERTIES.values() if row.ase)


class Calculator(AseCalculator):
    """Energy, forces and stress of any model of this package, for ASE.

    One calculation gives all that the model has: `energy`, `free_energy` (the same), `energies`
    (per atom, with isolated-atom energies; they sum to `energy`), `forces`, `stress` (Voigt xx, yy,
    zz, yz, xz, xy in eV/Å³, tensile positive; of structures whose cell has a volume) and, if the
    model has them, `dipole` (of structures that are not periodic), `charges` and its tensors.

    A model with an uncertainty (`tensornet-jax uncertainty`) also has their standard deviations:
    `energy_std`, `energies_std`, `forces_std`, `stress_std`. They are computed only where they are
    asked for: `calc.get_property("energy_std", atoms)`.

    The total charge is read from `atoms.info["charge"]` or `["total_charge"]`, default 0; a model
    that depends on the spin needs the multiplicity 2S + 1 in `atoms.info["spin"]`,
    `["spin_multiplicity"]` or `["multiplicity"]`. Both can be given to the calculator instead, for
    all its structures. A model with a Coulomb energy of fixed charges takes them from
    `atoms.set_initial_charges`. A charge, a spin or an element that the model was not trained on
    causes an `OutsideTrainingWarning`, once of each kind; `warnings.simplefilter("ignore",
    OutsideTrainingWarning)` silences it.

    The structures it is given are never changed. Unknown elements, coincident atoms and cells that
    cannot be periodic raise ValueError, and leave a calculator that is as good as new.

    Calculators of one model share what is compiled, so that a new one for each structure costs
    little. They can be pickled and deep-copied, alone or with Atoms that carry them. Several
    threads may use one potential, each with a calculator of its own; see docs/parallel.md.
    """

    # What any model of the package may have; an instance lists what its own model has.
    implemented_properties = list(KNOWN_TO_ASE)  # noqa: RUF012 (as ASE declares it)
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012 (as ASE declares it)

    def __init__(
        self,
        model: str | os.PathLike[str] | Potential,
        dtype: str | None = None,
        skin: float = 0.5,
        *,
        charge: float | None = None,
        spin: int | None = None,
        head: str | None = None,
        compilation_cache: bool = False,
    ) -> None:
        """Load a model.

        Args:
            model: a model file, or a potential.
            dtype: "float32" or "float64" to compute in; None for the model's own.
            skin: Å the neighbor list reaches beyond the cutoff; 0 rebuilds it at every step.
            charge: total charge, e, of structures that do not say it in `atoms.info`.
            spin: multiplicity 2S + 1 of structures that do not say it in `atoms.info`.
            head: of a model with several heads, the level of theory that is meant.
            compilation_cache: call `enable_compilation_cache`, so that compiled models are kept in
                the user's cache folder between runs; it concerns all of the process.

        Raises:
            ValueError: negative skin, unknown dtype, an unusable model file, a charge or spin on
                which nothing that the model predicts depends, an unknown head, or none where there
                are several.
            ForkedError: this process was forked after JAX had started.
        """
        # First: it resets what every calculator has, results included.
        super().__init__()
        if not (np.isfinite(skin) and skin >= 0):
            raise ValueError(f"skin must be a length of 0 Å or more, not {skin}")
        if isinstance(model, Potential):
            potential = model if dtype in (None, model.dtype) else model.astype(dtype)
        else:
            potential = load_model(model, dtype)
        potential = with_head(potential, head)
        check_visible(potential.config, charge, spin)
        if compilation_cache:
            enable_compilation_cache()
        self.potential = potential
        self.skin = float(skin)
        self.charge, self.spin = charge, spin
        own = [name for name in KNOWN_TO_ASE if name in potential.properties]
        deviations = [name for name in DEVIATIONS if name in potential.properties]
        heads = [head.name for head in potential.tensor_heads]
        self.implemented_properties = [*own, *heads, *deviations]
        self._evaluator = Evaluator()

    @property
    def num_rebuilds(self) -> int:
        """How often a neighbor list was made."""
        return self._evaluator.num_rebuilds

    @property
    def num_compiles(self) -> int:
        """How many programs it had to compile; others of the same model may have done the rest."""
        return self._evaluator.num_compiles

    def _get_name(self) -> str:
        # What databases and trajectories have it by.
        return "tensornetcalculator"

    def __getstate__(self) -> dict[str, Any]:
        """What it takes to make it again elsewhere: potential, settings, results."""
        state = {name: value for name, value in vars(self).items() if name != "_evaluator"}
        return state | {"num_rebuilds": self.num_rebuilds, "num_compiles": self.num_compiles}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over potential, settings and results."""
        counts = {name: state[name] for name in ("num_rebuilds", "num_compiles")}
        vars(self).update({name: state[name] for name in state if name not in counts})
        _make_read_only(self.results)
        self._evaluator = Evaluator(**counts)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Return a calculator of its own that shares the potential, which is constant."""
        memo[id(self.potential)] = self.potential
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied

    def check_state(self, atoms: ase.Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed since the last calculation, total charge and spin included."""
        if self.atoms is None:
            return list(all_changes)
        try:
            atoms = self._in_state(atoms)
        except ValueError:
            # They cause an error in `calculate`.
            return ["charge", "spin"]
        return changes_between(self.atoms, atoms, self.potential.config, tol)

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute all properties of a structure into `self.results`.

        Arrays in the results are read-only; ASE's getters return copies. After an exception there
        are no results, and the calculator can be used as before.

        Args:
            atoms: the structure; by default the one of the last calculation.
            properties: what must be among the results.
            system_changes: as ASE passes it; not looked at.

        Raises:
            PropertyNotImplementedError: stress without a volume, dipole of a periodic structure.
            ValueError: unknown element, coincident atoms, a cell that cannot be periodic, or a
                charge or spin that the structure cannot have or the model cannot see.
            ForkedError: this process was forked after JAX had started.
        """
        check_not_forked()
        # What ASE's own method does besides concerns a folder for files, of which there are none.
        given, self.atoms, self.results = self.atoms if atoms is None else atoms, None, {}
        if given is None:
            raise ValueError("no structure to compute: pass atoms")
        given = self._in_state(given).copy()
        results = self._computed(given, properties)
        _make_read_only(results)
        self.atoms, self.results = given, results

    def _computed(self, atoms: ase.Atoms, properties: Sequence[str]) -> Results:
        compute = computed_for(atoms, properties, self.potential.rows, self.implemented_properties)
        return in_voigt_order(self._evaluator(self.potential, atoms, compute, self.skin))

    def get_hessian(
        self, atoms: ase.Atoms | None = None
    ) -> Float[np.ndarray, "coordinates coordinates"]:
        """Second derivatives of the energy by the positions, (3N, 3N) eV/Å².

        Row and column 3i + a belong to component a (x, y, z) of atom i: a script that has an array
        (3N, N, 3) from elsewhere gets it by `.reshape(3 * N, N, 3)`. Of a periodic structure it is
        the one at the Γ point, all images of an atom moving together. Constraints are ignored.

        Args:
            atoms: the structure, not changed; by default the one of the last calculation.

        Raises:
            PropertyNotImplementedError: the model has no energy.
            ValueError: as `calculate`.
        """
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise ValueError("no structure to compute: pass atoms")
        if "energy" not in self.implemented_properties:
            raise PropertyNotImplementedError("this model has no energy, and so no Hessian")
        (found,) = self.potential.evaluate(self._in_state(atoms), ("hessian",))
        return found["hessian"]

    def _in_state(self, atoms: ase.Atoms) -> ase.Atoms:
        """Return a structure with the calculator's charge and spin, itself if there are none."""
        if self.charge is None and self.spin is None:
            return atoms
        return with_state(atoms, self.charge, self.spin)


def _make_read_only(results: Results) -> None:
    for value in results.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False


TensorNetCalculator: TypeAlias = Calculator
"""The name of `Calculator` in scripts, and in pickles of earlier versions."""
