"""Ewald's sum and its mesh against Madelung constants, plain lattice sums and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from tensornet_jax.graph.neighbors import neighbor_pairs
from tensornet_jax.ops.interactions import ewald, pme
from tensornet_jax.ops.interactions.reciprocal_space import (
    mesh_shape,
    mesh_spacing,
    reciprocal_cutoff,
    reciprocal_indices,
    splitting_of,
)
from tests.tolerances import SAME_SUM

pytestmark = pytest.mark.usefixtures("x64")

by_sum = jax.jit(ewald.reciprocal_potentials, static_argnames="splitting")
by_mesh = jax.jit(pme.mesh_potentials, static_argnames=("shape", "splitting"))
constant_potentials = jax.jit(ewald.constant_potentials, static_argnames="splitting")


def potentials(atoms, charges, cutoff, accuracy, mesh=False):
    """Potential at each atom in e/Å by both sums, numpy's loop over pairs being the first."""
    cell, splitting = atoms.cell.array, splitting_of(cutoff, accuracy)
    pairs = neighbor_pairs(atoms.positions, cell, True, cutoff)
    distances = np.linalg.norm(pairs.vectors(atoms.positions, cell), axis=1)
    kernel = np.asarray(ewald.screened(jnp.asarray(distances), splitting))
    found = np.zeros(len(atoms))
    np.add.at(found, pairs.first, kernel * charges[pairs.second])
    np.add.at(found, pairs.second, kernel * charges[pairs.first])
    return found + _rest(atoms.positions, cell, charges, splitting, accuracy, mesh)


def _rest(positions, cell, charges, splitting, accuracy, mesh):
    q, r, a = jnp.asarray(charges)[:, None], jnp.asarray(positions), jnp.asarray(cell)[None]
    node_graph, periodic = jnp.zeros(len(charges), int), jnp.array([True])
    constant = constant_potentials(q, a, node_graph, periodic, splitting)
    host = np.asarray(cell)
    if mesh:
        shape = mesh_shape(host, mesh_spacing(splitting, accuracy))
        smooth = by_mesh(q, r, a, node_graph, periodic, shape, splitting)
    else:
        longest = reciprocal_cutoff(splitting, accuracy)
        indices = jnp.asarray(reciprocal_indices(host, longest))[None]
        smooth = by_sum(q, r, a, node_graph, indices, splitting)
    return np.asarray(smooth + constant)[:, 0]


