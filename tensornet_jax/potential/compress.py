"""A fast form of a trained potential: its functions of distance alone as few splines.

A radial network is evaluated for every pair of atoms, and yet what comes out depends on one number.
All radial functions of a model, of all its layers, are close to a space of a few dozen functions
(singular value decomposition); these are tabulated as cubic splines, and a network becomes one thin
matrix. What depends on two elements becomes tables. The result is a potential like any other: it
is saved, run and inspected as before, only it cannot be trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import ase
import jax
import jax.numpy as jnp
import numpy as np
from ase.data import covalent_radii

from tensornet_jax.models.config import Compression
from tensornet_jax.ops.spline import ORDER, evaluate_spline, fit_spline
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.results import Results
from tensornet_jax.runtime.precision import precision_scope

# Ranks are multiples of what a vector unit holds.
RANKS = tuple(range(8, 129, 8))
INTERVALS = (512, 1024, 2048, 4096, 8192)
SAMPLES = 4
"""Distances in each interval at which the functions are sampled."""
COARSE = 16
"""Of so many samples one is enough to find the space that the functions span."""
NEVER_CLOSER = 0.5
CLOSE_WEIGHT = 0.01
"""Å, and what errors count at smaller distances, which no two nuclei reach; 0 itself is needed."""
SLOPE_LENGTH = 0.5
"""Å: a force is a slope, whose error counts as much as that of the value this far on."""
FIRST_ACCURACY = 50.0
ATTEMPTS = 8
"""The functions' accuracy at first, in tolerances, and how often it may be quartered."""


@dataclass(frozen=True)
class CompressionError:
    """How far a compressed potential is from the one it was made of, in float64.

    energy: eV per atom, the largest over the structures.
    forces: eV/Å, the largest component.
    """

    energy: float
    forces: float


def compress(
    potential: Potential,
    tolerance: float = 1e-5,
    structures: Sequence[ase.Atoms] | None = None,
) -> Potential:
    """Return a potential that is faster and the same within a tolerance.

    Args:
        potential: of a model with radial networks: tensornet or mace. Not changed.
        tolerance: eV per atom and eV/Å, for the largest error of energies and force components.
        structures: what the errors are measured on, best structures like those it is to run on; by
            default random clusters of the model's elements, as dense as matter.

    Returns:
        the compressed potential, in the same dtype; ``metadata["compression"]`` has the errors.

    Raises:
        ValueError: the model has no radial networks or no energy, is compressed already, or stays
            above the tolerance with the largest tables there are.
    """
    _check(potential, tolerance)
    structures = _random_clusters(potential) if structures is None else list(structures)
    if not structures:
        raise ValueError("no structures to measure the error of compression on: pass at least one")
    exact = potential.astype("float64")
    expected = exact.evaluate(structures)
    places = np.linspace(0, exact.cutoff, SAMPLES * INTERVALS[-1] + 1)
    with exact.precision():
        values = _radial_functions(exact, places)
    accuracy = FIRST_ACCURACY * tolerance
    errors = []
    for _ in range(ATTEMPTS):
        tables = _tables(places, values, exact.cutoff, accuracy)
        if tables is None:
            break
        candidate = _with_tables(exact, *tables)
        errors.append(_error(candidate, structures, expected))
        if max(errors[-1].energy, errors[-1].forces) <= tolerance:
            return _described(candidate, potential, tolerance, errors[-1], len(structures))
        accuracy /= 4
    reached = (
        f"the errors stay at {errors[-1].energy:.1e} eV/atom and {errors[-1].forces:.1e} eV/Å"
        if errors
        else f"{RANKS[-1]} functions of {INTERVALS[-1]} pieces are too few"
    )
    raise ValueError(
        f"cannot compress within {tolerance:g} eV/atom and eV/Å: {reached}. Ask for a larger "
        "tolerance, measure it on structures like those the potential is to run on, or run the "
        "potential as it is"
    )


def _check(potential: Potential, tolerance: float) -> None:
    name = potential.config.name
    if not potential.config.compressible:
        raise ValueError(
            f"{name} cannot be compressed: what its networks make of a distance depends on the "
            "elements of both atoms too"
        )
    potential.config.require_one_level()
    if potential.config.compression is not None:
        raise ValueError(f"this {name} is compressed already: compress the one it was made of")
    if "energy" not in potential.heads:
        raise ValueError(f"this {name} predicts no energy, by which errors are measured")
    if not (np.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"the tolerance must be positive, not {tolerance}")


def _radial_functions(potential: Potential, places: np.ndarray) -> list[np.ndarray]:
    """Values (K, n) of each network's functions at distances."""
    apply = jax.jit(partial(potential.module.apply, method="radial_functions"))
    return [np.asarray(v) for v in apply(potential.variables, jnp.asarray(places))]


