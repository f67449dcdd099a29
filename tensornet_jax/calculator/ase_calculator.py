"""The ASE calculator: a potential behind the interface that ASE's optimizers and dynamics use.

The neighbor list reaches a skin beyond the cutoff and stays on the device; a step sends positions
there and brings energies and forces back. Arrays have the static shape of a `Capacity`, so that
thousands of steps run the same compiled function, and calculators of one model share it.
"""

import copy
import os
from collections.abc import Callable, Sequence
from typing import Any

import ase
import jax.numpy as jnp
import numpy as np
from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)
from ase.stress import full_3x3_to_voigt_6_stress

from tensornet_jax.calculator.neighborhood import Neighborhood, conditions_of, same_charges, within
from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.graph.capacity_ladder import CapacityLadder, is_wasteful
from tensornet_jax.graph.electrons import spin_multiplicity, total_charge, with_state
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.potential.potential import (
    ENERGY_PROPERTIES,
    Potential,
    check_visible,
    dipole_of_position,
)
from tensornet_jax.potential.programs import Program, program_of
from tensornet_jax.properties import PROPERTIES
from tensornet_jax.runtime.compilation_cache import enable_compilation_cache
from tensornet_jax.runtime.forked import check_not_forked

KNOWN_TO_ASE = tuple(row.name for row in PROPERTIES.values() if row.ase)
# Pairs and edge slots a list may gain before the arrays have to grow and the model to compile.
HEADROOM = 1.2
# Evaluations of one set of atoms after which it is worth to compile for arrays that waste less.
LONG_RUN = 1000
WASTE_OF_LONG_RUN = 1.5