def triclinic(repeat=1):
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.set_cell(atoms.cell.array @ [[1, 0.1, 0], [0, 1.05, 0.1], [0, -0.05, 1]], True)
    atoms = atoms.repeat(repeat)
    atoms.rattle(0.3, seed=0)
    charges = np.tile([1.0, -1.0], len(atoms) // 2)
    return atoms, charges + 0.2 * np.random.default_rng(0).normal(size=len(atoms))


@pytest.mark.parametrize("mesh", [False, True], ids=["sum", "mesh"])
@pytest.mark.parametrize(
    ("structure", "madelung"),
    [
        ("rocksalt", 1.747564594633182),
        ("cesiumchloride", 1.762674773070988),
        ("zincblende", 1.638055053388789),
    ],
)
def test_madelung_constants(structure, madelung, mesh):
    atoms = bulk("NaCl", structure, a=4.0)
    nearest = neighbor_pairs(atoms.positions, atoms.cell.array, True, 4.5)
    nearest = np.linalg.norm(nearest.vectors(atoms.positions, atoms.cell.array), axis=1).min()
    first, second = potentials(atoms, np.array([1.0, -1.0]), 6.0, 1e-13, mesh)
    assert -first * nearest == pytest.approx(madelung, abs=1e-8)
    assert second * nearest == pytest.approx(madelung, abs=1e-8)


def test_energy_is_that_of_a_plain_sum_over_ever_larger_spheres_of_cells():
    rng = np.random.default_rng(3)
    cell = np.array([[3.0, 0.2, 0], [0.5, 3.3, -0.4], [-0.3, 0.1, 2.8]])
    atoms = Atoms("H4", rng.uniform(size=(4, 3)) @ cell, cell=cell, pbc=True)
    charges = np.array([1.0, -0.4, 0.3, -0.9])
    steps = np.stack(np.meshgrid(*[np.arange(-32, 33)] * 3), axis=-1).reshape(-1, 3) @ cell
    radius = np.linalg.norm(steps, axis=1)

    def plain(width):
        # Cells count less and less with their distance, which ends in the limit of spheres.
        weights, energy = np.exp(-((radius / width) ** 2)), 0.0
        for i in range(4):
            for j in range(4):
                d = np.linalg.norm(atoms.positions[j] - atoms.positions[i] + steps, axis=1)
                inverse = np.divide(1, d, where=d > 1e-9, out=np.zeros_like(d))
                energy += 0.5 * charges[i] * charges[j] * weights @ inverse
        return energy

    # What is left falls as 1/width².
    limit = (4 * plain(16.0) - plain(8.0)) / 3
    # A sphere in vacuum has the energy of its surface's charges, a crystal in a conductor has not.
    dipole = charges @ atoms.positions
    limit -= 2 * np.pi / (3 * atoms.get_volume()) * dipole @ dipole
    energy = 0.5 * charges @ potentials(atoms, charges, 6.0, 1e-13)
    assert energy == pytest.approx(limit, abs=1e-4)


def test_potentials_do_not_depend_on_the_splitting_even_in_charged_cells():
    atoms, charges = triclinic()
    assert abs(charges.sum()) > 0.1
    reference = potentials(atoms, charges, 11.0, 1e-14)
    for cutoff in (4.0, 7.0):
        found = potentials(atoms, charges, cutoff, 1e-13)
        np.testing.assert_allclose(found, reference, atol=1e-11)
    # Accuracy is what it says.
    for accuracy in (1e-4, 1e-6):
        error = abs(potentials(atoms, charges, 6.0, accuracy) - reference).max()
        assert 0.001 * accuracy < error < accuracy


@pytest.mark.parametrize("accuracy", [1e-4, 1e-6, 1e-8])
def test_a_mesh_is_as_accurate_as_it_says(accuracy):
    atoms, charges = triclinic(2)
    reference = potentials(atoms, charges, 10.0, 1e-13)
    found = potentials(atoms, charges, 6.0, accuracy, mesh=True)
    assert abs(found - reference).max() < 3 * accuracy


@pytest.mark.parametrize("mesh", [False, True], ids=["sum", "mesh"])
def test_derivatives_with_strain_are_those_of_the_energy(mesh):
    atoms, charges = triclinic()
    splitting, cell = splitting_of(5.0, 1e-6), jnp.asarray(atoms.cell.array)
    longest = reciprocal_cutoff(splitting, 1e-6)
    indices = jnp.asarray(reciprocal_indices(atoms.cell.array, longest))[None]
    shape = mesh_shape(atoms.cell.array, mesh_spacing(splitting, 1e-6))
    q, node_graph = jnp.asarray(charges)[:, None], jnp.zeros(len(charges), int)
    periodic = jnp.array([True])

    def energy(positions, strain):
        deformation = jnp.eye(3) + 0.5 * (strain + strain.T)
        r, a = positions @ deformation, (cell @ deformation)[None]
        if mesh:
            smooth = by_mesh(q, r, a, node_graph, periodic, shape, splitting)
        else:
            smooth = by_sum(q, r, a, node_graph, indices, splitting)
        constant = constant_potentials(q, a, node_graph, periodic, splitting)
        return 0.5 * jnp.sum(q * (smooth + constant))

    place = jnp.asarray(atoms.positions), jnp.zeros((3, 3))
    rng = np.random.default_rng(1)
    along = tuple(jnp.asarray(rng.normal(size=x.shape)) for x in place)

    @jax.jit
    def at(step):
        return energy(*(x + step * d for x, d in zip(place, along, strict=True)))

    first = jax.jit(jax.grad(at))
    slope, curvature = first(0.0), jax.jit(jax.grad(first))(0.0)
    h = 1e-4
    np.testing.assert_allclose(slope, (at(h) - at(-h)) / (2 * h), rtol=1e-6)
    second = (first(h) - first(-h)) / (2 * h)
    np.testing.assert_allclose(curvature, second, rtol=1e-5)


@pytest.mark.parametrize("mesh", [False, True], ids=["sum", "mesh"])
def test_structures_of_a_batch_do_not_see_each_other_nor_padding(mesh):
    atoms, charges = triclinic()
    other, others = triclinic()
    other.set_cell(1.1 * other.cell.array, scale_atoms=True)
    splitting = splitting_of(5.0, 1e-6)
    longest = reciprocal_cutoff(splitting, 1e-6)
    lists = [reciprocal_indices(each.cell.array, longest) for each in (atoms, other)]
    # Between the two crystals a molecule, and padding at the end of the last structure.
    indices = np.zeros((3, max(map(len, lists)) + 5, 3), np.int32)
    indices[0, : len(lists[0])], indices[2, : len(lists[1])] = lists
    positions = np.concatenate([atoms.positions, np.eye(3), other.positions, np.zeros((4, 3))])
    q = np.concatenate([charges, [1.0, -2, 3], others, np.zeros(4)])
    q = jnp.asarray(np.stack([q, q[::-1] * (q != 0)], axis=1))
    node_graph = jnp.asarray(np.repeat([0, 1, 2], [8, 3, 12]))
    cell = jnp.asarray(np.stack([atoms.cell.array, np.zeros((3, 3)), other.cell.array]))
    periodic = jnp.array([True, False, True])
    shape = mesh_shape(other.cell.array, 0.4)

    def smooth(q, positions, cell, node_graph, periodic, indices):
        positions = jnp.asarray(positions)
        if mesh:
            place = q, positions, cell, node_graph, periodic
            return by_mesh(*place, shape, splitting)
        return by_sum(q, positions, cell, node_graph, indices, splitting)

    found = smooth(q, positions, cell, node_graph, periodic, jnp.asarray(indices))
    found += constant_potentials(q, cell, node_graph, periodic, splitting)
    assert not found[8:11].any()
    for graph, here, own in ((0, slice(0, 8), lists[0]), (2, slice(11, 19), lists[1])):
        place = cell[graph][None], jnp.zeros(8, int), jnp.array([True])
        alone = smooth(q[here], positions[here], *place, jnp.asarray(own)[None])
        alone += constant_potentials(q[here], *place, splitting)
        np.testing.assert_allclose(found[here], alone, rtol=SAME_SUM, atol=SAME_SUM)

    @jax.jit
    @jax.grad
    def gradient(r):
        return jnp.sum(smooth(q, r, cell, node_graph, periodic, jnp.asarray(indices)) ** 2)

    assert jnp.isfinite(gradient(positions)).all()


def test_a_neutral_molecule_in_a_big_box_has_its_coulomb_potential():
    rng = np.random.default_rng(0)
    charges = np.array([-0.8, 0.4, 0.4, 0.1, -0.1])
    atoms = Atoms("H5", 1.5 * rng.normal(size=(5, 3)), cell=[80.0] * 3, pbc=True)
    d = atoms.get_all_distances() + np.diag(np.full(5, np.inf))
    expected = 0.5 * charges @ (1 / d) @ charges
    dipole = charges @ atoms.positions
    # The images' dipoles, in a cube (Makov and Payne, Phys. Rev. B 51, 4014 (1995)).
    expected -= 2 * np.pi / (3 * 80.0**3) * dipole @ dipole
    found = 0.5 * charges @ potentials(atoms, charges, 20.0, 1e-8)
    assert found == pytest.approx(expected, abs=1e-6)


def test_sizes_of_a_mesh_are_what_fourier_transforms_like():
    assert mesh_shape(np.diag([1.0, 7.1, 12.9]), 1.0) == (6, 8, 15)
