"""How a structure is divided over processes, and how large their arrays have to be."""

import ase.build
import numpy as np
import pytest

from tensornet_jax.graph.part import Reach
from tensornet_jax.interop.lammps_jax.division import process_grid, shares
from tensornet_jax.interop.lammps_jax.sizes import Form, Shell, Sizes, known_pairs
from tests.potential.test_parts import crystal


def molecule():
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=0)
    return atoms


def slab():
    atoms = crystal()
    atoms.pbc = (True, True, False)
    atoms.center(vacuum=2.0, axis=2)
    return atoms


@pytest.mark.parametrize(
    ("lengths", "processes", "grid"),
    [
        ((10, 10, 10), 1, (1, 1, 1)),
        ((10, 10, 30), 3, (1, 1, 3)),
        ((30, 20, 10), 6, (3, 2, 1)),
        ((10, 10, 10), 8, (2, 2, 2)),
        ((100, 1, 1), 5, (5, 1, 1)),
    ],
)
def test_bricks_have_little_surface(lengths, processes, grid):
    assert process_grid(np.diag(lengths), processes) == grid


@pytest.mark.parametrize("make", [crystal, slab, molecule])
@pytest.mark.parametrize("processes", [1, 3])
def test_every_atom_has_one_owner_and_all_its_neighbors_are_known(make, processes):
    atoms, reach = make(), 2.2
    found = list(shares(atoms, processes, reach))
    owned = np.concatenate([share.atoms[: share.num_owned] for share in found])
    assert sorted(owned.tolist()) == list(range(len(atoms)))
    images = [
        atoms.positions + np.array(shift) @ atoms.cell.array
        for shift in np.ndindex(*np.where(atoms.pbc, 7, 1))
        for shift in [np.where(atoms.pbc, np.array(shift) - 3, 0)]
    ]
    everything = np.concatenate(images)
    for share in found:
        apart = np.linalg.norm(share.positions[:, None] - share.positions, axis=-1)
        np.fill_diagonal(apart, np.inf)
        assert apart.min() > 0.5, "the same place twice"
        for row in range(share.num_owned):
            distances = np.linalg.norm(everything - share.positions[row], axis=1)
            expected = np.count_nonzero(distances < reach) - 1
            assert np.count_nonzero(apart[row] < reach) == expected


@pytest.mark.parametrize("form", ["ghosts", "exchange"])
def test_arrays_hold_the_structure(form: Form):
    atoms, skin = crystal(), 0.5
    shell = Shell.of(form, Reach(2.0, 2, None))
    sizes = Sizes.holding(atoms, shell, 2, skin=skin, headroom=1.0)
    larger = Sizes.holding(atoms, shell, 2, skin=skin, headroom=2.0)
    assert all(more >= size for more, size in zip(larger, sizes, strict=True))
    for share in shares(atoms, 2, shell.distance + skin):
        pairs = known_pairs(share, shell, shell.cutoff)
        assert len(share.atoms) < sizes.atoms
        assert len(pairs) < sizes.pairs <= sizes.edges
        degrees = np.bincount(np.append(pairs.first, pairs.second))
        assert degrees.max() <= sizes.slots
    with pytest.raises(ValueError, match=r"headroom 0.5"):
        Sizes.holding(atoms, shell, 2, skin=skin, headroom=0.5)


def test_ghosts_reach_two_cutoffs_at_least():
    assert Shell.of("ghosts", Reach(3.0, 1, None)).distance == 6.0
    assert Shell.of("ghosts", Reach(3.0, 4, None)).distance == 12.0
    assert Shell.of("ghosts", Reach(3.0, 4, 5.0)).hops == 3
    assert Shell.of("exchange", Reach(3.0, 4, 5.0)).distance == 5.0


def test_what_cannot_be_divided_is_refused():
    atoms = molecule()
    with pytest.raises(ValueError, match="0 processes"):
        list(shares(atoms, 0, 1.0))
    atoms.pbc = (False, True, False)
    with pytest.raises(ValueError, match="True along b, but"):
        list(shares(atoms, 1, 1.0))
