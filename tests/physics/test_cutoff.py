"""A pair of atoms drawn apart through the cutoff: no jump in energy or force."""

import ase
import numpy as np
import pytest

from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.potential import Potential
from tests import tolerances
from tests.builders import config_of, in_box, with_config

pytestmark = pytest.mark.usefixtures("one_shape")

VARIANTS = {
    "exponential": {},
    "cutoff once": {"cutoff_once": True, "num_layers": 0},
    "gaussian": {"radial": "gaussian", "num_layers": 1},
    "lower cutoff": {"cutoff_lower": 1.0, "num_layers": 1},
    "polynomial": {"envelope": "polynomial", "num_layers": 1},
}
DIRECTION = np.array([0.48, 0.6, 0.64])
CUTOFF = 4.0
STEP = 1e-3
"""Å between the distances of a scan."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.slow] if name in ("gaussian", "polynomial") else [])
        for name in VARIANTS
    ],
)
def potential(request, o3_potential) -> Potential:
    assert o3_potential.cutoff == CUTOFF
    return with_config(o3_potential, **VARIANTS[request.param])


def scan(potential: Potential, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return energies relative to isolated atoms and forces along the bond, eV and eV/Å."""
    dimers = [in_box(ase.Atoms("CO", [[0, 0, 0], d * DIRECTION])) for d in distances]
    apart = in_box(ase.Atoms("CO", [[0, 0, 0], 2 * CUTOFF * DIRECTION]))
    *found, isolated = potential.evaluate([*dimers, apart], ("energy", "forces", "stress"))
    energies = np.array([r["energy"] for r in found]) - isolated["energy"]
    return energies, np.array([r["forces"][1] @ DIRECTION for r in found])


def edges_of(potential: Potential) -> list[tuple[float, int]]:
    """Return where the interaction ends and on which side of that distance it acts."""
    lower = config_of(potential, TensorNetConfig).cutoff_lower
    return [(CUTOFF, -1)] + ([(lower, 1)] if lower else [])


def test_atoms_out_of_reach_are_isolated(potential):
    lower = config_of(potential, TensorNetConfig).cutoff_lower
    out_of_reach = np.array([CUTOFF, CUTOFF + 1e-9, 1.3 * CUTOFF, 100.0])
    if lower:
        out_of_reach = np.append(out_of_reach, [lower, 0.5 * lower])
    energies, forces = scan(potential, out_of_reach)
    np.testing.assert_array_equal(energies, 0)
    np.testing.assert_array_equal(forces, 0)


def test_force_is_the_slope_of_the_energy_all_the_way_through_the_edges(potential):
    """Central differences straddle the edges too, where a jump would be divided by the step."""
    for edge, _ in edges_of(potential):
        distances = edge + STEP * np.arange(-100, 101)
        energies, forces = scan(potential, distances)
        assert abs(forces).max() > 1e-5
        slopes = (energies[2:] - energies[:-2]) / (2 * STEP)
        curvature = abs(np.diff(forces)).max() / STEP
        np.testing.assert_allclose(slopes, -forces[1:-1], rtol=0, atol=curvature * STEP)


def test_energy_and_force_fade_out_towards_the_edges(potential):
    """Force at most curvature · distance from the edge, energy at most half of that squared."""
    for edge, side in edges_of(potential):
        depth = np.geomspace(1e-6, 0.1, 21)
        energies, forces = scan(potential, edge + side * depth)
        curvature = abs(np.diff(forces) / np.diff(depth)).max()
        rounding = tolerances.SAME_SUM
        assert (abs(forces) <= curvature * depth + rounding).all()
        assert (abs(energies) <= 0.5 * curvature * depth**2 + rounding).all()


def test_curvature_of_the_polynomial_envelope_is_continuous(o3_potential):
    potential = with_config(o3_potential, **VARIANTS["polynomial"])
    depth = 1e-2 * 0.5 ** np.arange(7)
    _, forces = scan(potential, CUTOFF - depth)
    curvature = abs(np.diff(forces) / np.diff(depth))
    # It goes to zero, in proportion to the distance from the cutoff.
    assert curvature[-1] < 0.05 * curvature[0]
    np.testing.assert_allclose(curvature[1:] / curvature[:-1], 0.5, atol=0.05)


def test_curvature_has_a_limit_at_the_edges(potential):
    """It is the cosine envelope's: its second derivative steps from ½ (π / cutoff)² to 0.

    That step reaches the energy where the envelope enters it linearly, as a change of what the
    atom's edge to itself contributes. With a lower cutoff there is no such edge and no step.
    """
    for edge, side in edges_of(potential):
        depth = np.array([1e-4, 2e-4, 1e-3, 2e-3])
        _, forces = scan(potential, edge + side * depth)
        near, further = np.diff(forces)[[0, 2]] / np.diff(depth)[[0, 2]]
        if potential.config.envelope == "polynomial":
            assert abs(near) < 0.2 * abs(further)
            continue
        if potential.config.cutoff_lower:
            assert abs(near) < tolerances.EDGE_CURVATURE
        assert near == pytest.approx(
            further,
            rel=tolerances.EDGE_CURVATURE_RELATIVE,
            abs=tolerances.EDGE_CURVATURE,
        )
