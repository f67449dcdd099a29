"""Derivatives that the model does not return itself."""

import numpy as np
import pytest

from tests.builders import ethanol, evaluating_in_one_shape, small_potential
from tests.physics.structures import cation


@pytest.fixture
def one_shape():
    with evaluating_in_one_shape():
        yield


@pytest.mark.usefixtures("one_shape")
@pytest.mark.parametrize(
    "form", [pytest.param("charges", marks=pytest.mark.slow), "charges_and_dipoles"]
)
def test_polar_tensors_are_the_derivative_of_the_dipole(form):
    model = small_potential(heads=("dipole",), dipole_form=form, num_layers=0)
    atoms, step = cation(), 1e-4
    if form == "charges":
        # Which sum to zero, so that an ion is refused.
        atoms.info["charge"] = 0.0
    displaced = []
    for index in np.ndindex(len(atoms), 3):
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index] += sign * step
            displaced.append(moved)
    found = np.array([f["dipole"] for f in model.evaluate(displaced, ("dipole",))])
    slopes = (found[::2] - found[1::2]) / (2 * step)
    expected = slopes.reshape(len(atoms), 3, 3).transpose(0, 2, 1)
    # A second structure, whose rows must not be mixed up with those of the first.
    results = model.evaluate([ethanol(), atoms], ("polar_tensors",))
    other, polar = (result["polar_tensors"] for result in results)
    np.testing.assert_allclose(polar, expected, atol=1e-8)
    assert other.shape == (9, 3, 3)
    np.testing.assert_allclose(polar.sum(axis=0), atoms.info["charge"] * np.eye(3), atol=1e-12)
