"""The Hessian is the derivative of the forces."""

import ase
import numpy as np
import pytest

from tensornet_jax.graph.atom_graph import Capacity
from tensornet_jax.potential.potential import Potential
from tensornet_jax.testing import numerical_hessian
from tests import tolerances
from tests.builders import evaluating_in_one_shape, with_config
from tests.physics.structures import crystals

STRUCTURES = ("charged molecule", "cell smaller than the cutoff")


@pytest.fixture(scope="module")
def structures() -> dict[str, ase.Atoms]:
    molecule = ase.Atoms(
        "OHH",
        [[0.0, 0.1, 0.0], [0.9, 0.5, 0.1], [-0.7, 0.6, -0.2]],
        cell=np.diag([9.0, 9.0, 9.0]),
        info={"charge": -1.0},
    )
    return dict(zip(STRUCTURES, (molecule, crystals()["smaller than the cutoff"]), strict=True))


@pytest.fixture(scope="module")
def potential(o3_potential) -> Potential:
    """Return a model of one layer: its Hessian compiles in half the time of two."""
    return with_config(o3_potential, num_layers=1)


@pytest.fixture(scope="module")
def hessians(potential, structures) -> dict[str, np.ndarray]:
    # A row costs a backward pass of the padded graph, so the shape is as small as both allow.
    with evaluating_in_one_shape(Capacity(graphs=1, atoms=4, pairs=24, slots=24)):
        results = potential.evaluate(list(structures.values()), ("hessian",))
    return {name: r["hessian"] for name, r in zip(structures, results, strict=True)}


@pytest.mark.parametrize("name", STRUCTURES)
def test_hessian_is_the_negative_derivative_of_the_forces(potential, structures, hessians, name):
    def forces(displaced):
        with evaluating_in_one_shape():
            results = potential.evaluate(displaced, ("energy", "forces", "stress"))
        return [r["forces"] for r in results]

    numerical = numerical_hessian(structures[name], forces)
    largest = abs(numerical).max()
    assert largest > 1
    # What the difference quotient leaves out grows with the curvature of the potential.
    allowed = tolerances.FINITE_DIFFERENCE_HESSIAN * max(1, largest / 10)
    np.testing.assert_allclose(hessians[name], numerical, rtol=0, atol=allowed)


@pytest.mark.parametrize("name", STRUCTURES)
def test_hessian_is_symmetric(hessians, name):
    hessian = hessians[name]
    np.testing.assert_allclose(hessian, hessian.T, atol=abs(hessian).max() * tolerances.SAME_SUM)


@pytest.mark.parametrize("name", STRUCTURES)
def test_moving_all_atoms_together_costs_no_force(hessians, name):
    """The acoustic sum rule."""
    hessian = hessians[name]
    rows = hessian.reshape(len(hessian), -1, 3).sum(axis=1)
    np.testing.assert_allclose(rows, 0, atol=abs(hessian).max() * tolerances.SAME_SUM)
