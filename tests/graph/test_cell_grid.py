"""The bins of the neighbor list on the device: few enough, and each two tested once."""

import itertools

import numpy as np
import pytest

from tensornet_jax.graph.cell_capacity import cell_list_capacity
from tensornet_jax.graph.cell_grid import choose_grid, forward_stencil
from tests.builders import ethanol
from tests.graph.cells import EVERYWHERE, edges_of, found_by_device, host_edges, water_like

pytestmark = pytest.mark.usefixtures("x64")


def test_the_search_tests_a_number_of_distances_linear_in_the_atoms():
    per_atom = []
    for count in (1000, 8000, 64_000):
        positions, cell = water_like(count)
        grid = choose_grid(positions, cell, EVERYWHERE, 5.0, 1.2)
        per_atom.append(grid.candidates / count)
    assert max(per_atom) < 2.5 * min(per_atom)
    assert per_atom[-1] < 2500


def test_the_stencil_holds_each_two_opposite_bins_once():
    for reach in ((0, 0, 0), (1, 0, 2), (2, 2, 1)):
        steps = {tuple(step) for step in forward_stencil(reach).tolist()}
        everything = set(itertools.product(*(range(-r, r + 1) for r in reach)))
        mirrored = {tuple(-s for s in step) for step in steps}
        assert steps | mirrored == everything
        assert steps & mirrored == {(0, 0, 0)}


def test_two_fragments_far_apart_ask_for_few_bins():
    positions = np.concatenate([ethanol().positions, ethanol(1).positions + 5000.0])
    capacity = cell_list_capacity(positions, np.zeros((3, 3)), False, 5.0)
    assert capacity.num_bins < 100
    edges = edges_of(found_by_device(positions, np.zeros((3, 3)), (False,) * 3, 5.0, capacity))
    assert edges == host_edges(positions, np.zeros((3, 3)), False, 5.0)
