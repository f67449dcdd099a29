"""Forces of a potential in LAMMPS: `mpiexec -n N python driver.py MODEL STRUCTURES OUTPUT UNITS`.

Writes energy, forces, stress and energies of the atoms of every structure, in eV and Å.
"""

import sys
from typing import Any

import ase
import ase.io
import ase.units
import numpy as np
from ase.calculators.lammps import convert
from ase.io.lammpsdata import write_lammps_data
from mpi4py import MPI  # isort: split

from lammps import lammps

from tensornet_jax.interop.lammps import attach
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.potential.potential import Potential

BOX = """
units {units}
atom_style atomic
boundary {boundary}
box tilt large
read_data {data}
mass * 12.0
"""


def started(atoms: ase.Atoms, data: str, symbols: list[str], units: str = "metal") -> Any:
    """Return a LAMMPS instance with these atoms in its box; the file is written by one process."""
    if MPI.COMM_WORLD.rank == 0:
        write_lammps_data(data, atoms, specorder=symbols, units=units, atom_style="atomic")
    MPI.COMM_WORLD.Barrier()
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    boundary = " ".join("p" if each else "s" for each in atoms.pbc)
    lmp.commands_string(BOX.format(units=units, boundary=boundary, data=data))
    return lmp


def evaluated(potential: Potential, atoms: ase.Atoms, data: str, units: str) -> dict[str, Any]:
    """Return what LAMMPS makes of a structure."""
    symbols = sorted(set(atoms.get_chemical_symbols()))
    lmp = started(atoms, data, symbols, units)
    attach(lmp, potential, symbols, per_atom=True)
    lmp.command("compute energies all pe/atom fix")
    lmp.command("compute virials all stress/atom NULL fix")
    lmp.command("compute sum all reduce sum c_virials[*]")
    lmp.command("compute pressure all pressure NULL fix")
    parts = " ".join(f"c_pressure[{k}]" for k in range(1, 7))
    sums = " ".join(f"c_sum[{k}]" for k in range(1, 7))
    lmp.command(f"thermo_style custom step pe {parts} {sums}")
    lmp.command("variable energies atom c_energies")
    lmp.command("run 0")
    forces = np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3)
    energies = np.array(lmp.gather("c_energies", 1, 1))
    pressure = np.array([lmp.extract_compute("pressure", 0, 1)[k] for k in range(6)])
    total = np.array([lmp.extract_compute("sum", 0, 1)[k] for k in range(6)])
    order = [0, 1, 2, 5, 4, 3]
    return {
        "energy": convert(lmp.get_thermo("pe"), "energy", units, "ASE"),
        "forces": convert(forces, "force", units, "ASE"),
        "energies": convert(energies, "energy", units, "ASE"),
        "stress": -convert(pressure, "pressure", units, "ASE")[order],
        # Shares are pressure times volume.
        "stress_of_shares": convert(total, "pressure", units, "ASE")[order] / atoms.get_volume(),
    }


def main() -> None:
    """Evaluate the structures of the command line."""
    model, structures, output, units = sys.argv[1:]
    potential = load_model(model)
    found = {}
    for index, atoms in enumerate(ase.io.iread(structures, ":")):
        results = evaluated(potential, atoms, f"{output}.{index}.data", units)
        found |= {f"{index}/{name}": value for name, value in results.items()}
    if MPI.COMM_WORLD.rank == 0:
        np.savez(output, **found)


if __name__ == "__main__":
    main()
