"""From a model's per-atom energies to energy, forces, stress and Hessian of real structures."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache

import ase
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures, to_device
from tensornet_jax.graph.capacity_ladder import CapacityLadder, packs
from tensornet_jax.graph.structure import Structure
from tensornet_jax.models.committee import network_of
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.models.heads.levels import LEVEL_SCALES
from tensornet_jax.models.heads.tensor_config import TensorHead
from tensornet_jax.potential.element_table import ElementTable
from tensornet_jax.potential.evaluation import evaluate_packs
from tensornet_jax.potential.prediction import hessian_jit, predict
from tensornet_jax.potential.preparation import check_visible, prepare_structure
from tensornet_jax.potential.programs import program_of
from tensornet_jax.potential.results import Assembly, Results
from tensornet_jax.potential.trained_on import Metadata, Watch
from tensornet_jax.potential.uncertainty.deviations import COLLECTION
from tensornet_jax.potential.variables import Outputs, Variables
from tensornet_jax.properties import DEVIATIONS, PROPERTIES, Property
from tensornet_jax.runtime.devices import ONE_DEVICE, Devices
from tensornet_jax.runtime.forked import check_not_forked, is_forked
from tensornet_jax.runtime.precision import precision_scope

__all__ = [
    "ATOMS_PER_BATCH",
    "ENERGY_PROPERTIES",
    "ElementTable",
    "Potential",
    "check_visible",
    "create_potential",
    "prepare_structure",
]

ENERGY_PROPERTIES = tuple(row.name for row in PROPERTIES.values() if row.source == "energy")

ATOMS_PER_BATCH = 2048
"""Atoms `Potential.evaluate` packs into one call when no batch size is given."""


@dataclass(frozen=True)
class Potential:
    """A model with its parameters, ready to evaluate structures.

    energy = energy_scale · Σ_i (network output of atom i) + priors + energy_offset + Σ_i E0(i).
    The network never sees the E0: they are added on the host in float64, since float32 resolves
    only 2 meV at −17 000 eV. Priors, and Coulomb energies of charges a model predicts, are in eV
    and not scaled.

    config: the model's hyperparameters; ``config.name`` is a key of ``MODELS``.
    variables: {"params": …, "buffers": …} as flax has them, and "uncertainty", in ``dtype``.
    elements: element table with isolated-atom energies.
    energy_scale: eV per unit of network output.
    energy_offset: eV per structure (torchmd-net's ``mean``; 0 for models trained here).
    dtype: "float32" or "float64".
    metadata: free text about the model's origin, saved with it.
    """

    config: ModelConfig
    variables: Variables
    elements: ElementTable
    energy_scale: float = 1.0
    energy_offset: float = 0.0
    dtype: str = "float32"
    metadata: Metadata = field(default_factory=dict)

    @cached_property
    def module(self) -> nn.Module:
        """The flax module of this potential."""
        return network_of(self.config)(self.config, self.elements.numbers, self.dtype)

    @cached_property
    def _watch(self) -> Watch:
        return Watch.over(self.metadata, self.config)

    @cached_property
    def assembly(self) -> Assembly:
        """What makes results of the model's outputs."""
        return Assembly(self.config, self.elements, self.energy_offset)

    def __getstate__(self) -> dict[str, object]:
        """What it takes to make it again in another process: its fields, arrays as numpy's."""
        state = {each.name: getattr(self, each.name) for each in fields(self)}
        return state | {"variables": jax.tree.map(np.asarray, self.variables)}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Take over the fields."""
        self.__dict__.update(state)
        # In a forked child an error here would be lost in the machinery that unpickles: whoever
        # uses the potential gets it.
        if not is_forked():
            with self.precision():
                variables = jax.tree.map(jnp.asarray, state["variables"])
            self.__dict__["variables"] = variables

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

    @cached_property
    def rows(self) -> Mapping[str, Property]:
        """What `evaluate` can compute, by name."""
        return {**self.config.predicted, **(DEVIATIONS if COLLECTION in self.variables else {})}

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of what `evaluate` can compute."""
        return tuple(self.rows)

    @property
    def tensor_heads(self) -> tuple[TensorHead, ...]:
        """The tensors it predicts."""
        return tuple(self.config.tensors)

    @cached_property
    def per_atom(self) -> frozenset[str]:
        """Those of `properties` that have a value for each atom, (N, …)."""
        return frozenset(row.name for row in self.rows.values() if row.per == "atom")

    @property
    def num_parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.variables["params"]))

    def variable_shapes(self) -> Variables:
        """Shapes and dtypes of the variables that the module makes; computes nothing."""
        with self.precision():
            return {"params": {}, "buffers": {}, **_shapes_made_by(self.module, self.dtype)}

    def precision(self) -> AbstractContextManager[None]:
        """Scope in which every JAX computation with this potential has to happen."""
        return precision_scope(self.dtype)

    def replace(self, **changes: object) -> "Potential":
        """Return a copy with some attributes replaced."""
        return replace(self, **changes)

    def astype(self, dtype: str) -> "Potential":
        """Return the same potential computing in another precision."""
        with precision_scope(dtype):
            variables = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), dtype), self.variables)
        return self.replace(variables=variables, dtype=dtype)

    def structure(self, atoms: ase.Atoms, where: str = "", skin: float = 0.0) -> Structure:
        """Prepare one structure; ``skin`` widens the neighbor lists, in Å.

        Of each kind it warns once (`OutsideTrainingWarning`) where a structure has a charge, a spin
        or an element that the potential was not trained on.
        """
        prepared = prepare_structure(self.config, self.elements.numbers, atoms, where, skin)
        if prepared.head is not None:
            self.elements.energies_of(prepared.species, prepared.head, where)
        self._watch.look(atoms, where)
        return prepared

    def blank_graph(self) -> AtomGraph[np.ndarray]:
        """Return the graph of no structure, for what depends on no structure, as numpy arrays."""
        return _blank_graph(self.config, self.dtype)

    def reference_energies(self, structure: Structure) -> Float[np.ndarray, " atoms"]:
        """E0 of each atom plus its share of the offset, float64 eV."""
        return self.assembly.reference_energies(structure)

    def predict(self, variables: Variables, graph: AtomGraph, compute: Iterable[str]) -> Outputs:
        """Properties of a padded graph without E0 and offset; see `predict`."""
        return predict(self.module, variables, graph, tuple(compute), self.energy_scale)

    def evaluate(
        self,
        structures: ase.Atoms | Sequence[ase.Atoms],
        compute: Sequence[str] = ("energy", "forces"),
        batch_size: int | None = None,
        *,
        capacities: CapacityLadder | None = None,
        devices: Devices = ONE_DEVICE,
    ) -> list[Results]:
        """Evaluate structures, however many and of whatever sizes.

        The total charge is read from ``atoms.info["charge"]`` or ``["total_charge"]`` (e, default
        0), and, where the model depends on it, the spin multiplicity from ``atoms.info["spin"]``,
        ``["spin_multiplicity"]`` or ``["multiplicity"]`` (2S + 1).

        Args:
            structures: one structure or several; not changed.
            compute: any of `properties`: "energy" (eV), "energies" per atom (N,) eV, "forces"
                (N, 3) eV/Å, "stress" (3, 3) eV/Å³, "dipole" (3,) e·Å, "charges" (N,) e,
                "polar_tensors" (N, 3, 3) e, ∂μ_a/∂r_ib at [i, a, b], "hessian" (3N, 3N) eV/Å²,
                and the tensors of `tensor_heads` by name, (3, …) or (N, 3, …) in their units.
                Energies include E0. With an uncertainty also "energy_std" and the like.
            batch_size: structures evaluated at a time, on each device; by default as many as fill
                ``ATOMS_PER_BATCH`` atoms.
            capacities: array sizes to choose from; by default those used in this process so far,
                so that the last bits of results may depend on what was evaluated before.
            devices: that share the structures; all but Hessians.

        Returns:
            one dict per structure in the order given, float64 arrays (energies are floats).

        Raises:
            ValueError: unknown property or element, stress without a volume, dipole of a periodic
                structure.
            ForkedError: this process was forked after JAX had started.
        """
        check_not_forked()
        atoms_list = [structures] if isinstance(structures, ase.Atoms) else list(structures)
        compute = _names(compute, self.properties)
        prepared = []
        for index, atoms in enumerate(atoms_list):
            where = f" (structure {index})" if len(atoms_list) > 1 else ""
            structure = self.structure(atoms, where)
            _check_physics(structure, [self.rows[name] for name in compute], where)
            prepared.append(structure)
        results: list[Results] = [{} for _ in prepared]
        batched = tuple(name for name in compute if name != "hessian")
        if batched:
            ladder = program_of(self.module).ladder if capacities is None else capacities
            chosen = packs([len(s) for s in prepared], batch_size, ATOMS_PER_BATCH)
            for k, result in evaluate_packs(self, prepared, chosen, batched, ladder, devices):
                results[k].update(result)
        if "hessian" in compute:
            for structure, result in zip(prepared, results, strict=True):
                result["hessian"] = _hessian(self, structure)
        return results


