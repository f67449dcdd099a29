"""Published files that no reader knows, as structures with labels in eV, Å, ppm and GPa."""

import csv
import io
import json
from collections.abc import Callable, Iterator

import ase.io
import numpy as np
from ase import Atoms
from ase.units import GPa

from tensornet_jax.data.published.datasets import Layout
from tensornet_jax.runtime.sealed_file import Json

# A cell of the table holds a CIF file, beyond csv's own limit.
_LONGEST_CELL = 10_000_000


def read_layout(content: bytes, layout: Layout) -> list[Atoms]:
    """Return the structures of a published file.

    Args:
        content: the file.
        layout: how it is laid out.

    Raises:
        ValueError: it is laid out in another way.
    """
    try:
        structures = list(_LAYOUTS[layout](content.decode("utf-8")))
        if not structures:
            raise ValueError("it has no structures")
        return structures
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise ValueError(f"the file is not laid out like those of {layout} ({problem})") from error


def _mlearn(text: str) -> Iterator[Atoms]:
    """Structures of materialsvirtuallab/mlearn with `REF_` energy, forces and stress.

    Its `virial_stress` is in kbar and positive under compression. The shear components are xy, yz,
    zx for Li and in the group Elastic of Si and Ge, and xy, xz, yz elsewhere: that is how stress
    agrees with the work of strains, and with the symmetry of neighbors.
    """
    for entry in json.loads(text):
        atoms = _pymatgen_structure(entry["structure"])
        outputs, element, group = entry["outputs"], entry["element"], entry["group"]
        atoms.info |= {"config_type": group, "description": entry["description"]}
        atoms.info["REF_energy"] = float(outputs["energy"])
        atoms.arrays["REF_forces"] = np.asarray(outputs["forces"], float).reshape(len(atoms), 3)
        xx, yy, zz, xy, fifth, sixth = np.asarray(outputs["virial_stress"], float) * -0.1 * GPa
        cyclic = element == "Li" or (element in ("Si", "Ge") and group == "Elastic")
        yz, xz = (fifth, sixth) if cyclic else (sixth, fifth)
        atoms.info["REF_stress"] = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        yield atoms


def _matten_shielding(text: str) -> Iterator[Atoms]:
    """Structures of wengroup/matten with shielding tensors in ppm where `has_nmr` is 1."""
    table = json.loads(text)
    for row in sorted(table["structure"], key=int):
        atoms = _pymatgen_structure(table["structure"][row])
        chosen = np.asarray(table["atom_selector"][row], bool)
        tensors = np.zeros((len(atoms), 9))
        tensors[chosen] = np.asarray(table["nmr_tensor"][row], float).reshape(-1, 9)
        atoms.arrays["nmr_shielding"] = tensors
        atoms.arrays["has_nmr"] = chosen.astype(int)
        yield atoms


def _matminer_elasticity(text: str) -> Iterator[Atoms]:
    """Crystals of matminer's table with `elastic_voigt_original` (GPa) in the frame of the cell.

    The column `elastic_tensor` is in the standard (IEEE) setting, in which the structures are not.
    """
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        lines = (line for line in io.StringIO(text, newline="") if not line.startswith("# ref:"))
        for row in csv.DictReader(lines):
            atoms = ase.io.read(io.StringIO(row["poscar"]), format="vasp")
            assert isinstance(atoms, Atoms)
            atoms.calc = None
            atoms.info |= {"material_id": row["material_id"], "formula": row["formula"]}
            stiffness = np.array(json.loads(row["elastic_tensor_original"]), float)
            atoms.info["elastic_voigt_original"] = stiffness.reshape(36)
            yield atoms
    finally:
        csv.field_size_limit(limit)


def _pymatgen_structure(record: Json) -> Atoms:
    sites = record["sites"]
    if any(len(site["species"]) != 1 or site["species"][0]["occu"] != 1 for site in sites):
        raise ValueError("a site is shared by several elements, or partly empty")
    symbols = [site["species"][0]["element"] for site in sites]
    positions = [site["xyz"] for site in sites]
    return Atoms(symbols, positions, cell=record["lattice"]["matrix"], pbc=True)


_LAYOUTS: dict[Layout, Callable[[str], Iterator[Atoms]]] = {
    "mlearn": _mlearn,
    "matten_shielding": _matten_shielding,
    "matminer_elasticity": _matminer_elasticity,
}
