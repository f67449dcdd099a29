"""Densities of the neighbors against a loop over the edges, and in the embedding of TensorNet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.models.tensornet import embedding as tensornet_embedding
from tensornet_jax.ops.messages.densities import neighbor_densities
from tests import tolerances
from tests.builders import UNOPTIMIZED, ethanol, small_potential
from tests.physics.structures import crystals

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def potential():
    return small_potential(num_layers=0)


def graph_of(potential):
    structures = [potential.structure(a) for a in (ethanol(), *crystals().values())]
    return to_device(batch_structures(structures, Capacity.holding(structures), "float64"))


def test_densities_are_sums_over_the_neighbors_of_each_species(potential):
    graph = graph_of(potential)
    edges = graph.edges.index
    rng = np.random.default_rng(0)
    signs = (1, -1, 1)
    geometry = rng.normal(size=(edges.num_pairs, 3))
    basis = rng.normal(size=(edges.num_pairs, 4)) * np.asarray(graph.edges.pair_mask)[:, None]
    species = np.asarray(graph.species)
    expected = np.zeros((len(species), 3, 5, 4))
    for e, (i, j) in enumerate(zip(edges.receivers, edges.senders, strict=True)):
        pair = e % edges.num_pairs
        turned = np.array(signs) if e >= edges.num_pairs else 1
        expected[i, :, species[j]] += np.outer(turned * geometry[pair], basis[pair])
    arrays = jnp.asarray(geometry), jnp.asarray(basis), graph.species
    found = neighbor_densities(*arrays, 5, edges, signs)
    np.testing.assert_allclose(found, expected, atol=tolerances.OP * 100)


def test_the_embedding_is_the_same_summed_by_species_and_by_edges(potential, monkeypatch):
    graph = graph_of(potential)

    def energy(variables, positions):
        moved = graph.replace(positions=positions)
        return jnp.sum(potential.module.apply(variables, moved)["energies"])

    with potential.precision():
        found = []
        for most in (0, 100):
            monkeypatch.setattr(tensornet_embedding, "MOST_SPECIES", most)
            by_both = jax.jit(jax.value_and_grad(energy, (0, 1)), compiler_options=UNOPTIMIZED)
            found.append(by_both(potential.variables, graph.positions))
    for one, other in zip(*(jax.tree.leaves(f) for f in found), strict=True):
        scale = max(np.abs(one).max(), 1.0)
        np.testing.assert_allclose(one, other, atol=tolerances.SAME_SUM * scale)
