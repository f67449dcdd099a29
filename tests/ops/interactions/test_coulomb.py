"""Kernels, sums and equilibration of charges against what is known of them on paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.ops.interactions.coulomb import (
    cosine_switch,
    electrostatic_energies,
    equilibrated,
    overlap_damping,
    reaction_field,
)
from tests.ops.messages.test_message import NUM_ATOMS, random_edges
from tests.tolerances import OP

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize("dielectric", [1.0, 78.3, np.inf])
def test_reaction_field_ends_at_the_cutoff_with_the_slope_of_its_dielectric(dielectric):
    def kernel(d):
        return reaction_field(d, 7.0, dielectric)

    inside = 7.0 - 1e-9
    ratio = 0.0 if np.isinf(dielectric) else 3 / (2 * dielectric + 1)
    np.testing.assert_allclose(kernel(inside), 0, atol=1e-9)
    np.testing.assert_allclose(jax.grad(kernel)(inside), -ratio / 49, atol=1e-9)
    assert kernel(7.0) == 0
    # Without a dielectric, ε = 1, only the energy is shifted.
    if dielectric == 1.0:
        np.testing.assert_allclose(kernel(jnp.array([1.0, 3.0])), [1 - 1 / 7, 1 / 3 - 1 / 7])


def test_a_reaction_field_far_away_leaves_the_coulomb_law():
    np.testing.assert_allclose(reaction_field(jnp.array(2.0), 1e9), 0.5, rtol=1e-8)


def test_damping_rises_from_zero_to_exactly_one_and_is_smooth_everywhere():
    distances = jnp.linspace(0, 5, 51)
    values = overlap_damping(distances, 4.6)
    assert values[0] == 0
    assert (values[distances >= 4.6] == 1).all()
    assert (jnp.diff(values) >= 0).all()
    x = np.asarray(distances[:46]) / 4.6
    expected = 1 - np.exp(-1 / (1 - x**2)) / np.exp(-1)
    np.testing.assert_allclose(values[:46], expected, atol=1e-15)

    def energy(d):
        return overlap_damping(d, 4.6)

    for derivative in (jax.grad(energy), jax.grad(jax.grad(energy))):
        at_ends = jnp.stack([derivative(d) for d in (0.0, 4.6 - 1e-6, 4.6, 5.0)])
        assert jnp.isfinite(at_ends).all()
        np.testing.assert_allclose(at_ends[1:], 0, atol=1e-12)


def test_switch_is_zero_below_one_above_and_half_way_between():
    values = cosine_switch(jnp.array([0.0, 0.5, 1.25, 2.0, 9.0]), 0.5, 2.0)
    np.testing.assert_allclose(values, [0, 0, 0.5, 1, 1], atol=OP)


def test_energies_are_half_of_each_pairs_at_either_atom_set_by_set():
    edges, rng = random_edges(), np.random.default_rng(0)
    charges = rng.normal(size=(NUM_ATOMS, 2))
    kernel = np.append(rng.normal(size=edges.num_pairs - 1), 0)
    expected = np.zeros((NUM_ATOMS, 2))
    for pair, value in enumerate(kernel):
        i, j = int(edges.receivers[pair]), int(edges.senders[pair])
        for atom in (i, j):
            expected[atom] += 0.5 * value * charges[i] * charges[j]
    found = electrostatic_energies(jnp.asarray(charges), jnp.asarray(kernel), edges)
    np.testing.assert_allclose(found, expected, atol=OP)


def test_charges_are_shifted_to_the_total_charge_and_most_where_atoms_are_soft():
    node_graph = jnp.array([0, 0, 0, 1, 1, 1])
    charges = jnp.array([[0.3], [0.1], [0.0], [0.5], [-0.2], [0.0]])
    softness = jnp.array([[1.0], [3.0], [2.0], [0.0], [4.0], [0.0]])
    found = equilibrated(charges, softness, jnp.array([1.0, -2.0]), node_graph)
    sums = jax.ops.segment_sum(found, node_graph, 2)
    np.testing.assert_allclose(sums[:, 0], [1, -2], atol=1e-5)
    moved = found - charges
    np.testing.assert_allclose(moved[:3, 0] / moved[0, 0], [1, 3, 2])
    assert found[3] == charges[3]
    assert found[5] == 0
