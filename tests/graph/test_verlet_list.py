"""A list holds while no pair outside it can have come within the cutoff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.graph.long_range import STRETCH
from tensornet_jax.graph.verlet_list import (
    OneStructure,
    VerletSkin,
    bounded_stretch,
    exact_stretch,
    periodic_inverse,
)

CUTOFF, REACH = 4.0, 0.6
EVERYWHERE = np.array([True, True, True])

pytestmark = pytest.mark.usefixtures("x64")


def some_atoms(count=6, pbc=EVERYWHERE, seed=0):
    """Positions of atoms in a skewed cell, and the skin of their list."""
    rng = np.random.default_rng(seed)
    cell = 7.0 * np.array([[1.0, 0.0, 0.0], [0.3, 1.0, 0.0], [-0.2, 0.4, 1.0]])
    positions = rng.random((count, 3)) @ cell
    inverse = periodic_inverse(cell, pbc)
    return VerletSkin(positions, cell[None], inverse[None], np.array([REACH]))


def left(skin, positions, stretch=None, **options):
    return skin.left(OneStructure(), positions, CUTOFF, stretch, **options).skin[0]


def test_two_atoms_that_approach_each_other_use_up_the_skin_together():
    skin = some_atoms()
    moved = skin.positions.copy()
    moved[0, 0] += REACH / 2
    moved[1, 0] -= REACH / 2
    assert left(skin, moved) == pytest.approx(0)
    assert left(skin, moved) == pytest.approx(left(skin, skin.positions) - REACH)


def test_what_all_atoms_do_together_uses_up_nothing_and_is_told():
    skin = some_atoms()
    found = skin.left(OneStructure(), skin.positions + np.array([100.0, 0, -7.0]), CUTOFF)
    assert found.skin[0] == pytest.approx(REACH)
    np.testing.assert_allclose(found.drift, [[100.0, 0, -7.0]])


@pytest.mark.parametrize("stretch_of", [bounded_stretch, exact_stretch])
def test_atoms_that_follow_the_cell_use_up_only_what_vectors_shrink(stretch_of):
    skin = some_atoms()
    for scale in (0.9, 0.98, 1.1):
        stretch = stretch_of(skin.strain(skin.cell * scale))
        found = left(skin, skin.positions * scale, stretch)
        assert found == pytest.approx(
            (1 - stretch.shrinking[0]) * (CUTOFF + REACH) - CUTOFF, abs=1e-12
        )


def test_the_bound_of_the_stretch_is_never_below_the_exact_one():
    skin, rng = some_atoms(), np.random.default_rng(1)
    for _ in range(50):
        strain = skin.strain(skin.cell @ (np.eye(3) + rng.normal(0, 0.1, (3, 3))))
        bound, exact = bounded_stretch(strain), exact_stretch(strain)
        assert bound.shrinking[0] >= exact.shrinking[0] - 1e-12
        assert bound.growing[0] >= exact.growing[0] - 1e-12


def test_a_rotated_cell_shrinks_nothing_by_singular_values():
    skin = some_atoms()
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    stretch = exact_stretch(skin.strain(skin.cell @ rotation))
    np.testing.assert_allclose([stretch.shrinking, stretch.growing], 0, atol=1e-12)
    assert left(skin, skin.positions @ rotation, stretch) == pytest.approx(REACH)


def test_a_cell_stretched_too_far_for_its_waves_ends_the_list():
    skin = some_atoms()
    for stretch_of in (bounded_stretch, exact_stretch):
        for scale, holds in ((1.01, True), (STRETCH + 0.001, False)):
            stretch = stretch_of(skin.strain(skin.cell * [[[scale], [1.0], [1.0]]]))
            strain = np.eye(3) + stretch.strain[0]
            found = left(skin, skin.positions @ strain, stretch, k_vectors=True)
            assert (found >= 0) == holds


def test_open_directions_neither_stretch_nor_shrink():
    skin = some_atoms(pbc=np.array([True, False, True]))
    stretched = skin.cell.copy()
    stretched[0, 1] *= 3.0
    assert not skin.strain(stretched).any()


def test_a_list_of_all_pairs_never_ends_and_positions_that_are_no_numbers_end_others():
    skin = some_atoms()
    complete = VerletSkin(skin.positions, skin.cell, skin.inverse, np.array([np.inf]))
    assert left(complete, 10 * skin.positions) == np.inf
    broken = skin.positions.copy()
    broken[2, 1] = np.nan
    assert not left(skin, broken) >= 0


class Batch:
    """Atoms of two structures and one of padding, as dynamics has them."""

    node_graph = jnp.array([0, 0, 0, 1, 1, 1, 1])
    node_mask = jnp.array([True] * 6 + [False])

    def mean(self, values):
        """Mean over the atoms of each structure; padding does not move."""
        return jax.ops.segment_sum(values, self.node_graph, 2) / 3

    def largest(self, values):
        """Largest over the atoms of each structure."""
        return jax.ops.segment_max(jnp.where(self.node_mask, values, 0), self.node_graph, 2)

    def of_atoms(self, values):
        """Row of its structure for each atom."""
        return values[self.node_graph]

    def times(self, vectors, matrices):
        """Vector of each atom times the matrix of its structure."""
        return jnp.einsum("na,nab->nb", vectors, matrices[self.node_graph])


def test_structures_of_a_batch_under_jit_have_left_what_each_has_alone():
    one, other = some_atoms(3, seed=3), some_atoms(3, seed=4)
    rng = np.random.default_rng(5)
    moves = rng.normal(0, 0.05, (2, 3, 3))
    strains = np.eye(3) + rng.normal(0, 0.01, (2, 3, 3))
    cells = np.concatenate([one.cell, other.cell]) @ strains
    places = np.stack([one.positions, other.positions]) @ strains + moves
    padding = np.zeros((1, 3))
    together = VerletSkin(
        positions=jnp.asarray(np.vstack([one.positions, other.positions, padding])),
        cell=jnp.asarray(np.concatenate([one.cell, other.cell])),
        inverse=jnp.asarray(np.concatenate([one.inverse, other.inverse])),
        reach=jnp.full(2, REACH),
    )

    @jax.jit
    def found(skin, positions, cells):
        return skin.left(Batch(), positions, CUTOFF, bounded_stretch(skin.strain(cells))).skin

    ours = found(together, jnp.asarray(np.vstack([*places, padding])), jnp.asarray(cells))
    for index, skin in enumerate((one, other)):
        stretch = bounded_stretch(skin.strain(cells[index][None]))
        np.testing.assert_allclose(ours[index], left(skin, places[index], stretch), rtol=1e-12)
