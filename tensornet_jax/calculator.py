"""The ASE calculator: a potential behind the interface that ASE's optimisers and dynamics use.

The neighbour list reaches a skin beyond the cutoff and stays on the device; a step sends positions
there and brings energies and forces back. Arrays have the static shape of a `Capacity`, so that
thousands of steps run the same compiled function.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ase
import jax
import numpy as np
from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)
from ase.stress import full_3x3_to_voigt_6_stress

from tensornet_jax.compilation_cache import enable_compilation_cache
from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures, to_device
from tensornet_jax.graph.electrons import total_charge, with_state
from tensornet_jax.graph.long_range import STRETCH
from tensornet_jax.graph.structure import Structure
from tensornet_jax.model_file import load_model
from tensornet_jax.potential import Potential, check_visible, dipole_of_position

PROPERTIES = ("energy", "free_energy", "energies", "forces", "stress", "dipole", "charges")
# Pairs and edge slots a list may gain before the arrays have to grow and the model to compile.
HEADROOM = 1.2
# A capacity compiled for a larger structure is used again up to this many times the atoms needed.
LARGEST_WASTE = 2.0


class TensorNetCalculator(Calculator):
    """Energy, forces and stress of any model of this package, for ASE.

    Computes `energy`, `free_energy` (the same), `energies` (per atom, with isolated-atom energies;
    they sum to `energy`), `forces`, `stress` (Voigt xx, yy, zz, yz, xz, xy in eV/Å³, tensile
    positive; needs a cell with a volume) and, if the model has them, `dipole` (of structures that
    are not periodic) and `charges`. The total charge is read from `atoms.info["charge"]`, default
    0; a model that depends on the spin needs the multiplicity 2S + 1 in `atoms.info["spin"]`. Both
    can be given to the calculator instead, for all its structures. A model with a Coulomb energy of
    fixed charges takes them from `atoms.set_initial_charges`.

    The structures it is given are never changed. Unknown elements, coincident atoms and cells that
    cannot be periodic raise ValueError.
    """

    # What any model of the package may have; an instance lists what its own model has.
    implemented_properties = list(PROPERTIES)  # noqa: RUF012 (as ASE declares it)
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012 (as ASE declares it)

    def __init__(
        self,
        model: str | os.PathLike[str] | Potential,
        dtype: str | None = None,
        skin: float = 0.5,
        *,
        charge: float | None = None,
        spin: int | None = None,
        compilation_cache: bool = True,
    ) -> None:
        """Load a model.

        Args:
            model: a model file, or a potential.
            dtype: "float32" or "float64" to compute in; None for the model's own.
            skin: Å the neighbour list reaches beyond the cutoff; 0 rebuilds it at every step.
            charge: total charge, e, of structures that do not say it in `atoms.info`.
            spin: multiplicity 2S + 1 of structures that do not say it in `atoms.info`.
            compilation_cache: keep compiled models in the user's cache folder, see
                `enable_compilation_cache`.

        Raises:
            ValueError: negative skin, unknown dtype, an unusable model file, or a charge or spin on
                which nothing that the model predicts depends.
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
        tensors = [head.name for head in potential.tensor_heads]
        self._others = ("charges", *tensors)
        own = [name for name in PROPERTIES if name in potential.properties]
        self.implemented_properties = own + tensors
        self.num_rebuilds = 0
        self._neighbourhood: _Neighbourhood | None = None
        self._evaluator = _Evaluator(potential)
        self._capacities: list[Capacity] = []

    @property
    def num_compiles(self) -> int:
        """How often the model has been compiled: once for each capacity and set of properties."""
        return self._evaluator.num_compiles

    def __deepcopy__(self, memo: dict[int, Any]) -> "TensorNetCalculator":
        """Return a calculator without results that shares model and compiled functions."""
        # ASE users deep-copy Atoms together with their calculator; device arrays and compiled
        # functions are constant and need not be copied.
        copied = type(self)(
            self.potential,
            skin=self.skin,
            charge=self.charge,
            spin=self.spin,
            compilation_cache=False,
        )
        copied._evaluator = self._evaluator
        copied._capacities = list(self._capacities)
        return copied

    def check_state(self, atoms: ase.Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed since the last calculation, total charge and spin included."""
        # ASE's own comparison does not look into Atoms.info, and takes longer than a small model.
        before = self.atoms
        if before is None:
            return list(all_changes)
        atoms = self._in_state(atoms)
        if len(atoms) != len(before):
            return ["positions", "numbers"]
        changes = [] if _within(tol, atoms.positions, before.positions) else ["positions"]
        if _conditions(atoms) == _conditions(before):
            return changes
        if not _within(tol, atoms.cell.array, before.cell.array):
            changes.append("cell")
        if (atoms.numbers != before.numbers).any():
            changes.append("numbers")
        if (atoms.pbc != before.pbc).any():
            changes.append("pbc")
        if total_charge(atoms) != total_charge(before):
            changes.append("charge")
        if self.potential.config.needs_spin and _spin_changed(atoms, before):
            changes.append("spin")
        if self.potential.config.needs_charges and not _same_charges(atoms, before):
            changes.append("initial_charges")
        return changes

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute properties of a structure into `self.results`.

        Energies alone cost no gradient; forces and stress come together. Arrays in the results
        are read-only; ASE's getters return copies.

        Raises:
            PropertyNotImplementedError: stress without a volume, dipole of a periodic structure.
            ValueError: unknown element, coincident atoms, a cell that cannot be periodic, or a
                charge or spin that the structure cannot have or the model cannot see.
        """
        # What ASE's own method does besides concerns a folder for files, of which there are none.
        if atoms is not None:
            self.atoms = self._in_state(atoms).copy()
        atoms = self.atoms
        if atoms is None:
            raise ValueError("no structure to compute: pass atoms")
        self.results = {}
        cell = atoms.cell.array
        has_volume = bool(cell.any()) and abs(np.linalg.det(cell)) > 0
        compute = self._computed_for(properties, has_volume, bool(atoms.pbc.any()))

        neighbourhood = self._neighbourhood
        if neighbourhood is None or not neighbourhood.covers(atoms, self.potential.list_cutoff):
            # Nothing stale may stay behind if the new structure is refused.
            self._neighbourhood = None
            neighbourhood = self._rebuild(atoms)
        outputs = self._evaluator(neighbourhood, atoms.positions, cell, compute)

        results: dict[str, Any] = {}
        if "energies" in outputs:
            energies = outputs["energies"] + neighbourhood.reference_energies
            total = float(energies.sum())
            results = {"energy": total, "free_energy": total, "energies": energies}
        if "forces" in outputs:
            results["forces"] = outputs["forces"]
        if "stress" in outputs:
            results["stress"] = full_3x3_to_voigt_6_stress(outputs["stress"])
        for name in ("dipole", *self._others):
            if name in outputs:
                results[name] = outputs[name]
        if "dipole" in results:
            # Of the positions as they are given: the graph's are folded into the cell.
            results["dipole"] += dipole_of_position(
                self.potential.config, total_charge(atoms), atoms.positions
            )
        for value in results.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        self.results = results

    def _in_state(self, atoms: ase.Atoms) -> ase.Atoms:
        """Return a structure with the calculator's charge and spin, itself if there are none."""
        if self.charge is None and self.spin is None:
            return atoms
        return with_state(atoms, self.charge, self.spin)

    def _computed_for(
        self, properties: Sequence[str], has_volume: bool, periodic: bool
    ) -> tuple[str, ...]:
        """Return what to ask of the potential: one of two sets a structure, to compile seldom."""
        if "stress" in properties and not has_volume:
            raise PropertyNotImplementedError(
                "stress needs a cell with a volume: set atoms.cell, or do not ask for it"
            )
        if "dipole" in properties and periodic:
            raise PropertyNotImplementedError(
                "the dipole moment of a periodic structure has no meaning: set atoms.pbc to False"
            )
        compute = []
        if "energy" in self.implemented_properties:
            compute.append("energies")
            if {"forces", "stress"} & set(properties):
                # Both come out of one gradient, and dynamics at constant pressure asks for both.
                compute += ["forces", "stress"] if has_volume else ["forces"]
        if "dipole" in self.implemented_properties and not periodic:
            compute.append("dipole")
        compute += [name for name in self._others if name in self.implemented_properties]
        return tuple(compute)

    def _rebuild(self, atoms: ase.Atoms) -> "_Neighbourhood":
        structure = self.potential.structure(atoms, skin=self.skin)
        capacity = self._capacity_for(structure)
        with self.potential.precision():
            graph = to_device(batch_structures([structure], capacity, self.potential.dtype))
        self._neighbourhood = _Neighbourhood.around(
            atoms, structure, graph, self.potential.reference_energies(structure), self.skin
        )
        self.num_rebuilds += 1
        return self._neighbourhood

    def _capacity_for(self, structure: Structure) -> Capacity:
        """Return a capacity that has been compiled for if one fits, else a new one."""
        tight = Capacity.holding([structure])
        for capacity in sorted(self._capacities):
            wasteful = any(
                size > LARGEST_WASTE * needed for size, needed in zip(capacity, tight, strict=True)
            )
            if capacity.holds([structure]) and not wasteful:
                return capacity
        capacity = Capacity.holding([structure], headroom=HEADROOM)
        self._capacities.append(capacity)
        return capacity


def _within(tol: float, new: np.ndarray, old: np.ndarray) -> bool:
    # Written so that NaN counts as a change. Here and below numpy's ufuncs are called directly: a
    # step of dynamics comes by after the model has emptied the processor's caches, when every layer
    # of Python in between costs several times what it does in a tight loop.
    return bool(np.maximum.reduce(np.abs(new - old), axis=None, initial=0.0) <= tol)


def _conditions(atoms: ase.Atoms) -> tuple[Any, ...]:
    """Return all but the positions that results depend on, quick to make and to compare."""
    charges = atoms.arrays.get("initial_charges")
    return (
        atoms.numbers.tobytes(),
        atoms.pbc.tobytes(),
        atoms.cell.array.tobytes(),
        total_charge(atoms),
        # Not every potential looks at it, so it may be anything.
        repr(atoms.info.get("spin")),
        None if charges is None else charges.tobytes(),
    )


@dataclass(frozen=True)
class _Neighbourhood:
    """A neighbour list on the device, and what is needed to tell how long it stays valid.

    atoms: the structure it was made for.
    conditions: its `_conditions`.
    needs_spin: whether the potential depends on the spin.
    graph: its padded graph.
    device_cell: (3, 3) Å its cell, on the device.
    reference_energies: (N,) float64 eV.
    reach: Å the list reaches beyond the cutoff.
    images: (N, 3) lattice vectors taken off each position so that it lies in the cell.
    inverse: (3, 3) pseudo-inverse of the periodic lattice vectors, 0 along the open ones.
    start: (N, 3) Å its `local_positions`.
    """

    atoms: ase.Atoms
    conditions: tuple[Any, ...]
    needs_spin: bool
    graph: AtomGraph
    device_cell: jax.Array
    reference_energies: np.ndarray
    reach: float
    images: np.ndarray
    inverse: np.ndarray
    start: np.ndarray

    @classmethod
    def around(
        cls,
        atoms: ase.Atoms,
        structure: Structure,
        graph: AtomGraph,
        reference_energies: np.ndarray,
        reach: float,
    ) -> "_Neighbourhood":
        inverse = np.zeros((3, 3))
        inverse[:, atoms.pbc] = np.linalg.pinv(structure.cell[atoms.pbc])
        images = np.rint((atoms.positions - structure.positions) @ inverse)
        return cls(
            atoms,
            _conditions(atoms),
            structure.spin > 0,
            graph,
            graph.cell[0],
            reference_energies,
            reach,
            images,
            inverse,
            _local_positions(atoms.positions, images, atoms.cell.array),
        )

    def local_positions(self, positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """Return (N, 3) positions the graph's shifts refer to, relative to their mean, Å."""
        return _local_positions(positions, self.images, cell)

    def covers(self, atoms: ase.Atoms, cutoff: float) -> bool:
        """Tell whether the list still holds every pair within the cutoff, and every wave.

        With F the deformation of the lattice and u what atoms moved besides, a vector v became
        vF + u_j − u_i. One not in the list was at least cutoff + reach long, and is now at least
        σ_min(F)·(cutoff + reach) − 2 max|u| long. u leaves out what all atoms moved together.
        """
        before, now = self.atoms, atoms.cell.array
        affine, shrinkage = self.start, 1.0
        if _conditions(atoms) != self.conditions:
            if (
                len(atoms) != len(before)
                or (atoms.numbers != before.numbers).any()
                or (atoms.pbc != before.pbc).any()
                or total_charge(atoms) != total_charge(before)
                or (self.needs_spin and _spin_changed(atoms, before))
                or (self.graph.initial_charges is not None and not _same_charges(atoms, before))
            ):
                return False
            deformation = np.eye(3) + self.inverse @ (now - before.cell.array)
            stretches = np.linalg.svd(deformation, compute_uv=False)
            if self.graph.waves is not None and stretches[0] > STRETCH:
                return False
            shrinkage = stretches[-1]
            affine = affine @ deformation
        if len(atoms) == 0:
            return True
        moved = self.local_positions(atoms.positions, now) - affine
        farthest = np.sqrt(np.maximum.reduce(np.add.reduce(moved * moved, axis=1)))
        return bool(shrinkage * (cutoff + self.reach) - 2 * farthest >= cutoff)


def _local_positions(positions: np.ndarray, images: np.ndarray, cell: np.ndarray) -> np.ndarray:
    # Relative to the mean of now: a molecule that has drifted far keeps its digits in float32.
    inside = positions - images @ cell
    return inside - np.add.reduce(inside, axis=0) / max(len(inside), 1)


def _spin_changed(atoms: ase.Atoms, before: ase.Atoms) -> bool:
    # One that is missing is for `calculate` to refuse.
    now, then = atoms.info.get("spin"), before.info.get("spin")
    return now is None or then is None or bool(np.any(now != then))


def _same_charges(atoms: ase.Atoms, before: ase.Atoms) -> bool:
    return np.array_equal(atoms.get_initial_charges(), before.get_initial_charges())


class _Evaluator:
    """The compiled function of one potential; counts how often it was compiled."""

    def __init__(self, potential: Potential) -> None:
        self.potential = potential
        self.num_compiles = 0
        self._run = jax.jit(self._traced, static_argnames="compute")

    def _traced(
        self,
        variables: dict[str, Any],
        graph: AtomGraph,
        positions: jax.Array,
        cell: jax.Array,
        compute: tuple[str, ...],
    ) -> dict[str, jax.Array]:
        # Python runs this only while JAX traces, once for every set of shapes and properties.
        self.num_compiles += 1
        graph = graph.replace(positions=positions, cell=cell[None])
        outputs = self.potential.predict(variables, graph, compute)
        return {name: outputs[name] for name in compute}

    def __call__(
        self,
        neighbourhood: _Neighbourhood,
        positions: np.ndarray,
        cell: np.ndarray,
        compute: tuple[str, ...],
    ) -> dict[str, np.ndarray]:
        """Return float64 arrays of the properties, padding removed, E0 not yet added."""
        potential = self.potential
        count = len(positions)
        padded = np.zeros(neighbourhood.graph.positions.shape, potential.dtype)
        padded[:count] = neighbourhood.local_positions(positions, cell)
        same = cell.tobytes() == neighbourhood.atoms.cell.array.tobytes()
        with potential.precision():
            outputs = self._run(
                potential.variables,
                neighbourhood.graph,
                padded,
                neighbourhood.device_cell if same else cell.astype(potential.dtype),
                compute=compute,
            )
        results = {}
        for name, value in outputs.items():
            rows = np.array(value, np.float64)
            results[name] = rows[:count] if name in potential.per_atom else rows[0]
        return results
