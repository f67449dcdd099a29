"""MatGL as a peer: a published potential behind ASE, and its network with the graph given.

pip install torch matgl torch-geometric
"""

import os
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Any

import ase
import numpy as np
from ase import units

from tensornet_jax.benchmark.machine import describe_machine

# By name, since no type checker finds what need not be installed.
torch: Any = import_module("torch")
matgl: Any = import_module("matgl")
matgl_ase: Any = import_module("matgl.ext._ase_pyg")

VERSIONS = {name: version(name) for name in ("matgl", "torch", "torch-geometric")}


def load(folder: str | os.PathLike[str], dtype: str = "float32") -> Any:
    """Return MatGL's potential of a folder, computing in ``dtype``."""
    torch.set_num_threads(describe_machine()["threads"])
    matgl.set_default_dtype("float", int(dtype.removeprefix("float")))
    return matgl.load_model(str(folder)).to(getattr(torch, dtype)).eval()


def calculator(potential: Any) -> Any:
    """Return an ASE calculator with the stress in eV/Å³."""
    return matgl_ase.PESCalculator(potential, stress_unit="eV/A3", use_voigt=True)


def network(potential: Any, atoms: ase.Atoms) -> Callable[[], np.ndarray]:
    """Return a function that computes energy, forces and stress from a graph that is made already.

    One row: the energy (eV), then forces (eV/Å) and stress (eV/Å³), flat.
    """
    converter = matgl_ase.Atoms2Graph(potential.model.element_types, potential.model.cutoff)
    graph, lattice, state = converter.get_graph(atoms)

    def run() -> np.ndarray:
        energy, forces, stress, _ = potential(graph, lattice, state)
        found = [energy, forces, stress * units.GPa]
        return np.concatenate([x.detach().numpy().ravel() for x in found])

    return run
