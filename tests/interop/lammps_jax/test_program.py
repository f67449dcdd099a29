"""Lists that programs make of the edges that LAMMPS gives, against a plain search."""

import jax.numpy as jnp
import numpy as np

from tensornet_jax.interop.lammps_jax.program import chosen_pairs, edge_list


def test_the_edges_that_arrive_at_each_atom_are_found():
    rng, padding = np.random.default_rng(0), 9
    pairs = np.array([(i, j) for i in range(padding) for j in range(i) if rng.random() < 0.4])
    pairs = np.append(rng.permuted(pairs, axis=1), [[padding, padding]], axis=0)
    first, second = jnp.asarray(pairs.T, jnp.int32)
    edges, overflow = edge_list(first, second, padding + 1, 8)
    count = len(pairs)
    assert not overflow
    for atom in range(padding):
        arriving = [k for k in range(count) if pairs[k, 0] == atom]
        arriving += [k + count for k in range(count) if pairs[k, 1] == atom]
        unused = [2 * count - 1] * (8 - len(arriving))
        assert sorted(np.asarray(edges.slots[atom]).tolist()) == sorted(arriving + unused)
    assert (edges.slots[padding] == 2 * count - 1).all()
    assert np.asarray(edges.mask).tolist() == ([True] * (count - 1) + [False]) * 2
    most = int(np.bincount(pairs[:-1].ravel()).max())
    assert not edge_list(first, second, padding + 1, most)[1]
    assert edge_list(first, second, padding + 1, most - 1)[1]


def test_pairs_are_chosen_and_too_many_are_noticed():
    first, second = jnp.arange(6, dtype=jnp.int32), jnp.arange(6, dtype=jnp.int32) + 1
    wanted = jnp.array([True, False, True, True, False, False])
    *pairs, overflow = chosen_pairs(first, second, wanted, 8, 4)
    assert np.asarray(pairs).tolist() == [[0, 2, 3, 7, 7], [1, 3, 4, 7, 7]]
    assert not overflow
    assert not chosen_pairs(first, second, wanted, 8, 3)[2]
    assert chosen_pairs(first, second, wanted, 8, 2)[2]
