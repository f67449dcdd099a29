"""A fast form of a trained potential: its functions of distance alone as few splines.

A radial network is evaluated for every pair of atoms, and yet what comes out depends on one number.
All radial functions of a model, of all its layers, are close to a space of a few dozen functions
(singular value decomposition); these are tabulated as cubic splines, and a network becomes one thin
matrix. What depends on two elements becomes tables, and where a network sees them too, each two of
them have splines of their own. The result is a potential like any other: it
is saved, run and inspected as before, only it cannot be trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ase
import jax.numpy as jnp
import numpy as np
from ase.data import covalent_radii

from tensornet_jax.models.config import Compression, require_single
from tensornet_jax.ops.spline import ORDER
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.radial_functions import INTERVALS, RANKS, Functions
from tensornet_jax.potential.results import Results
from tensornet_jax.potential.uncertainty.deviations import COLLECTION

FIRST_ACCURACY = 50.0
ATTEMPTS = 12
"""The functions' accuracy at first, in tolerances, and how often more may be asked for."""


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
        ValueError: the model has no radial networks or no energy, is compressed already, knows so
            many elements that a table for each two of them is too large, or stays above the
            tolerance with the largest tables there are.
    """
    _check(potential, tolerance)
    structures = _random_clusters(potential) if structures is None else list(structures)
    if not structures:
        raise ValueError("no structures to measure the error of compression on: pass at least one")
    exact = potential.astype("float64")
    functions = Functions(exact, np.dtype(potential.dtype).itemsize)
    expected = exact.evaluate(structures)
    accuracy = FIRST_ACCURACY * tolerance
    errors, shape, coarsest = [], None, 0
    for _ in range(ATTEMPTS):
        tables = functions.tables(accuracy, coarsest)
        if tables is None:
            break
        if tables[0].shape == shape:
            # Forces are slopes: they may need shorter pieces than values do.
            coarsest = 2 * (tables[0].shape[-2] // ORDER)
            continue
        shape = tables[0].shape
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
    require_single(potential.config, "be compressed")
    if not potential.config.compressible:
        raise ValueError(f"{name} cannot be compressed: none of its networks see distances alone")
    potential.config.require_one_level()
    if potential.config.compression is not None:
        raise ValueError(f"this {name} is compressed already: compress the one it was made of")
    if "energy" not in potential.heads:
        raise ValueError(f"this {name} predicts no energy, by which errors are measured")
    if not (np.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"the tolerance must be positive, not {tolerance}")


def _with_tables(
    potential: Potential, table: np.ndarray, matrices: Sequence[np.ndarray]
) -> Potential:
    rows, rank = table.shape[-2:]
    config = potential.config.compressed(Compression(rank=rank, intervals=rows // ORDER))
    with potential.precision():
        variables = potential.module.apply(
            potential.variables,
            jnp.asarray(table),
            [jnp.asarray(matrix) for matrix in matrices],
            method="compressed",
        )
        assert isinstance(variables, Mapping)
    kept = {name: v for name, v in potential.variables.items() if name == COLLECTION}
    return potential.replace(config=config, variables={**variables, **kept})


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
