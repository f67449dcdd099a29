"""What the universal MatPES potential gives here and in MatGL, and how fast, with the same weights.

pip install torch matgl torch-geometric
python benchmarks/matpes.py POTENTIAL MLEARN [FOLDER] [--parts crystals forces times dynamics]

POTENTIAL is the folder of TensorNet-MatPES-PBE-v2025.1-PES as MatGL publishes it, MLEARN one with
Cu_test.xyz, Li_test.xyz and Si_test.xyz. Every part runs in one process and replaces what
results.json has of it; the parts may be run one after the other.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import ase
import ase.io
import jax
import matgl_peer
import numpy as np
from ase import units
from ase.build import bulk
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from evaluation_work import evaluation, padded
from matpes_report import plot, table

from tensornet_jax.benchmark.machine import describe_machine, installed_versions, machine_name
from tensornet_jax.benchmark.measure import alternate
from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.interop.matgl import from_directory
from tensornet_jax.md import NPT, NVE, Sample, Simulation
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.elements import with_elements
from tensornet_jax.potential.potential import Potential

RESULTS = Path(__file__).parent / "results"
TOLERANCE = 1e-5
# Å of the conventional cells at room temperature, where relaxation starts.
CRYSTALS = {
    "Si": ("diamond", 5.43),
    "NaCl": ("rocksalt", 5.64),
    "Cu": ("fcc", 3.61),
    "MgO": ("rocksalt", 4.21),
}
STRAINS = np.linspace(-0.02, 0.02, 9)
"""Of lengths, for the equation of state."""
SIZES = (2, 3, 4)
"""Cubic cells along each edge: 64, 216 and 512 atoms of Si and MgO."""
STEPS, TIMESTEP, INTERVAL, TEMPERATURE = 1000, 1.0, 5, 300.0


def crystal(name: str, repeat: int = 1) -> ase.Atoms:
    """Return cubic cells of a crystal."""
    structure, a = CRYSTALS[name]
    return bulk(name, structure, a=a, cubic=True).repeat(repeat)


def compressed_for(potential: Potential, atoms: ase.Atoms) -> Potential:
    """Return the potential for the elements of a crystal alone, compressed.

    The tolerance is kept on the crystal off its sites: in random clusters, which `compress` takes
    by default, forces of a metal and an anion are so large that 1e-5 eV/Å is too much to ask.
    """
    numbers = sorted(set(atoms.numbers.tolist()))
    samples = []
    for seed, rattle in enumerate((0.05, 0.1, 0.2)):
        moved = atoms.copy()
        moved.rattle(rattle, seed=seed)
        samples.append(moved)
    return compress(with_elements(potential, numbers), TOLERANCE, samples)


def crystals(folder: Path) -> list[dict[str, Any]]:
    """Lattice constants and bulk moduli, all in float64."""
    ours = from_directory(folder, dtype="float64")
    theirs = matgl_peer.calculator(matgl_peer.load(folder, "float64"))
    records = []
    for name in CRYSTALS:
        small = compressed_for(ours, crystal(name))
        contenders = {
            "MatGL": theirs,
            "tensornet_jax": TensorNetCalculator(ours),
            "tensornet_jax, compressed": TensorNetCalculator(small),
        }
        for contender, calculator in contenders.items():
            atoms = crystal(name)
            atoms.calc = calculator
            cell: Any = FrechetCellFilter(atoms)
            BFGS(cell, logfile=None).run(fmax=1e-5, steps=200)
            records.append(
                {
                    "crystal": name,
                    "name": contender,
                    "lattice_A": float(atoms.cell.lengths().mean()),
                    "energy_eV_per_atom": atoms.get_potential_energy() / len(atoms),
                    "bulk_modulus_GPa": bulk_modulus(atoms),
                }
            )
            print(records[-1], flush=True)
    return records


def bulk_modulus(atoms: ase.Atoms) -> float:
    """Birch–Murnaghan's modulus in GPa of energies around a relaxed volume."""
    volumes, energies = [], []
    for strain in STRAINS:
        strained = atoms.copy()
        strained.calc = atoms.calc
        strained.set_cell(atoms.cell.array * (1 + strain), scale_atoms=True)
        volumes.append(strained.get_volume())
        energies.append(strained.get_potential_energy())
    return EquationOfState(volumes, energies, eos="birchmurnaghan").fit()[2] / units.GPa


def forces(folder: Path, mlearn: Path) -> list[dict[str, Any]]:
    """Zero-shot errors of forces on the test sets of mlearn, float32."""
    ours, theirs = from_directory(folder), matgl_peer.calculator(matgl_peer.load(folder))
    records = []
    for name in ("Cu", "Li", "Si"):
        frames = ase.io.read(mlearn / f"{name}_test.xyz", ":")
        assert isinstance(frames, list)
        wanted = np.concatenate([frame.get_forces() for frame in frames])
        found = np.concatenate([result["forces"] for result in ours.evaluate(frames)])
        peers = []
        for frame in frames:
            frame.calc = theirs
            peers.append(frame.get_forces())
        peer = np.concatenate(peers)
        records.append(
            {
                "element": name,
                "structures": len(frames),
                "mae_eV_per_A": float(abs(found - wanted).mean()),
                "mae_matgl_eV_per_A": float(abs(peer - wanted).mean()),
                "largest_difference_eV_per_A": float(abs(found - peer).max()),
            }
        )
        print(records[-1], flush=True)
    return records


def our_network(potential: Potential, atoms: ase.Atoms) -> Any:
    """Compile energy, forces and stress on arrays padded as `Potential.evaluate` pads them."""
    return evaluation(potential, padded(potential, [atoms]), ("energy", "forces", "stress"))


