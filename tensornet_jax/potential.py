"""From a model's per-atom energies to energy, forces, stress and Hessian of real structures."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import ase
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols
from jax import Array

from tensornet_jax.config import Config
from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures, to_device
from tensornet_jax.graph.structure import Structure, make_structure
from tensornet_jax.models import MODELS
from tensornet_jax.models.common import ModelConfig
from tensornet_jax.models.tensor_config import TensorHead
from tensornet_jax.precision import precision_scope
from tensornet_jax.prediction import hessian_jit, predict, predict_jit

ENERGY_PROPERTIES = ("energy", "free_energy", "energies", "forces", "stress", "hessian")

ATOMS_PER_BATCH = 2048
"""Atoms `Potential.evaluate` packs into one call when no batch size is given."""


@dataclass(frozen=True)
class ElementTable:
    """The elements of a model and the energies of their isolated atoms.

    numbers: atomic numbers; the position in the tuple is the species index.
    reference_energies: (S,) float64 eV.
    """

    numbers: tuple[int, ...]
    reference_energies: np.ndarray

    def __post_init__(self) -> None:
        energies = np.array(self.reference_energies, np.float64)
        if len(set(self.numbers)) != len(self.numbers):
            raise ValueError(f"element table {self.numbers} names an element twice")
        if energies.shape != (len(self.numbers),) or not np.isfinite(energies).all():
            raise ValueError(
                f"{len(self.numbers)} elements need as many finite reference energies, "
                f"got {energies.tolist()}"
            )
        object.__setattr__(self, "reference_energies", energies)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the table."""
        return tuple(chemical_symbols[number] for number in self.numbers)


