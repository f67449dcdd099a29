"""Results on the structure they belong to, where ASE and its file formats find them.

ASE's SinglePointCalculator refuses names it does not know, and of those it knows extended XYZ drops
some without a word. What every format keeps goes there; everything else, a model's tensors for
instance, becomes `predicted_NAME` in `atoms.info` or, with a row for each atom, in `atoms.arrays`.
"""

from collections.abc import Collection, Mapping

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from tensornet_jax.potential.results import in_voigt_order
from tensornet_jax.properties import PROPERTIES

KEPT_BY_EVERY_FORMAT = tuple(row.name for row in PROPERTIES.values() if row.ase)
PREFIX = "predicted_"


def attach_results(
    atoms: ase.Atoms, results: Mapping[str, object], per_atom: Collection[str] = ()
) -> None:
    """Give a structure its results: a calculator for what ASE knows, and `note_results` for others.

    Args:
        atoms: the structure, changed; its own calculator is replaced.
        results: by name; energies in eV, forces (N, 3) eV/Å, stress (3, 3) or Voigt (6,) eV/Å³,
            dipole (3,) e·Å, charges (N,) e, others of any shape.
        per_atom: names of those others that have a row for each atom.
    """
    known = in_voigt_order({n: results[n] for n in KEPT_BY_EVERY_FORMAT if n in results})
    for name in known:
        # ASE's extended XYZ writer refuses what stands in two places.
        atoms.info.pop(name, None)
        atoms.arrays.pop(name, None)
    atoms.calc = SinglePointCalculator(atoms, **known)
    note_results(atoms, {n: v for n, v in results.items() if n not in known}, per_atom)


def note_results(
    atoms: ase.Atoms, results: Mapping[str, object], per_atom: Collection[str] = ()
) -> None:
    """Write results as `predicted_NAME`, components in a row, as every file format can hold them.

    A stress (3, 3) stays a matrix.

    Args:
        atoms: the structure, changed.
        results: by name; (N, …) become (N, k) arrays, others numbers or (k,).
        per_atom: names of those that have a row for each atom.
    """
    for name, value in results.items():
        key, value = PREFIX + name, np.array(value)
        atoms.info.pop(key, None)
        atoms.arrays.pop(key, None)
        if name in per_atom:
            atoms.set_array(key, value if value.ndim == 1 else value.reshape(len(atoms), -1))
        elif value.ndim == 0:
            atoms.info[key] = value.item()
        else:
            # Extended XYZ would transpose a matrix; a stress is symmetric, and known as one.
            atoms.info[key] = value if name == "stress" else value.ravel()