def create_potential(
    config: ModelConfig,
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

    Raises:
        ValueError: several heads are asked for, and the model has no read-outs for them.
    """
    potential = Potential(config, {}, elements, energy_scale, energy_offset, dtype)
    with potential.precision():
        graph = to_device(potential.blank_graph())
        # It runs once, so that optimizing it would take longer than it can save.
        initialize = jax.jit(
            potential.module.init, compiler_options={"xla_backend_optimization_level": 0}
        )
        variables = initialize(jax.random.key(seed), graph)
    if config.num_levels > 1 and LEVEL_SCALES not in variables.get("buffers", {}):
        raise ValueError(
            f"the model {config.name} has no read-outs for several heads: make them with "
            "tensornet_jax.models.heads.levels.each_level, as docs/models.md says"
        )
    return potential.replace(variables={"params": {}, "buffers": {}, **variables})


def _blank_graph(config: ModelConfig, dtype: str) -> AtomGraph[np.ndarray]:
    capacity = Capacity.holding([])
    if config.long_cutoff is not None:
        capacity = capacity._replace(long_pairs=capacity.pairs, long_slots=capacity.slots)
    graph = batch_structures([], capacity, dtype)
    if config.num_levels > 1:
        graph = graph.replace(head=np.zeros(capacity.graphs, np.int32))
    return graph


# Tracing a model takes as long as loading its file; scripts that load one file for each structure
# should not do it again.
@lru_cache(maxsize=16)
def _shapes_made_by(module: nn.Module, dtype: str) -> Variables:
    return jax.eval_shape(module.init, jax.random.key(0), _blank_graph(module.config, dtype))


def _names(compute: str | Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    names = (compute,) if isinstance(compute, str) else tuple(compute)
    for name in names:
        if name not in known:
            raise ValueError(f"this model has no {name!r}; it predicts {', '.join(known)}")
    return names


def _check_physics(structure: Structure, rows: Iterable[Property], where: str) -> None:
    periodic, has_volume = bool(structure.pbc.any()), abs(np.linalg.det(structure.cell)) > 0
    for row in rows:
        why_not = row.why_not(periodic=periodic, has_volume=has_volume)
        if why_not is not None:
            raise ValueError(f"{why_not}{where}: leave it out, or change cell or pbc")


def _hessian(
    potential: Potential, structure: Structure
) -> Float[np.ndarray, "coordinates coordinates"]:
    capacity, size = Capacity.holding([structure]), 3 * len(structure)
    with potential.precision():
        graph = to_device(batch_structures([structure], capacity, potential.dtype))
        scale = jnp.asarray(potential.energy_scale, potential.dtype)
        rows = hessian_jit(potential.module, potential.variables, graph, scale)
        return np.asarray(rows, np.float64)[:size, :size]
