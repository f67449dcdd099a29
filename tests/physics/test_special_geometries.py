"""Atoms without neighbors, on a line, in a plane, on top of each other, of unknown elements."""

from functools import partial

import ase
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule

from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.testing import numerical_forces
from tests import tolerances
from tests.builders import UNOPTIMIZED, ethanol, in_box, with_config
from tests.physics.structures import crystals

pytestmark = pytest.mark.usefixtures("one_shape")

COMPUTE = ("energy", "forces", "stress")


def test_atoms_without_neighbors_have_no_force_and_their_energies_add_up(o3_potential):
    carbon, oxygen, distant = o3_potential.evaluate(
        [
            in_box(ase.Atoms("C")),
            in_box(ase.Atoms("O", [[3.0, 2.0, 1.0]])),
            in_box(ase.Atoms("CO", [[0, 0, 0], [0, 0, 30.0]])),
        ],
        COMPUTE,
    )
    assert distant["energy"] == pytest.approx(
        carbon["energy"] + oxygen["energy"], rel=tolerances.OP
    )
    assert carbon["energy"] != oxygen["energy"]
    for result in (carbon, oxygen, distant):
        np.testing.assert_array_equal(result["forces"], 0)
        np.testing.assert_array_equal(result["stress"], 0)


def test_lone_atom_in_a_periodic_cell_sees_its_images(o3_potential):
    cell = [[2.6, 0.1, 0.0], [0.0, 2.7, 0.2], [0.3, 0.0, 2.8]]
    crystal = ase.Atoms("Si", cell=cell, pbc=True)
    (found,) = o3_potential.evaluate(crystal, COMPUTE)
    assert abs(found["stress"]).max() > 1e-3
    np.testing.assert_allclose(found["forces"], 0, atol=tolerances.SAME_SUM)


def test_structure_without_atoms_has_no_energy(o3_potential):
    (found,) = o3_potential.evaluate(in_box(ase.Atoms()), COMPUTE)
    assert found["energy"] == 0
    assert found["forces"].shape == (0, 3)
    np.testing.assert_array_equal(found["stress"], 0)


def test_parameter_gradients_are_finite_without_neighbors_and_without_atoms(o3_potential):
    """Through forces and stress, as in training; also for a graph that is nothing but padding."""
    potential = with_config(o3_potential, num_layers=1)
    capacity = Capacity(graphs=4, atoms=24, pairs=48, slots=12)

    @partial(jax.jit, compiler_options=UNOPTIMIZED)
    @jax.grad
    def gradient(variables, graph):
        found = potential.predict(variables, graph, ("energy", "forces", "stress"))
        return sum(jnp.sum(part**2) for part in found.values())

    def largest(*atoms):
        structures = [potential.structure(a) for a in atoms]
        with potential.precision():
            graph = to_device(batch_structures(structures, capacity, potential.dtype))
            leaves = jax.tree.leaves(jax.device_get(gradient(potential.variables, graph)))
        assert all(np.isfinite(leaf).all() for leaf in leaves)
        return max(float(abs(leaf).max()) for leaf in leaves)

    alone, distant = ase.Atoms("O"), ase.Atoms("CO", [[0, 0, 0], [0, 0, 30.0]])
    assert largest() == 0
    assert largest(alone) > 0
    assert largest(distant) > 0
    assert largest(alone, distant, in_box(ethanol())) > 0


@pytest.mark.parametrize("axis", np.vstack([np.eye(3), [[0.48, 0.6, 0.64]]]).tolist())
def test_atoms_on_a_line_feel_forces_along_it(o3_potential, axis):
    line = np.array(axis)
    structure = in_box(ase.Atoms("OCON", np.outer([0, 1.2, 2.3, 4.1], line)))
    (found,) = o3_potential.evaluate(structure, COMPUTE)
    across = found["forces"] - np.outer(found["forces"] @ line, line)
    scale = abs(found["forces"]).max()
    assert scale > 0.01
    np.testing.assert_allclose(across, 0, atol=scale * tolerances.MODEL_EQUIVARIANCE)


def test_atoms_in_a_plane_feel_no_force_out_of_it(o3_potential):
    flat = in_box(molecule("C6H6"))
    flat.positions[:, :2] += np.random.default_rng(0).normal(0, 0.05, (len(flat), 2))
    (found,) = o3_potential.evaluate(flat, COMPUTE)
    scale = abs(found["forces"]).max()
    assert scale > 0.01
    np.testing.assert_allclose(found["forces"][:, 2], 0, atol=scale * tolerances.MODEL_EQUIVARIANCE)


def test_forces_at_symmetric_points_are_energy_differences(o3_potential):
    """Where many terms vanish or cancel, autodiff through norms is most often wrong."""
    structures = [in_box(molecule("CO2")), in_box(molecule("C2H4")), in_box(molecule("CH4"))]
    found = o3_potential.evaluate(structures, COMPUTE)
    numerical = numerical_forces(
        structures,
        lambda displaced: [r["energy"] for r in o3_potential.evaluate(displaced, COMPUTE)],
    )
    for result, expected in zip(found, numerical, strict=True):
        np.testing.assert_allclose(
            result["forces"], expected, rtol=0, atol=tolerances.FINITE_DIFFERENCE_FORCES
        )


def test_atoms_on_top_of_each_other_are_named(o3_potential):
    double = ethanol()
    double.positions[5] = double.positions[2]
    with pytest.raises(ValueError, match=r"atoms 2 and 5 are .* apart.*\(structure 1\)"):
        o3_potential.evaluate([ethanol(), double])
    wrapped = crystals()["bulk"]
    wrapped.positions[3] = wrapped.positions[1] + wrapped.cell.array[0]
    with pytest.raises(ValueError, match=r"atoms 1 and 3 \(its periodic image"):
        o3_potential.evaluate(wrapped)


def test_nearly_coincident_atoms_still_have_finite_forces(o3_potential):
    close = ethanol()
    close.positions[5] = close.positions[2] + [1e-5, 0, 0]
    (found,) = o3_potential.evaluate(in_box(close), COMPUTE)
    assert np.isfinite(found["energy"])
    assert np.isfinite(found["forces"]).all()


def test_element_outside_the_table_is_named_with_its_structure(o3_potential):
    foreign = ethanol()
    foreign.numbers[3] = 78
    with pytest.raises(ValueError, match=r"Pt.*structure 2.*\[H, C, N, O, Si\]"):
        o3_potential.evaluate([ethanol(), ethanol(), foreign])
