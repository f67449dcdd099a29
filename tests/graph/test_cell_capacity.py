"""Sizes of the list on the device hold what they were made for, and tell what they lack."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.graph.cell_capacity import cell_list_capacity, larger_capacity
from tensornet_jax.graph.cell_grid import CellListCapacity, choose_grid
from tensornet_jax.graph.neighbors import neighbor_pairs
from tensornet_jax.ops.messages.message import SLOT_BLOCK
from tests.graph.cells import (
    CELLS,
    EVERYWHERE,
    brute_force,
    edges_of,
    found_by_device,
    host_edges,
    padded,
    search,
    water_like,
)

pytestmark = pytest.mark.usefixtures("x64")


def test_the_capacity_of_a_tiny_cell_reaches_across_many_images():
    pbc = (True, False, True)
    cell = CELLS["skewed"] * 2.0
    positions = np.random.default_rng(12).random((3, 3)) @ cell
    capacity = cell_list_capacity(positions, cell, pbc, 5.0)
    assert max(capacity.reach) >= 3
    edges = edges_of(found_by_device(positions, cell, pbc, 5.0, capacity))
    assert edges == brute_force(positions, cell, pbc, 5.0)


def test_a_capacity_made_from_no_atom_holds_none():
    nothing = np.zeros((0, 3))
    assert not edges_of(found_by_device(nothing, np.eye(3) * 4.0, EVERYWHERE, 3.0))


def test_a_perfect_crystal_fits_the_capacity_made_from_it():
    sites = np.array(list(itertools.product(range(12), repeat=3))) * 2.5
    cell = np.eye(3) * 30.0
    capacity = cell_list_capacity(sites, cell, True, 4.9, headroom=1.0)
    found = found_by_device(sites, cell, EVERYWHERE, 4.9, capacity)
    assert edges_of(found) == host_edges(sites, cell, True, 4.9)


def exact_capacity(positions, cell, pbc, cutoff) -> CellListCapacity:
    """Exactly as large as needed, for slots to the block."""
    pairs = neighbor_pairs(positions, cell, pbc, cutoff)
    degree = int(np.bincount(pairs.directed()[0]).max())
    grid = choose_grid(positions, cell, pbc, cutoff, 1.0)
    return grid._replace(pairs=len(pairs) + 1, slots=-(-degree // SLOT_BLOCK) * SLOT_BLOCK)


@pytest.mark.parametrize(
    ("field", "less"), [("", 0), ("pairs", 1), ("slots", SLOT_BLOCK), ("per_bin", 1)]
)
def test_a_capacity_one_too_small_overflows_and_tells_what_is_needed(field, less):
    positions, cell = water_like(400, shape="skewed")
    exact = exact_capacity(positions, cell, EVERYWHERE, 3.0)
    small = exact._replace(**{field: getattr(exact, field) - less}) if field else exact
    found = found_by_device(positions, cell, EVERYWHERE, 3.0, small)
    needed = {name: int(getattr(found.needed, name)) for name in ("pairs", "slots", "per_bin")}
    grown = larger_capacity(small, found.needed, headroom=1.0)
    if not field:
        assert edges_of(found) == host_edges(positions, cell, EVERYWHERE, 3.0)
        assert grown == exact
        assert (needed["pairs"], needed["per_bin"]) == (exact.pairs, exact.per_bin)
        return
    assert found.overflow
    assert getattr(exact, field) - less < needed[field] <= getattr(exact, field)
    assert getattr(grown, field) >= getattr(exact, field)
    # Nothing else grows.
    assert grown._replace(**{field: 0}) == exact._replace(**{field: 0})


def test_a_cell_may_shrink_by_the_headroom_and_overflows_beyond():
    positions, cell = water_like(400)
    capacity = cell_list_capacity(positions, cell, EVERYWHERE, 4.0, headroom=1.5)
    capacity = capacity._replace(pairs=2 * capacity.pairs, slots=2 * capacity.slots)
    limit = 4.0 * capacity.bins[0] / capacity.reach[0] / cell[0, 0]
    assert limit < 1.5 ** (-1 / 3) * 1.001
    for scale in (1.0, limit * 1.001):
        here, box = positions * scale, cell * scale
        found = found_by_device(here, box, EVERYWHERE, 4.0, capacity)
        assert edges_of(found) == host_edges(here, box, EVERYWHERE, 4.0)
    here, box = positions * limit * 0.999, cell * limit * 0.999
    found = found_by_device(here, box, EVERYWHERE, 4.0, capacity)
    assert found.overflow
    with pytest.raises(ValueError, match="the cell has shrunk"):
        larger_capacity(capacity, found.needed)


def test_a_missing_padding_atom_overflows():
    positions, cell = water_like(50)
    capacity = cell_list_capacity(positions, cell, True, 3.0)
    everything, real = padded(positions)
    found = search(everything, np.ones_like(real), jnp.asarray(cell), EVERYWHERE, 3.0, capacity)
    assert found.overflow
    with pytest.raises(ValueError, match="the last atom is not padding"):
        larger_capacity(capacity, found.needed)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e20])
@pytest.mark.parametrize("pbc", [(True, True, True), (False, False, False)])
def test_positions_of_a_run_that_blew_up_overflow(bad, pbc):
    positions, cell = water_like(50)
    capacity = cell_list_capacity(positions, cell, pbc, 3.0)
    positions[7, 1] = bad
    found = found_by_device(positions, cell, pbc, 3.0, capacity)
    assert found.overflow
    with pytest.raises(ValueError, match="blown up"):
        larger_capacity(capacity, found.needed)


@pytest.mark.parametrize("bad", [np.full((3, 3), np.nan), np.zeros((3, 3)), np.ones((3, 3))])
def test_a_cell_that_has_lost_its_volume_overflows(bad):
    positions, cell = water_like(50)
    capacity = cell_list_capacity(positions, cell, True, 3.0)
    assert found_by_device(positions, bad, EVERYWHERE, 3.0, capacity).overflow


def test_a_capacity_for_something_else_is_refused():
    positions, cell = water_like(50)
    capacity = cell_list_capacity(positions, cell, (True, True, False), 3.0)
    with pytest.raises(ValueError, match="is not for pbc"):
        found_by_device(positions, cell, EVERYWHERE, 3.0, capacity)
    wide = cell_list_capacity(*water_like(3000), False, 3.0)
    with pytest.raises(ValueError, match=r"a cutoff of 7\.0 Å"):
        found_by_device(positions, cell, (False,) * 3, 7.0, wide)
    odd = capacity._replace(slots=capacity.slots + 1)
    with pytest.raises(ValueError, match="multiple of"):
        found_by_device(positions, cell, (True, True, False), 3.0, odd)
    huge = capacity._replace(pairs=2**30)
    with pytest.raises(ValueError, match="do not fit 32-bit indices"):
        found_by_device(positions, cell, (True, True, False), 3.0, huge)
    with pytest.raises(ValueError, match="headroom must be at least 1"):
        cell_list_capacity(positions, cell, True, 3.0, headroom=0.9)


def test_large_structures_are_counted_on_the_device_to_the_same_capacity(monkeypatch):
    positions, cell = water_like(300)
    by_host = cell_list_capacity(positions, cell, EVERYWHERE, 4.0)
    monkeypatch.setattr("tensornet_jax.graph.cell_capacity.MOST_COUNTED_BY_HOST", 10)
    # Where rounding fills a bin beyond what was counted, it grows until it fits.
    monkeypatch.setattr("tensornet_jax.graph.cell_capacity.choose_grid", one_too_full)
    by_device = cell_list_capacity(positions, cell, EVERYWHERE, 4.0)
    assert by_device._replace(per_bin=0) == by_host._replace(per_bin=0)
    fullest = choose_grid(positions, cell, EVERYWHERE, 4.0, 1.0).per_bin
    assert fullest <= by_device.per_bin <= by_host.per_bin


def one_too_full(positions, cell, periodic, cutoff, headroom):
    fullest = choose_grid(positions, cell, periodic, cutoff, 1.0).per_bin
    return choose_grid(positions, cell, periodic, cutoff, headroom)._replace(per_bin=fullest - 1)
