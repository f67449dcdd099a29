"""Programs of bundles, called as each process would, against the undivided structure.

What runs them inside LAMMPS is a plugin for a Kokkos build, which no package index has.
"""

import ase
import ase.build
import ase.units
import numpy as np
import pytest

from tensornet_jax.interop.lammps_jax import write_bundle
from tensornet_jax.interop.lammps_jax.bundle import HEADROOM
from tensornet_jax.interop.lammps_jax.division import shares
from tensornet_jax.interop.lammps_jax.sizes import Form
from tensornet_jax.potential.potential import Potential
from tests.builders import small_potential
from tests.interop.lammps_jax.loaded import LoadedBundle
from tests.potential.test_parts import crystal
from tests.seams.variants import potential

pytest.importorskip("lammps_jax", reason="lammps_jax (extra 'lammps-jax') is not installed")

TYPES = ("C", "O", "C")
# Å; small potentials in small cells, whose ghosts need not be many.
SKIN = 0.1


def slab() -> ase.Atoms:
    """Return a crystal that is periodic in two directions, with other atoms than those of type 0."""
    atoms = ase.build.bulk("C", "diamond", a=3.7, cubic=True).repeat((2, 1, 1))
    atoms.symbols[:2] = "O"
    atoms.rattle(0.05, seed=2)
    atoms.pbc = (True, True, False)
    atoms.center(vacuum=3.0, axis=2)
    return atoms


def types_of(atoms: ase.Atoms) -> np.ndarray:
    """Return a type for each atom; of two types for one element both."""
    types = np.where(atoms.numbers == 8, 1, 0)
    types[-3:] = np.where(types[-3:] == 0, 2, types[-3:])
    return types


def divided(
    bundle: LoadedBundle, atoms: ase.Atoms, processes: int, halo: float
) -> tuple[float, np.ndarray, int]:
    """Return energy, forces summed at the owners, and the number of processes with atoms."""
    energy, forces, busy = 0.0, np.zeros((len(atoms), 3)), 0
    for share in shares(atoms, processes, halo):
        found, own = bundle.call(share, types_of(atoms))
        energy += found
        np.add.at(forces, share.atoms, own)
        busy += share.num_owned > 0
    return energy, forces, busy


def check(
    found: Potential, atoms: ase.Atoms, path, form: Form, processes: int = 2, unit: float = 1.0
) -> None:
    options = {"skin": SKIN, "platform": "cpu"}
    units = "metal" if unit == 1.0 else "real"
    written = write_bundle(
        path, found, TYPES, atoms, processes=processes, form=form, units=units, **options
    )
    bundle = LoadedBundle(path)
    halo = written.shell.distance + SKIN
    energy, forces, busy = divided(bundle, atoms, processes, halo)
    assert busy == processes
    expected = found.evaluate(atoms)[0]
    assert energy * unit == pytest.approx(expected["energy"], rel=0, abs=1e-9)
    np.testing.assert_allclose(forces * unit, expected["forces"], rtol=0, atol=1e-8)


@pytest.mark.parametrize("num_layers", [0, 2])
def test_ghosts_reach_as_far_as_messages_go(num_layers, tmp_path):
    found = small_potential(num_layers=num_layers, cutoff=2.0, num_channels=4)
    check(found, crystal(), tmp_path / "bundle.json", "ghosts", processes=2 + num_layers)
