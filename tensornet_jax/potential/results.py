"""From a model's outputs to results: isolated-atom energies, offset, origin of dipoles, padding.

    energy = Σ_i (what the model gives atom i) + Σ_i E0(i) + offset
    μ about b = μ about a + charge · (a − b)

A model's outputs are per-atom energies without E0, in the precision of the device, dipole moments
about a point that its charges choose, and rows of padding. Calculators, engines, relaxation,
training and export make results of them here. Programs written by `interop.stablehlo` are read
without this package, so that `exported_potential` does the same from its manifest.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import jax.numpy as jnp
import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.structure import Structure
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.ops.safe import divide
from tensornet_jax.ops.segments import sum_of_segments
from tensornet_jax.potential.element_table import ElementTable

# Energy and free energy are floats, all others arrays, which no type of a dict can say.
Results: TypeAlias = dict[str, Any]
"""Properties of one structure by name."""

Vectors = TypeVar("Vectors", np.ndarray, Array)


@dataclass(frozen=True)
class Assembly:
    """What is added to the outputs of a model, on the host in float64.

    float32 resolves only 2 meV at −17 000 eV, so that no program on the device sees E0.

    config: of the model.
    elements: element table with isolated-atom energies.
    energy_offset: eV per structure.
    """

    config: ModelConfig
    elements: ElementTable
    energy_offset: float = 0.0

    def reference_energies(self, structure: Structure) -> Float[np.ndarray, " atoms"]:
        """E0 of each atom of a structure plus its share of the offset, float64 eV."""
        offset = self.energy_offset / max(len(structure), 1)
        return self.elements.energies_of(structure.species, structure.head) + offset

    def total_references(self, structures: Sequence[Structure]) -> Float[np.ndarray, " structures"]:
        """E0 and offset of each structure, eV: what the engines add to energies from the device."""
        return np.array([self.reference_energies(s).sum() for s in structures], np.float64)

    def of_batch(
        self,
        outputs: Mapping[str, Array | np.ndarray],
        structures: Sequence[Structure],
        per_atom: Collection[str],
    ) -> list[Results]:
        """Return the results of each structure of a padded batch; see `unbatched`, `of_structure`.

        The origin of dipoles is that of the positions in `structures`.
        """
        separate = unbatched(outputs, [len(structure) for structure in structures], per_atom)
        return [
            self.of_structure(
                found,
                structure.charge,
                structure.positions,
                self.reference_energies(structure),
            )
            for found, structure in zip(separate, structures, strict=True)
        ]

    def of_structure(
        self,
        outputs: Mapping[str, np.ndarray],
        charge: float,
        positions: Float[np.ndarray, "atoms 3"],
        reference_energies: Float[np.ndarray, " atoms"],
    ) -> Results:
        """Return the results of one structure.

        Args:
            outputs: of the model, float64 without padding.
            charge: total charge, e.
            positions: Å, about whose origin a dipole moment is to be.
            reference_energies: as `reference_energies` gives them, eV.

        Returns:
            the outputs, "energies" with reference energies, "energy" and "free_energy", their sum;
            "dipole" about the origin, and "polar_tensors", its derivatives.
        """
        results: Results = dict(outputs)
        if "energies" in outputs:
            results |= energies_of(outputs["energies"] + reference_energies)
        if "dipole" in outputs:
            results["dipole"] = outputs["dipole"] + dipole_of_position(
                self.config, charge, positions
            )
        if "polar_tensors" in outputs and self.config.has_atomic_dipoles:
            share = charge / max(len(positions), 1) * np.eye(3)
            results["polar_tensors"] = outputs["polar_tensors"] + share
        return results

    def asked_of_model(
        self, energy: float, dipole: Float[np.ndarray, " 3"], structure: Structure
    ) -> tuple[float, Float[np.ndarray, " 3"]]:
        """Return what a model has to give for these to be its results; `of_structure` backwards.

        Args:
            energy: label, eV; NaN where there is none.
            dipole: label, e·Å, about the origin of the positions; NaN where there is none.
            structure: that has the labels.
        """
        references = self.elements.energies_of(structure.species, structure.head).sum()
        moment = dipole_of_position(self.config, structure.charge, structure.positions)
        return energy - references - self.energy_offset, dipole - moment


def energies_of(energies: Float[np.ndarray, " atoms"]) -> Results:
    """Return energies of atoms and, summed from them, the energy, eV.

    A float32 sum on the device would lose digits.
    """
    total = float(energies.sum())
    return {"energies": energies, "energy": total, "free_energy": total}


def unbatched(
    outputs: Mapping[str, Array | np.ndarray], sizes: Sequence[int], per_atom: Collection[str]
) -> list[dict[str, np.ndarray]]:
    """Take a padded batch apart: the outputs of each structure, float64 without padding.

    Args:
        outputs: (N, …) or (B, …) arrays by name.
        sizes: number of atoms of each structure, in the order of the batch.
        per_atom: names of outputs that have a row for each atom.
    """
    rows = {name: np.asarray(value, np.float64) for name, value in outputs.items()}
    separate, start = [], 0
    for index, size in enumerate(sizes):
        atoms = slice(start, start + size)
        separate.append({n: v[atoms if n in per_atom else index] for n, v in rows.items()})
        start += size
    return separate


def in_voigt_order(results: Mapping[str, object]) -> Results:
    """Return results as ASE has them: stress and `stress_std` (6,): xx, yy, zz, yz, xz, xy."""
    voigt: Results = dict(results)
    for name in ("stress", "stress_std"):
        if name in voigt and np.shape(voigt[name]) == (3, 3):
            voigt[name] = full_3x3_to_voigt_6_stress(voigt[name])
    return voigt


def moves_with_the_origin(config: ModelConfig) -> bool:
    """Whether the dipole moment of an ion is about the mean of the positions, and can be moved.

    Atomic dipoles and conserved charges are predicted about that mean. Charges alone (torchmd-net)
    need not sum to the total charge: their moment is about the center of mass, and stays there.
    """
    return config.has_atomic_dipoles


def dipole_of_position(
    config: ModelConfig, charge: float, positions: Float[np.ndarray, "atoms 3"]
) -> Float[np.ndarray, " 3"]:
    """Return what a model's dipole moment lacks to be about the origin of coordinates, e·Å.

    Data have it about that origin. It is charge times mean position, or zero.

    Args:
        config: of the model.
        charge: total charge, e.
        positions: Å.
    """
    if not len(positions):
        return np.zeros(3)
    origin = np.zeros(3)
    return _moved(config, np.zeros(3), charge, positions.mean(axis=0), origin)


def about_center_of_mass(
    config: ModelConfig,
    outputs: Mapping[str, Array],
    graph: AtomGraph,
    masses: Float[Array, " atoms"],
) -> dict[str, Array]:
    """Return a model's outputs with the dipole about the center of mass; pure, for compiled loops.

    About any other point, the dipole moment of an ion also moves with the ion as a whole, and its
    spectrum has lines of the motion of that point.

    Args:
        config: of the model.
        outputs: what it predicts.
        graph: the structures, not periodic if a dipole is among the outputs.
        masses: amu.
    """
    if "dipole" not in outputs or not moves_with_the_origin(config):
        return dict(outputs)
    inside = graph.node_mask.astype(masses.dtype)[:, None]

    def center(weights: Array) -> Array:
        rows = jnp.concatenate([weights * graph.positions, weights], axis=1)
        sums = sum_of_segments(rows, graph.node_graph, graph.num_graphs)
        return divide(sums[:, :3], sums[:, 3:])

    means, centers = center(inside), center(inside * masses[:, None])
    moved = _moved(config, outputs["dipole"], graph.charge[:, None], means, centers)
    return {**outputs, "dipole": moved}


def results_about_center_of_mass(
    config: ModelConfig, results: Results, charge: float, center: Float[np.ndarray, " 3"]
) -> Results:
    """Return the results of one structure with the dipole about its center of mass.

    Args:
        config: of the model.
        results: with the dipole about the origin of coordinates.
        charge: total charge, e.
        center: center of mass, Å.
    """
    if "dipole" not in results:
        return results
    moved = _moved(config, results["dipole"], charge, np.zeros(3), center)
    return {**results, "dipole": moved}


def _moved(
    config: ModelConfig, dipole: Vectors, charge: float | Array, here: Vectors, there: Vectors
) -> Vectors:
    """Move the point that dipole moments (…, 3) e·Å are about from `here` to `there`, Å."""
    if not moves_with_the_origin(config):
        return dipole
    return dipole + charge * (here - there)