def _tables(
    places: np.ndarray, values: Sequence[np.ndarray], cutoff: float, accuracy: float
) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """Spline coefficients (4 · intervals, rank) and a matrix (rank, n) for each network.

    The smallest that reproduce all functions to an accuracy relative to the largest of each
    network; None if none do.
    """
    weights = np.where((places > 0) & (places < NEVER_CLOSER), CLOSE_WEIGHT, 1.0)[:, None]
    scales = [max(abs(weights * v).max(), np.finfo(float).tiny) for v in values]
    together = np.concatenate([v / s for v, s in zip(values, scales, strict=True)], axis=1)
    slopes = SLOPE_LENGTH * np.gradient(together, places[1], axis=0)
    both = np.concatenate([(weights * rows)[::COARSE] for rows in (together, slopes)])
    _, _, right = np.linalg.svd(both, full_matrices=False)

    def error(basis: np.ndarray, matrix: np.ndarray) -> float:
        return float(abs(weights * (basis @ matrix - together)).max())

    for rank in RANKS:
        matrix = right[:rank]
        basis = together @ matrix.T
        if error(basis, matrix) > accuracy / 2:
            continue
        for intervals in INTERVALS:
            table = fit_spline(places, basis, cutoff, intervals)
            if error(_on_places(table, places, cutoff), matrix) <= accuracy:
                sizes = np.cumsum([v.shape[1] for v in values])[:-1]
                parts = np.split(matrix, sizes, axis=1)
                return table, [p * s for p, s in zip(parts, scales, strict=True)]
    return None


def _on_places(table: np.ndarray, places: np.ndarray, cutoff: float) -> np.ndarray:
    with precision_scope("float64"):
        return np.asarray(evaluate_spline(jnp.asarray(table), jnp.asarray(places), cutoff))


def _with_tables(
    potential: Potential, table: np.ndarray, matrices: Sequence[np.ndarray]
) -> Potential:
    compression = Compression(rank=table.shape[1], intervals=len(table) // ORDER)
    config = potential.config.model_copy(update={"compression": compression})
    with potential.precision():
        variables = potential.module.apply(
            potential.variables,
            jnp.asarray(table),
            [jnp.asarray(matrix) for matrix in matrices],
            method="compressed",
        )
    return potential.replace(config=config, variables=variables)


def _error(
    potential: Potential, structures: Sequence[ase.Atoms], expected: list[Results]
) -> CompressionError:
    found = potential.evaluate(structures)
    energy = max(
        abs(new["energy"] - old["energy"]) / max(len(atoms), 1)
        for new, old, atoms in zip(found, expected, structures, strict=True)
    )
    forces = max(
        abs(new["forces"] - old["forces"]).max(initial=0)
        for new, old in zip(found, expected, strict=True)
    )
    return CompressionError(float(energy), float(forces))


def _described(
    candidate: Potential,
    original: Potential,
    tolerance: float,
    error: CompressionError,
    num_structures: int,
) -> Potential:
    facts = {"tolerance": tolerance, "structures": num_structures} | {
        "max_error_energy_eV_per_atom": error.energy,
        "max_error_forces_eV_per_A": error.forces,
    }
    compressed = candidate.astype(original.dtype)
    return compressed.replace(metadata=original.metadata | {"compression": facts})


def _random_clusters(potential: Potential, count: int = 6, size: int = 20) -> list[ase.Atoms]:
    """Clusters in which atoms keep apart by four fifths of their covalent radii or more."""
    rng = np.random.default_rng(0)
    known = [z for z in potential.elements.numbers if 0 < z < len(covalent_radii)]
    clusters = []
    for _ in range(count):
        numbers = rng.choice(known, size)
        radii = covalent_radii[numbers]
        edge = 2 * radii.mean() * size ** (1 / 3)
        placed: list[np.ndarray] = []
        while len(placed) < size:
            trial = rng.uniform(0, edge, 3)
            near = 0.8 * (radii[: len(placed)] + radii[len(placed)])
            if all(np.linalg.norm(trial - at) > d for at, d in zip(placed, near, strict=True)):
                placed.append(trial)
            else:
                edge *= 1.001
        atoms = ase.Atoms(numbers, placed)
        # In turns a cation, a neutral and an anion, of the lowest multiplicity there is.
        charge = 1 - len(clusters) % 3 if potential.config.sees_charge else 0
        atoms.info.update(charge=charge, spin=1 + (int(numbers.sum()) - charge) % 2)
        if potential.config.needs_charges:
            charges = rng.uniform(-0.5, 0.5, size)
            atoms.set_initial_charges(charges - charges.mean() + charge / size)
        clusters.append(atoms)
    return clusters
