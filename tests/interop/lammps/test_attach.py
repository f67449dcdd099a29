"""Forces in LAMMPS on one and on several processes against those of `Potential.evaluate`."""

from pathlib import Path

import ase
import ase.build
import ase.io
import numpy as np
import pytest

from tensornet_jax.potential.model_file import save_model
from tests.builders import small_potential
from tests.interop.lammps.launch import lammps_is_installed, launched
from tests.potential.uncertainty.sets import sure_potential
from tests.seams.variants import potential

DRIVER = Path(__file__).with_name("driver.py")
pytestmark = lammps_is_installed


def structures() -> list[ase.Atoms]:
    """Return a box of two cutoffs, a triclinic one, and a slab."""
    bulk = ase.build.bulk("C", "diamond", a=3.7, cubic=True).repeat((2, 2, 2))
    bulk.symbols[::5] = "O"
    bulk.rattle(0.05, seed=1)
    tilted = ase.build.bulk("C", "diamond", a=3.7, cubic=True).repeat((3, 1, 1))
    tilted.symbols[::3] = "O"
    tilted.set_cell([[11.1, 0, 0], [1.2, 3.8, 0], [-0.7, 0.9, 3.9]], scale_atoms=True)
    tilted.rattle(0.05, seed=2)
    slab = ase.build.bulk("C", "diamond", a=3.7, cubic=True).repeat((1, 2, 2))
    slab.symbols[::4] = "O"
    slab.rattle(0.05, seed=3)
    slab.center(vacuum=3.0, axis=2)
    slab.pbc = (True, True, False)
    return [bulk, tilted, slab]


POTENTIALS = {
    **{f"{n} layers": lambda n=n: small_potential(num_layers=n, cutoff=3.2) for n in (0, 1, 3)},
    **{name: lambda name=name: potential(name) for name in ("mace", "escn", "priors", "converted")},
}


@pytest.mark.parametrize(
    ("name", "count", "units"),
    [
        # On one process the matrix of tests/seams has them all.
        ("1 layers", 2, "real"),
        pytest.param("priors", 3, "metal", marks=pytest.mark.slow),
        pytest.param("0 layers", 2, "metal", marks=pytest.mark.slow),
        pytest.param("3 layers", 4, "metal", marks=pytest.mark.slow),
        pytest.param("mace", 2, "metal", marks=pytest.mark.slow),
        pytest.param("escn", 4, "metal", marks=pytest.mark.slow),
        pytest.param("converted", 3, "real", marks=pytest.mark.slow),
    ],
)
def test_forces_in_lammps_are_those_of_the_potential(tmp_path, name, count, units):
    found = POTENTIALS[name]()
    save_model(tmp_path / "model.safetensors", found)
    frames = structures()
    ase.io.write(tmp_path / "structures.xyz", frames, format="extxyz")
    frames = ase.io.read(tmp_path / "structures.xyz", ":")
    assert isinstance(frames, list)
    files = [tmp_path / name for name in ("model.safetensors", "structures.xyz", "found.npz")]
    run = launched(count, DRIVER, *files, units)
    assert run.returncode == 0, run.stderr
    results = np.load(tmp_path / "found.npz")
    expected = found.evaluate(frames, ("energy", "energies", "forces", "stress"))
    for index, (atoms, values) in enumerate(zip(frames, expected, strict=True)):
        here = {name: results[f"{index}/{name}"] for name in (*values, "stress_of_shares")}
        for name, tolerance in (("energy", 1e-9), ("energies", 1e-9), ("forces", 1e-8)):
            # ASE's kcal/mol and LAMMPS's differ in no digit, but files of ASE keep sixteen.
            np.testing.assert_allclose(here[name], values[name], rtol=1e-12, atol=tolerance)
        if atoms.pbc.all():
            stress = values["stress"][(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)]
            # LAMMPS's conversion to bar is older than today's value of the electron's charge.
            for name in ("stress", "stress_of_shares"):
                np.testing.assert_allclose(here[name], stress, rtol=2e-7, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2])
def test_deviations_in_lammps_are_those_of_the_potential(tmp_path, count):
    sure = sure_potential()
    save_model(tmp_path / "model.safetensors", sure)
    atoms = ase.build.bulk("C", "diamond", a=3.7, cubic=True).repeat((2, 1, 1))
    atoms.symbols[::5] = "O"
    atoms.rattle(0.05, seed=1)
    ase.io.write(tmp_path / "structure.xyz", atoms, format="extxyz")
    driver = DRIVER.with_name("deviations_driver.py")
    files = [tmp_path / name for name in ("model.safetensors", "structure.xyz", "found.npz")]
    run = launched(count, driver, *files)
    assert run.returncode == 0, run.stderr
    found = np.load(tmp_path / "found.npz")
    for step in (0, 2):
        atoms.positions = found["positions"][step]
        (said,) = sure.evaluate(atoms, ("energy_std", "forces_std"))
        largest = np.linalg.norm(said["forces_std"], axis=1).max()
        np.testing.assert_allclose(found["vectors"][step], [said["energy_std"], largest], rtol=1e-8)
    # Step 1 is not due: what was found before stays.
    np.testing.assert_array_equal(found["vectors"][1], found["vectors"][0])