@dataclass(frozen=True)
class Potential:
    """A model with its parameters, ready to evaluate structures.

    energy = energy_scale · Σ_i (network output of atom i) + priors + energy_offset + Σ_i E0(i).
    The network never sees the E0: they are added on the host in float64, since float32 resolves
    only 2 meV at −17 000 eV. Priors, and Coulomb energies of charges a model predicts, are in eV
    and not scaled.

    config: the model's hyperparameters; ``config.name`` is a key of ``MODELS``.
    variables: {"params": …, "buffers": …} as flax has them, in ``dtype``.
    elements: element table with isolated-atom energies.
    energy_scale: eV per unit of network output.
    energy_offset: eV per structure (torchmd-net's ``mean``; 0 for models trained here).
    dtype: "float32" or "float64".
    metadata: free text about the model's origin, saved with it.
    """

    config: Any
    variables: dict[str, Any]
    elements: ElementTable
    energy_scale: float = 1.0
    energy_offset: float = 0.0
    dtype: str = "float32"
    metadata: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def module(self) -> nn.Module:
        """The flax module of this potential."""
        return MODELS[self.config.name][1](self.config, self.elements.numbers, self.dtype)

    @property
    def cutoff(self) -> float:
        """Cutoff radius of the network, Å."""
        return float(self.config.cutoff)

    @property
    def list_cutoff(self) -> float:
        """Longest cutoff of its lists of pairs that an atom can cross, Å."""
        far = self.config.long_range
        reaches = () if far is None else (far.molecule, far.periodic)
        return max([self.cutoff, *(reach for reach in reaches if np.isfinite(reach))])

    @property
    def heads(self) -> tuple[str, ...]:
        """What the model predicts besides derivatives."""
        return tuple(self.config.heads)

    @property
    def properties(self) -> tuple[str, ...]:
        """What `evaluate` can compute."""
        energy = ENERGY_PROPERTIES if "energy" in self.heads else ()
        charges = ("charges",) if self.config.predicts_charges else ()
        dipole = ("dipole", "polar_tensors") if "dipole" in self.heads else ()
        return energy + dipole + charges + tuple(head.name for head in self.tensor_heads)

    @property
    def tensor_heads(self) -> tuple[TensorHead, ...]:
        """The tensors it predicts."""
        return tuple(self.config.tensors)

    @property
    def per_atom(self) -> frozenset[str]:
        """Those of `properties` that have a value for each atom, (N, …)."""
        own = (head.name for head in self.tensor_heads if head.per == "atom")
        possible = {"energies", "forces", "charges", "polar_tensors", *own}
        return frozenset(possible & {*self.properties})

    @property
    def num_parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.variables["params"]))

    def variable_shapes(self) -> dict[str, Any]:
        """Shapes and dtypes of the variables that the module makes; computes nothing."""
        with self.precision():
            made = jax.eval_shape(self.module.init, jax.random.key(0), self.blank_graph())
        return {"params": {}, "buffers": {}, **made}

    def precision(self) -> AbstractContextManager[None]:
        """Scope in which every JAX computation with this potential has to happen."""
        return precision_scope(self.dtype)

    def replace(self, **changes: Any) -> "Potential":
        """Return a copy with some attributes replaced."""
        return replace(self, **changes)

    def astype(self, dtype: str) -> "Potential":
        """Return the same potential computing in another precision."""
        with precision_scope(dtype):
            variables = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), dtype), self.variables)
        return self.replace(variables=variables, dtype=dtype)

    def structure(self, atoms: ase.Atoms, where: str = "", skin: float = 0.0) -> Structure:
        """Prepare one structure; ``skin`` widens the neighbour lists, in Å."""
        return prepare_structure(self.config, self.elements.numbers, atoms, where, skin)

    def blank_graph(self) -> AtomGraph:
        """Return the graph of no structure, for what depends on no structure, as numpy arrays."""
        capacity = Capacity.holding([])
        if self.config.long_cutoff is not None:
            capacity = capacity._replace(long_pairs=capacity.pairs, long_slots=capacity.slots)
        return batch_structures([], capacity, self.dtype)

    def reference_energies(self, structure: Structure) -> np.ndarray:
        """E0 of each atom plus its share of the offset, (N,) float64 eV."""
        offset = self.energy_offset / max(len(structure), 1)
        return self.elements.reference_energies[structure.species] + offset

    def predict(
        self, variables: dict[str, Any], graph: AtomGraph, compute: Iterable[str]
    ) -> dict[str, Array]:
        """Properties of a padded graph without E0 and offset; see `predict`."""
        return predict(self.module, variables, graph, tuple(compute), self.energy_scale)

    def evaluate(
        self,
        structures: ase.Atoms | Sequence[ase.Atoms],
        compute: Sequence[str] = ("energy", "forces"),
        batch_size: int | None = None,
    ) -> list[dict[str, Any]]:
        """Evaluate structures, however many and of whatever sizes.

        The total charge is read from ``atoms.info["charge"]`` (e, default 0), and, where the model
        depends on it, the spin multiplicity from ``atoms.info["spin"]`` (2S + 1).

        Args:
            structures: one structure or several; not changed.
            compute: any of `properties`: "energy" (eV), "energies" per atom (N,) eV, "forces"
                (N, 3) eV/Å, "stress" (3, 3) eV/Å³, "dipole" (3,) e·Å, "charges" (N,) e,
                "polar_tensors" (N, 3, 3) e, ∂μ_a/∂r_ib at [i, a, b], "hessian" (3N, 3N) eV/Å²,
                and the tensors of `tensor_heads` by name, (3, …) or (N, 3, …) in their units.
                Energies include E0.
            batch_size: structures evaluated at a time; by default as many as fill
                ``ATOMS_PER_BATCH`` atoms.

        Returns:
            one dict per structure in the order given, float64 arrays (energies are floats).

        Raises:
            ValueError: unknown property or element, stress without a volume, dipole of a periodic
                structure.
        """
        atoms_list = [structures] if isinstance(structures, ase.Atoms) else list(structures)
        compute = self._checked(compute)
        prepared = []
        for index, atoms in enumerate(atoms_list):
            where = f" (structure {index})" if len(atoms_list) > 1 else ""
            structure = self.structure(atoms, where)
            _check_physics(structure, compute, where)
            prepared.append(structure)
        results: list[dict[str, Any]] = [{} for _ in prepared]
        batched = tuple(name for name in compute if name != "hessian")
        if batched:
            for chosen in _packs([len(s) for s in prepared], batch_size):
                outputs = self._evaluate_batch([prepared[k] for k in chosen], batched)
                for k, output in zip(chosen, outputs, strict=True):
                    results[k].update(output)
        if "hessian" in compute:
            for structure, result in zip(prepared, results, strict=True):
                result["hessian"] = self._hessian(structure)
        return results

    def _checked(self, compute: Sequence[str]) -> tuple[str, ...]:
        names = (compute,) if isinstance(compute, str) else tuple(compute)
        for name in names:
            if name not in self.properties:
                raise ValueError(
                    f"this model has no {name!r}; it predicts {', '.join(self.properties)}"
                )
        return names

    def _evaluate_batch(
        self, structures: Sequence[Structure], compute: tuple[str, ...]
    ) -> list[dict[str, Any]]:
        # The number of structures is on the ladder too, or fifty batch sizes would compile fifty
        # times.
        capacity = Capacity.holding(structures)
        capacity = capacity._replace(graphs=_power_of_two(capacity.graphs))
        computed_from_energies = set(ENERGY_PROPERTIES) - {"forces", "stress"}
        others = tuple(sorted(set(compute) - computed_from_energies))
        energy = {"energy", "free_energy", "energies"} & set(compute)
        wanted = (("energies",) if energy else ()) + others
        with self.precision():
            graph = to_device(batch_structures(structures, capacity, self.dtype))
            scale = jnp.asarray(self.energy_scale, self.dtype)
            outputs = predict_jit(self.module, self.variables, graph, wanted, scale)
            outputs = {name: np.asarray(value, np.float64) for name, value in outputs.items()}
        results, start = [], 0
        for index, structure in enumerate(structures):
            atoms = slice(start, start + len(structure))
            start = atoms.stop
            found: dict[str, Any] = {}
            if "energies" in outputs:
                energies = outputs["energies"][atoms] + self.reference_energies(structure)
                total = float(energies.sum())
                found |= {"energies": energies, "energy": total, "free_energy": total}
            for name in others:
                found[name] = outputs[name][atoms if name in self.per_atom else index]
            charge, positions = structure.charge, structure.positions
            if "dipole" in found:
                moment = dipole_of_position(self.config, charge, positions)
                found["dipole"] = found["dipole"] + moment
            if "polar_tensors" in found and self.config.has_atomic_dipoles:
                share = charge / max(len(structure), 1) * np.eye(3)
                found["polar_tensors"] = found["polar_tensors"] + share
            results.append({name: found[name] for name in compute})
        return results

    def _hessian(self, structure: Structure) -> np.ndarray:
        capacity = Capacity.holding([structure])
        with self.precision():
            graph = to_device(batch_structures([structure], capacity, self.dtype))
            scale = jnp.asarray(self.energy_scale, self.dtype)
            size = 3 * len(structure)
            rows = hessian_jit(self.module, self.variables, graph, scale)
            return np.asarray(rows, np.float64)[:size, :size]