class TensorNetCalculator(Calculator):
    """Energy, forces and stress of any model of this package, for ASE.

    One calculation gives all that the model has: `energy`, `free_energy` (the same), `energies`
    (per atom, with isolated-atom energies; they sum to `energy`), `forces`, `stress` (Voigt xx, yy,
    zz, yz, xz, xy in eV/Å³, tensile positive; of structures whose cell has a volume) and, if the
    model has them, `dipole` (of structures that are not periodic), `charges` and its tensors.

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
        compilation_cache: bool = False,
    ) -> None:
        """Load a model.

        Args:
            model: a model file, or a potential.
            dtype: "float32" or "float64" to compute in; None for the model's own.
            skin: Å the neighbor list reaches beyond the cutoff; 0 rebuilds it at every step.
            charge: total charge, e, of structures that do not say it in `atoms.info`.
            spin: multiplicity 2S + 1 of structures that do not say it in `atoms.info`.
            compilation_cache: call `enable_compilation_cache`, so that compiled models are kept in
                the user's cache folder between runs; it concerns all of the process.

        Raises:
            ValueError: negative skin, unknown dtype, an unusable model file, or a charge or spin on
                which nothing that the model predicts depends.
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
        check_visible(potential.config, charge, spin)
        if compilation_cache:
            enable_compilation_cache()
        self.potential = potential
        self.skin = float(skin)
        self.charge, self.spin = charge, spin
        own = [name for name in KNOWN_TO_ASE if name in potential.properties]
        self.implemented_properties = own + [head.name for head in potential.tensor_heads]
        self.num_rebuilds = 0
        # Programs this calculator had to compile; others of the same model may have done the rest.
        self.num_compiles = 0
        self._forget()

    def _forget(self) -> None:
        """Drop what lies on the device or is compiled."""
        self._neighborhood: Neighborhood | None = None
        self._program: Program | None = None
        self._scale: Any = None
        self._run_length = 0

    def __getstate__(self) -> dict[str, Any]:
        """What it takes to make it again elsewhere: potential, settings, results."""
        passing = ("_neighborhood", "_program", "_scale", "_run_length")
        return {name: value for name, value in self.__dict__.items() if name not in passing}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over potential, settings and results."""
        vars(self).update(state)
        _make_read_only(self.results)
        self._forget()

    def __deepcopy__(self, memo: dict[int, Any]) -> "TensorNetCalculator":
        """Return a calculator of its own that shares the potential, which is constant."""
        memo[id(self.potential)] = self.potential
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return copied

    def check_state(self, atoms: ase.Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed since the last calculation, total charge and spin included."""
        # ASE's own comparison does not look into Atoms.info, and takes longer than a small model.
        before = self.atoms
        if before is None:
            return list(all_changes)
        try:
            atoms = self._in_state(atoms)
        except ValueError:
            # For `calculate` to refuse.
            return ["charge", "spin"]
        if len(atoms) != len(before):
            return ["positions", "numbers"]
        changes = [] if within(tol, atoms.positions, before.positions) else ["positions"]
        if conditions_of(atoms) == conditions_of(before):
            return changes
        if not within(tol, atoms.cell.array, before.cell.array):
            changes.append("cell")
        if (atoms.numbers != before.numbers).any():
            changes.append("numbers")
        if (atoms.pbc != before.pbc).any():
            changes.append("pbc")
        if _differs(total_charge, atoms, before):
            changes.append("charge")
        if self.potential.config.needs_spin and _differs(spin_multiplicity, atoms, before):
            changes.append("spin")
        if self.potential.config.needs_charges and not same_charges(atoms, before):
            changes.append("initial_charges")
        return changes

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

    def _computed(self, atoms: ase.Atoms, properties: Sequence[str]) -> dict[str, Any]:
        compute = self._computed_for(properties, atoms)
        outputs, reference_energies = self._evaluate(atoms, compute)
        results: dict[str, Any] = {}
        if "energies" in outputs:
            energies = outputs["energies"] + reference_energies
            total = float(energies.sum())
            results = {"energy": total, "free_energy": total, "energies": energies}
            results["forces"] = outputs["forces"]
        if "stress" in outputs:
            results["stress"] = full_3x3_to_voigt_6_stress(outputs["stress"])
        results |= {name: value for name, value in outputs.items() if name not in ENERGY_PROPERTIES}
        if "dipole" in results:
            # Of the positions as they are given: the graph's are folded into the cell.
            results["dipole"] += dipole_of_position(
                self.potential.config, total_charge(atoms), atoms.positions
            )
        return results

    def get_hessian(self, atoms: ase.Atoms | None = None) -> np.ndarray:
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

    def _computed_for(self, properties: Sequence[str], atoms: ase.Atoms) -> tuple[str, ...]:
        """Return what to ask of the potential: all there is, so that little has to compile."""
        periodic, cell = bool(atoms.pbc.any()), atoms.cell.array
        if not np.isfinite(cell).all():
            raise ValueError(f"the cell is not finite, {cell.tolist()}: set atoms.cell")
        has_volume = bool(cell.any()) and abs(np.linalg.det(cell)) > 0
        compute = []
        for name, row in self.potential.rows.items():
            why_not = row.why_not(periodic=periodic, has_volume=has_volume)
            if why_not is None:
                compute.append(name)
            elif name in properties:
                raise PropertyNotImplementedError(
                    f"{why_not}: change atoms.cell or atoms.pbc, or do not ask for it"
                )
        # Energies of atoms say all, and one gradient gives forces and stress together.
        summed = ("energy", "free_energy")
        return tuple(
            name for name in compute if name in self.implemented_properties and name not in summed
        )

    def _evaluate(
        self, atoms: ase.Atoms, compute: tuple[str, ...]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return float64 arrays without padding and E0, and E0 of each atom."""
        potential, count = self.potential, len(atoms)
        if self._program is None:
            self._program = program_of(potential.module)
        cell, program, neighborhood = atoms.cell.array, self._program, self._neighborhood
        if (
            neighborhood is None
            or self._run_length == LONG_RUN
            or not neighborhood.covers(atoms, potential.list_cutoff)
        ):
            neighborhood = self._rebuild(atoms, program.ladder)
        padded = np.zeros(neighborhood.graph.positions.shape, potential.dtype)
        padded[:count] = neighborhood.local_positions(atoms.positions, cell)
        same = cell.tobytes() == neighborhood.atoms.cell.array.tobytes()
        before = program.num_compiles
        with potential.precision():
            if self._scale is None:
                self._scale = jnp.asarray(potential.energy_scale, potential.dtype)
            outputs = program(
                potential.variables,
                neighborhood.graph,
                padded,
                neighborhood.device_cell if same else cell.astype(potential.dtype),
                self._scale,
                compute,
            )
        self.num_compiles += program.num_compiles - before
        self._run_length += 1
        results = {}
        for name, value in outputs.items():
            rows = np.array(value, np.float64)
            results[name] = rows[:count] if name in potential.per_atom else rows[0]
        return results, neighborhood.reference_energies

    def _rebuild(self, atoms: ase.Atoms, ladder: CapacityLadder) -> Neighborhood:
        former, self._neighborhood = self._neighborhood, None
        structure = self.potential.structure(atoms, skin=self.skin)
        if former is None or not np.array_equal(former.atoms.numbers, atoms.numbers):
            self._run_length = 0
        capacity = ladder.choose([structure], HEADROOM)
        if self._run_length >= LONG_RUN:
            fitting = Capacity.holding([structure], HEADROOM)
            if is_wasteful(capacity, fitting, WASTE_OF_LONG_RUN):
                capacity = ladder.fit([structure], HEADROOM)
        with self.potential.precision():
            graph = to_device(batch_structures([structure], capacity, self.potential.dtype))
        self._neighborhood = Neighborhood.around(
            atoms, structure, graph, self.potential.reference_energies(structure), self.skin
        )
        self.num_rebuilds += 1
        return self._neighborhood


def _differs(what: Callable[[ase.Atoms], Any], atoms: ase.Atoms, before: ase.Atoms) -> bool:
    # What is missing or unusable is for `calculate` to refuse.
    try:
        return what(atoms) != what(before)
    except ValueError:
        return True


def _make_read_only(results: dict[str, Any]) -> None:
    for value in results.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