def steps(calculator: Any, atoms: ase.Atoms) -> Callable[[], np.ndarray]:
    """Return a function that moves all atoms a little, as dynamics do, and asks for everything."""
    atoms = atoms.copy()
    atoms.calc = calculator
    rng, start = np.random.default_rng(0), atoms.positions.copy()

    def run() -> np.ndarray:
        atoms.positions = start + rng.normal(scale=0.01, size=start.shape)
        atoms.get_potential_energy()
        atoms.get_stress()
        return atoms.get_forces()

    return run


def times(folder: Path, names: list[str]) -> list[dict[str, Any]]:
    """Energy, forces and stress of rattled crystals, float32, all contenders in turn."""
    ours, theirs = from_directory(folder), matgl_peer.load(folder)
    records = []
    for name in names:
        potentials = {
            "tensornet_jax": ours,
            "tensornet_jax, compressed": compressed_for(ours, crystal(name)),
        }
        for size in SIZES:
            atoms = crystal(name, size)
            atoms.rattle(0.05, seed=0)
            networks = {key: our_network(p, atoms) for key, p in potentials.items()}
            peer = matgl_peer.network(theirs, atoms)
            expected = peer()[1 : 1 + 3 * len(atoms)]
            for key, work in networks.items():
                deviation = abs(np.asarray(work()["forces"])[: len(atoms)].ravel() - expected).max()
                if deviation > 3 * TOLERANCE + 1e-5 * abs(expected).max():
                    raise RuntimeError(f"{name}, {key}: forces differ by {deviation:.1e} eV/Å")
            contenders: dict[str, Callable[[], Any]] = {
                "MatGL": steps(matgl_peer.calculator(theirs), atoms),
                "MatGL, graph given": peer,
            }
            for key, potential in potentials.items():
                contenders[key] = steps(TensorNetCalculator(potential), atoms)
                contenders[f"{key}, list given"] = networks[key]
            timings = alternate(list(contenders.values()), seconds=1.5, fewest=3, warm_up=2)
            for key, timing in zip(contenders, timings, strict=True):
                records.append(
                    {"crystal": name, "atoms": len(atoms), "name": key, **asdict(timing)}
                )
                print(records[-1], flush=True)
            jax.clear_caches()
    return records


def dynamics(folder: Path) -> dict[str, Any]:
    """Constant pressure, then constant energy, of 216 atoms of MgO in float32, as published."""
    potential = from_directory(folder)
    atoms = crystal("MgO", 3)
    atoms.rattle(0.01, seed=0)
    found: dict[str, Any] = {
        "atoms": len(atoms),
        "dtype": potential.dtype,
        "timestep_fs": TIMESTEP,
        "temperature_K": TEMPERATURE,
        "threads": describe_machine()["threads"],
    }
    ensembles = {"npt": NPT(temperature=TEMPERATURE, pressure=0.0), "nve": NVE(temperature=300.0)}
    velocities: Any = "thermal"
    for name, ensemble in ensembles.items():
        rows: list[list[float]] = []

        def note(sample: Sample, rows: list[list[float]] = rows) -> None:
            volume = abs(np.linalg.det(sample.cell[0]))
            rows.append(
                [
                    sample.time,
                    sample.temperature[0],
                    volume,
                    sample.potential_energy[0] + sample.kinetic_energy[0],
                    sample.conserved[0],
                ]
            )

        simulation = Simulation(
            potential, atoms, ensemble, timestep=TIMESTEP, velocities=velocities, seed=0
        )
        start = perf_counter()
        (atoms,) = simulation.run(STEPS, interval=INTERVAL, observers=[note])
        seconds = perf_counter() - start
        columns = np.array(rows).T
        keys = ("time_fs", "temperature_K", "volume_A3", "total_energy_eV", "conserved_eV")
        drift = np.polyfit(columns[0] / 1000, 1000 * columns[4] / len(atoms), 1)[0]
        residual = columns[4] - np.polyval(np.polyfit(columns[0], columns[4], 1), columns[0])
        found[name] = {
            "steps": STEPS,
            "seconds_with_compilation": seconds,
            "drift_meV_per_atom_ps": float(drift),
            "fluctuation_meV_per_atom": float(1000 * residual.std() / len(atoms)),
            **{key: column.tolist() for key, column in zip(keys, columns, strict=True)},
        }
        velocities = "keep"
        print(name, seconds, drift, found[name]["fluctuation_meV_per_atom"], flush=True)
    return found


PARTS = ("crystals", "forces", "times", "dynamics")


def main() -> None:
    """Run parts and write results.json, README.md and matpes.png."""
    parser = argparse.ArgumentParser(description="The MatPES potential here and in MatGL.")
    parser.add_argument("potential", type=Path, help="MatGL's folder with model.json and state.pt")
    parser.add_argument("mlearn", type=Path, help="folder with Cu_test.xyz, Li_test.xyz, …")
    parser.add_argument("folder", nargs="?", type=Path, help="default: results/MACHINE/matpes")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--crystals", nargs="+", choices=("Si", "MgO"), default=("Si", "MgO"))
    given = parser.parse_args()
    folder = given.folder or RESULTS / machine_name() / "matpes"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results |= {
        "benchmark": "matpes",
        "machine": describe_machine(),
        "versions": installed_versions() | matgl_peer.VERSIONS,
    }
    for part in given.parts:
        if part == "crystals":
            results[part] = crystals(given.potential)
        elif part == "forces":
            results[part] = forces(given.potential, given.mlearn)
        elif part == "times":
            kept = [r for r in results.get(part, []) if r["crystal"] not in given.crystals]
            results[part] = kept + times(given.potential, list(given.crystals))
        else:
            results[part] = dynamics(given.potential)
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(table(results), encoding="utf-8")
    plot(results, folder / "matpes.png")
    print(table(results))


if __name__ == "__main__":
    main()
