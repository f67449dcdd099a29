"""What is added to a model's outputs, and taken off labels, is the same everywhere."""

import ase
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule

from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.graph.structure import Structure, make_structure
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.results import (
    Assembly,
    about_center_of_mass,
    dipole_of_position,
    in_voigt_order,
    results_about_center_of_mass,
    unbatched,
)
from tests.builders import ELEMENTS

PER_ATOM = ("energies", "forces", "polar_tensors")


def config(form: str) -> TensorNetConfig:
    return TensorNetConfig.model_validate({"heads": ("energy", "dipole"), "dipole_form": form})


def ions() -> list[ase.Atoms]:
    """Return an anion of two atoms and a cation of nine, away from the origin."""
    found = [ase.Atoms("OH", [[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]), molecule("CH3CH2OH")]
    found[1].positions += [3.0, -2.0, 1.0]
    for atoms, charge in zip(found, (-1, 2), strict=True):
        atoms.info["charge"] = charge
    return found


def prepared() -> list[Structure]:
    return [make_structure(atoms, ELEMENTS.numbers, 3.0) for atoms in ions()]


def padded(seed: int = 0) -> dict[str, np.ndarray]:
    """Return outputs of the two ions in arrays with room for five more atoms."""
    rng = np.random.default_rng(seed)
    shapes = {"energies": (16,), "polar_tensors": (16, 3, 3), "dipole": (2, 3)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_a_batch_comes_apart_without_padding_in_float64():
    outputs = padded()
    first, second = unbatched(outputs, [2, 9], PER_ATOM)
    np.testing.assert_array_equal(first["energies"], outputs["energies"][:2])
    np.testing.assert_array_equal(second["energies"], outputs["energies"][2:11])
    np.testing.assert_array_equal(second["dipole"], outputs["dipole"][1])
    assert {array.dtype.name for array in first.values()} == {"float64"}


@pytest.mark.parametrize("form", ["charges", "charges_and_dipoles"])
def test_labels_ask_a_model_for_what_results_are_made_of(form):
    assembly = Assembly(config(form), ELEMENTS, energy_offset=3.25)
    structures, outputs = prepared(), padded()
    for index, (structure, results) in enumerate(
        zip(structures, assembly.of_batch(outputs, structures, PER_ATOM), strict=True)
    ):
        energy, dipole = assembly.asked_of_model(results["energy"], results["dipole"], structure)
        network = unbatched(outputs, [2, 9], PER_ATOM)[index]["energies"].sum()
        assert energy == pytest.approx(network, abs=1e-9)
        np.testing.assert_allclose(dipole, outputs["dipole"][index], atol=1e-12)
        assert results["energy"] == results["free_energy"] == results["energies"].sum()


def test_engines_add_what_calculators_add():
    assembly = Assembly(config("charges"), ELEMENTS, energy_offset=-1.5)
    structures = prepared()
    totals = assembly.total_references(structures)
    for total, structure in zip(totals, structures, strict=True):
        isolated = ELEMENTS.reference_energies[structure.species].sum()
        assert total == pytest.approx(isolated - 1.5, abs=1e-9)
    assert assembly.total_references([]).shape == (0,)


def test_dipole_of_an_ion_moves_with_it_as_its_polar_tensors_say():
    assembly = Assembly(config("charges_and_dipoles"), ELEMENTS)
    structures, outputs = prepared(), padded()
    shift = np.array([0.3, -0.2, 0.5])
    for found, structure in zip(unbatched(outputs, [2, 9], PER_ATOM), structures, strict=True):
        references = np.zeros(len(structure))
        here, there = (
            assembly.of_structure(found, structure.charge, positions, references)
            for positions in (structure.positions, structure.positions + shift)
        )
        moved = there["dipole"] - here["dipole"]
        np.testing.assert_allclose(moved, structure.charge * shift, atol=1e-12)
        # About the mean of the positions the moment does not change with all of them.
        added = (here["polar_tensors"] - found["polar_tensors"]).sum(axis=0)
        np.testing.assert_allclose(shift @ added, moved, atol=1e-12)


def test_the_moment_of_charges_alone_stays_where_it_is():
    structure = prepared()[0]
    lacks = dipole_of_position(config("charges"), structure.charge, structure.positions)
    np.testing.assert_array_equal(lacks, np.zeros(3))
    empty = dipole_of_position(config("charges_and_dipoles"), 1.0, np.zeros((0, 3)))
    np.testing.assert_array_equal(empty, np.zeros(3))


@pytest.mark.parametrize("form", ["charges", "charges_and_dipoles"])
def test_center_of_mass_is_the_same_origin_on_the_device_and_on_the_host(form):
    structures, outputs, about = prepared(), padded(), config(form)
    host = batch_structures(structures, Capacity(2, 16, 64, 16), "float64")
    with jax.enable_x64(True):
        graph = to_device(host)
        masses = np.ones(16)
        masses[:11] = np.concatenate([atoms.get_masses() for atoms in ions()])
        # The graph has each structure about its mean, where an ion's moment is the same.
        device = about_center_of_mass(
            about, {"dipole": jnp.asarray(outputs["dipole"], float)}, graph, jnp.asarray(masses)
        )["dipole"]
    results = Assembly(about, ELEMENTS).of_batch(outputs, structures, PER_ATOM)
    for found, result, atoms in zip(np.asarray(device), results, ions(), strict=True):
        charge, center = atoms.info["charge"], atoms.get_center_of_mass()
        expected = results_about_center_of_mass(about, result, charge, center)["dipole"]
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_stress_is_in_voigt_order_for_ase():
    stress = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
    np.testing.assert_array_equal(in_voigt_order({"stress": stress})["stress"], [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(in_voigt_order({"stress": np.arange(6)})["stress"], np.arange(6))
    assert in_voigt_order({"energy": 1.0}) == {"energy": 1.0}
