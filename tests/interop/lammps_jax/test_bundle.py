"""Programs of bundles, called as each process would, against the undivided structure.

What runs them inside LAMMPS is a plugin for a Kokkos build, which no package index has.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ase
import ase.build
import numpy as np
import pytest

from tensornet_jax.interop.lammps.types import ENERGY_UNITS
from tensornet_jax.interop.lammps_jax import write_bundle
from tensornet_jax.interop.lammps_jax.division import Share, shares
from tensornet_jax.potential.potential import Potential
from tests.builders import small_potential, with_config
from tests.models.every_model import small_model
from tests.potential.test_parts import crystal
from tests.seams.variants import potential

pytest.importorskip("lammps_jax", reason="lammps_jax (extra 'lammps-jax') is not installed")

from tests.interop.lammps_jax.exchange import TARGETS, Processes
from tests.interop.lammps_jax.loaded import LoadedBundle, program_text

TYPES = ("C", "O", "C")
# Å; in small cells, so that there are few ghosts.
SKIN = 0.1


def slab() -> ase.Atoms:
    """Return a crystal that is periodic in two directions."""
    atoms = ase.build.bulk("C", "diamond", a=3.9, cubic=True)
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


def check(
    results: Sequence[tuple[float, np.ndarray]],
    parts: Sequence[Share],
    atoms: ase.Atoms,
    found: Potential,
    unit: float = 1.0,
) -> None:
    """Compare the sum over processes, forces at the owners of their atoms, with the whole."""
    assert all(share.num_owned for share in parts)
    forces = np.zeros((len(atoms), 3))
    for share, (_, own) in zip(parts, results, strict=True):
        np.add.at(forces, share.atoms, own)
    (expected,) = found.evaluate(atoms)
    energy = sum(energy for energy, _ in results)
    assert energy * unit == pytest.approx(expected["energy"], rel=0, abs=1e-9)
    np.testing.assert_allclose(forces * unit, expected["forces"], rtol=0, atol=1e-8)
    assert np.abs(forces).max() > 0.01


def written(
    path: Path, found: Potential, atoms: ase.Atoms, processes: int, **options: Any
) -> list[Share]:
    """Write a bundle, and return what each process knows."""
    options = {"skin": SKIN, "headroom": 1.0, "platform": "cpu", **options}
    bundle = write_bundle(path, found, TYPES, atoms, processes=processes, **options)
    return list(shares(atoms, processes, bundle.shell.distance + SKIN))


def check_ghosts(
    path: Path, found: Potential, atoms: ase.Atoms, processes: int, **options: Any
) -> LoadedBundle:
    parts = written(path, found, atoms, processes, **options)
    bundle = LoadedBundle(path)
    unit = ENERGY_UNITS[bundle.contract["unit_style"]]
    results = [bundle.call(share, types_of(atoms)) for share in parts]
    check(results, parts, atoms, found, unit)
    return bundle


@pytest.mark.parametrize(("num_layers", "processes"), [(0, 2), (2, 4)])
def test_ghosts_reach_as_far_as_messages_go(num_layers, processes, tmp_path):
    found = small_potential(num_layers=num_layers, cutoff=2.0, num_channels=4)
    bundle = check_ghosts(tmp_path / "bundle.json", found, crystal(), processes)
    assert bundle.contract["n_hops"] == max(2, num_layers + 1)
    assert bundle.contract["n_species"] == len(TYPES)
    if num_layers == 0:
        check_that_nothing_is_left_out(bundle)


def check_that_nothing_is_left_out(bundle: LoadedBundle) -> None:
    """More neighbors than an atom has slots make everything NaN."""
    close = np.random.default_rng(0).uniform(0, 1.1, (bundle.contract["max_atoms"], 3))[:12]
    energy, forces = bundle.call(Share(close, np.arange(12), 12), np.zeros(12, int))
    assert np.isnan(energy)
    assert np.isnan(forces).any()


@pytest.mark.parametrize("variant", ["mace", "escn", "compressed"])
def test_other_models_are_divided(variant, tmp_path):
    check_ghosts(tmp_path / "bundle.json", potential(variant), slab(), 2, units="real")


def test_pairs_beyond_the_cutoff_of_the_network_are_part_of_it(tmp_path):
    dispersion = {"name": "d2", "cutoff": 3.5, "switch_width": 1.0}
    priors = [{"name": "zbl"}, dispersion]
    network = small_potential(num_layers=1, cutoff=2.0, num_channels=4)
    found = with_config(network, priors=priors)
    bundle = check_ghosts(tmp_path / "bundle.json", found, slab(), 2)
    assert bundle.contract["cutoff"] == found.config.long_cutoff == 3.5


MODELS_WITH_MESSAGES: dict[str, Callable[[], Potential]] = {
    "tensornet": lambda: small_potential(num_layers=2, cutoff=2.0, num_channels=4),
    "mace": lambda: small_model("mace"),
    "escn": lambda: potential("escn"),
}


@pytest.mark.parametrize("name", MODELS_WITH_MESSAGES)
def test_features_are_exchanged_in_every_layer(name, tmp_path):
    found, atoms, path = MODELS_WITH_MESSAGES[name](), slab(), tmp_path / "bundle.json"
    parts = written(path, found, atoms, 2, form="exchange")
    processes = Processes(parts)
    bundles = [LoadedBundle(path, processes.names_of(number)) for number in range(2)]
    results = processes.run(
        [
            partial(bundle.call, share, types_of(atoms))
            for bundle, share in zip(bundles, parts, strict=True)
        ]
    )
    check(results, parts, atoms, found)
    exchanges = found.config.num_hops - 1
    assert processes.calls == [["forward"] * exchanges + ["reverse"] * exchanges] * 2
    assert processes.changed > 1e-3
    assert bundles[0].contract["cutoff"] == found.cutoff
    assert bundles[0].contract["n_hops"] == 1


def test_programs_for_gpus_call_nothing_that_lammps_does_not_have(tmp_path):
    found, path = small_model("mace", "float32"), tmp_path / "bundle.json"
    write_bundle(path, found, TYPES, slab(), form="exchange")
    content = json.loads(path.read_text("utf-8"))
    assert content["export_info"]["platform"] == "cuda"
    assert content["contract"]["precision"] == "float32"
    called = re.findall(r"custom_call @([\w.$]+)", program_text(content, "energy_and_forces_mlir"))
    assert set(called) == set(TARGETS)


def test_reference_energies_can_be_left_out(tmp_path):
    found = small_potential(num_layers=0, cutoff=2.0, num_channels=4)
    atoms, path = crystal(), tmp_path / "bundle.json"
    (share,) = written(path, found, atoms, 1, reference_energies=False)
    energy, _ = LoadedBundle(path).call(share, types_of(atoms))
    (expected,) = found.evaluate(atoms)
    references = found.reference_energies(found.structure(atoms)).sum()
    assert energy == pytest.approx(expected["energy"] - references, rel=0, abs=1e-9)