def prepare_structure(
    config: ModelConfig,
    numbers: Sequence[int],
    atoms: ase.Atoms,
    where: str = "",
    skin: float = 0.0,
) -> Structure:
    """Prepare a structure for a model: lists of pairs, charges and spin, as far as it needs them.

    Args:
        config: of the model.
        numbers: element table.
        atoms: the structure; not changed.
        where: how messages name the structure.
        skin: Å the lists reach beyond their cutoffs.

    Raises:
        ValueError: what `make_structure` refuses, or a charge that the model cannot see.
    """
    structure = make_structure(
        atoms,
        numbers,
        config.cutoff,
        where,
        long_range=config.long_range,
        charged=config.needs_charges,
        with_spin=config.needs_spin,
        skin=skin,
    )
    check_visible(config, structure.charge, None, where)
    return structure


def check_visible(
    config: ModelConfig, charge: float | None, spin: int | None, where: str = ""
) -> None:
    """Raise ValueError where a model is asked for a charge or a spin on which nothing depends.

    Args:
        config: of the model.
        charge: total charge, e; 0 and None ask for nothing.
        spin: multiplicity; None asks for nothing.
        where: how the message names the structure.
    """
    blind = {"charge": charge and not config.sees_charge, "spin": spin and not config.needs_spin}
    for name, asked in (("charge", charge), ("spin", spin)):
        if blind[name]:
            raise ValueError(
                f"{name} {asked:g}{where}: nothing this model ({config.name}) predicts depends on "
                f"the {name}; train one with {name} in model.electronic_state, or, if the {name} "
                "does not matter, leave it out of the structure"
            )


def dipole_of_position(config: ModelConfig, charge: float, positions: np.ndarray) -> np.ndarray:
    """What a predicted dipole moment lacks, (3,) e·Å: total charge times mean position.

    Atomic dipoles and conserved charges give the moment about the mean of the positions, and data
    about the origin of the coordinates. Charges alone (torchmd-net) have it about the centre of
    mass, and stay there.

    Args:
        config: of the model.
        charge: total charge, e.
        positions: (N, 3) Å.
    """
    if not (config.has_atomic_dipoles and charge and len(positions)):
        return np.zeros(3)
    return charge * positions.mean(axis=0)


def create_potential(
    config: Config,
    elements: ElementTable,
    *,
    seed: int,
    dtype: str = "float32",
    energy_scale: float = 1.0,
    energy_offset: float = 0.0,
) -> Potential:
    """Return an untrained potential with random parameters.

    Args:
        config: a model's configuration.
        elements: elements it is to know.
        seed: of the random parameters.
        dtype: "float32" or "float64".
        energy_scale: eV per unit of network output, e.g. the RMS force times 1 Å.
        energy_offset: eV per structure.
    """
    potential = Potential(config, {}, elements, energy_scale, energy_offset, dtype)
    with potential.precision():
        graph = to_device(potential.blank_graph())
        # It runs once, so that optimising it would take longer than it can save.
        initialise = jax.jit(
            potential.module.init, compiler_options={"xla_backend_optimization_level": 0}
        )
        variables = initialise(jax.random.key(seed), graph)
    return potential.replace(variables={"params": {}, "buffers": {}, **variables})


def _check_physics(structure: Structure, compute: Sequence[str], where: str) -> None:
    if "stress" in compute and abs(np.linalg.det(structure.cell)) == 0:
        raise ValueError(f"stress needs a cell with a volume{where}: leave it out or set a cell")
    if {"dipole", "polar_tensors"} & {*compute} and structure.pbc.any():
        raise ValueError(f"the dipole moment of a periodic structure has no meaning{where}")


def _packs(sizes: Sequence[int], batch_size: int | None) -> list[list[int]]:
    """Indices of structures to evaluate together, of like size so that little is padding."""
    order = sorted(range(len(sizes)), key=lambda k: sizes[k])
    packs: list[list[int]] = []
    atoms = 0
    for k in order:
        full = not packs or (
            len(packs[-1]) >= batch_size if batch_size else atoms + sizes[k] > ATOMS_PER_BATCH
        )
        if full:
            packs.append([])
            atoms = 0
        packs[-1].append(k)
        atoms += sizes[k]
    return packs


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
