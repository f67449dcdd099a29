"""Standard deviations in LAMMPS: `mpiexec -n N python deviations_driver.py MODEL STRUCTURE OUTPUT`.

Writes the vector of the fix after each of three steps, and the positions there.
"""

import sys

import ase
import ase.io
import numpy as np
from mpi4py import MPI  # isort: split

from tensornet_jax.interop.lammps import attach
from tensornet_jax.potential.model_file import load_model
from tests.interop.lammps.driver import started


def main() -> None:
    """Run the structure of the command line."""
    model, structure, output = sys.argv[1:]
    atoms = ase.io.read(structure)
    assert isinstance(atoms, ase.Atoms)
    symbols = sorted(set(atoms.get_chemical_symbols()))
    lmp = started(atoms, f"{output}.data", symbols)
    attach(lmp, load_model(model), symbols, deviations_every=2, fix="p")
    for line in (
        "variable energy equal f_p[1]",
        "variable forces equal f_p[2]",
        "thermo_style custom step pe v_energy v_forces",
        "velocity all create 2000 1",
        "fix integrator all nve",
        "timestep 0.002",
    ):
        lmp.command(line)
    vectors, positions = [], []
    for steps in (0, 1, 1):
        lmp.command(f"run {steps} pre {'yes' if not vectors else 'no'}")
        vectors.append([lmp.extract_variable(name) for name in ("energy", "forces")])
        positions.append(np.array(lmp.gather_atoms("x", 1, 3)).reshape(-1, 3))
    if MPI.COMM_WORLD.rank == 0:
        np.savez(output, vectors=vectors, positions=positions)
    lmp.close()


if __name__ == "__main__":
    main()
