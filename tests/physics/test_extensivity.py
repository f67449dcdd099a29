"""What is far away, in another graph or padding has no influence at all."""

from functools import partial

import ase
import jax
import numpy as np
import pytest
from ase.build import molecule

from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tests import tolerances
from tests.builders import UNOPTIMIZED, ethanol, in_box, with_config
from tests.physics.structures import cation, crystals, everything

pytestmark = pytest.mark.usefixtures("one_shape")

COMPUTE = ("energy", "energies", "forces", "stress")


def assert_close(found, expected) -> None:
    scale = abs(np.asarray(expected)).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=scale * tolerances.SAME_SUM)


@pytest.mark.parametrize(
    ("name", "repeats"),
    [
        ("bulk", (1, 2, 1)),
        ("skewed", (1, 1, 2)),
        ("left-handed", (2, 1, 1)),
        ("smaller than the cutoff", (2, 2, 2)),
        ("smaller than the cutoff", (3, 1, 1)),
        ("slab", (1, 2, 1)),
        ("wire", (3, 1, 1)),
    ],
)
def test_supercell_is_a_multiple_of_the_cell(o3_potential, name, repeats):
    cell = crystals()[name]
    copies = int(np.prod(repeats))
    one, many = o3_potential.evaluate([cell, cell * repeats], COMPUTE)
    assert_close(many["energy"], copies * one["energy"])
    assert_close(many["energies"], np.tile(one["energies"], copies))
    assert_close(many["forces"], np.tile(one["forces"], (copies, 1)))
    assert_close(many["stress"], one["stress"])


def test_molecules_far_apart_add_up(o3_potential):
    parts = [in_box(ethanol()), in_box(molecule("H2O")), in_box(molecule("CH4"))]
    together = in_box(ase.Atoms())
    for distance, part in enumerate(parts):
        moved = part.copy()
        moved.positions += [0, 60.0 * distance, 0]
        together += moved
    *apart, whole = o3_potential.evaluate([*parts, together], COMPUTE)
    assert_close(whole["energy"], sum(part["energy"] for part in apart))
    assert_close(whole["forces"], np.concatenate([part["forces"] for part in apart]))
    assert_close(whole["stress"], sum(part["stress"] for part in apart))


def test_structure_alone_is_the_structure_in_a_batch(o3_potential):
    """Neighbors in the batch of other sizes, charges and cells change nothing."""
    structures = list(everything().values())
    batched = o3_potential.evaluate(structures, COMPUTE)
    alone = o3_potential.evaluate(structures, COMPUTE, batch_size=1)
    reordered = o3_potential.evaluate(structures[::-1], COMPUTE)[::-1]
    for found in (alone, reordered):
        for one, expected in zip(found, batched, strict=True):
            for key in COMPUTE:
                assert_close(one[key], expected[key])


@pytest.fixture(scope="module")
def padded(o3_potential):
    """The same molecule and crystal in a tight and in a far too large graph."""
    potential = with_config(o3_potential, num_layers=1)
    atoms = [cation(), crystals()["smaller than the cutoff"], in_box(ethanol(seed=1))]
    structures = [potential.structure(a) for a in atoms]

    @partial(jax.jit, compiler_options=UNOPTIMIZED)
    def weighted(graph, weights):
        def total(positions, cell, charge):
            moved = graph.replace(positions=positions, cell=cell, charge=charge)
            energy = potential.predict(potential.variables, moved, ("energy",))["energy"]
            return energy @ weights, energy

        gradient = jax.grad(total, argnums=(0, 1, 2), has_aux=True)
        return gradient(graph.positions, graph.cell, graph.charge)

    def evaluate(capacity, weights):
        with potential.precision():
            graph = to_device(batch_structures(structures, capacity, potential.dtype))
            return graph, jax.device_get(weighted(graph, np.asarray(weights, np.float64)))

    return evaluate


def test_no_gradient_leaks_from_one_structure_into_another(padded):
    capacity = Capacity(graphs=4, atoms=40, pairs=128, slots=24)
    for chosen in range(3):
        graph, ((positions, cell, charge), _) = padded(capacity, np.eye(4)[chosen])
        own = (graph.node_graph == chosen) & graph.node_mask
        assert (abs(positions[own]).max(axis=1) > 0).all()
        assert charge[chosen] != 0
        assert (positions[~own] == 0).all()
        assert (np.delete(cell, chosen, axis=0) == 0).all()
        assert (np.delete(charge, chosen) == 0).all()


def test_amount_of_padding_does_not_matter(padded):
    _, (tight, tight_energy) = padded(Capacity(4, 40, 128, 24), [1.0, 2.0, 3.0, 4.0])
    _, (wide, wide_energy) = padded(Capacity(8, 90, 400, 48), [1.0, 2.0, 3.0, 4.0, 5, 6, 7, 8])
    assert_close(wide_energy[:3], tight_energy[:3])
    assert (wide_energy[3:] == 0).all()
    for found, expected in zip(wide, tight, strict=True):
        assert_close(found[: len(expected)], expected)
        assert (found[len(expected) :] == 0).all()
