"""DFT-D2 against numbers known from elsewhere."""

import jax.numpy as jnp
import numpy as np
import pytest
from ase import units

from tensornet_jax.ops.interactions.dispersion import D2_ELEMENTS, d2_energies, d2_parameters
from tensornet_jax.ops.radial import switched_off

pytestmark = pytest.mark.usefixtures("x64")


def test_parameters_are_those_of_the_paper_for_hydrogen_to_xenon():
    c6, radii = d2_parameters()
    assert tuple(range(1, 55)) == D2_ELEMENTS
    assert c6.shape == radii.shape == (55,)
    # C6 of carbon and xenon in atomic units, as DFT programs print them.
    in_atomic_units = c6 / (units.Hartree * units.Bohr**6)
    np.testing.assert_allclose(in_atomic_units[[6, 54]], [30.354, 520.19], rtol=1e-4)
    assert radii[6] == 1.452
    # Rows of transition metals share their numbers.
    assert len(set(c6[21:31])) == len(set(radii[39:49])) == 1


def test_energy_is_the_london_law_far_away_and_damped_where_atoms_touch():
    c6, radii = d2_parameters()
    pair = (jnp.array([c6[6]]), jnp.array([c6[8]])), (jnp.array([radii[6]]), jnp.array([radii[8]]))
    far, touching, close = (d2_energies(jnp.array([d]), *pair)[0] for d in (20.0, 2.794, 1.0))
    london = -np.sqrt(c6[6] * c6[8])
    np.testing.assert_allclose(far, london / 20.0**6, rtol=1e-12)
    np.testing.assert_allclose(touching, 0.5 * london / 2.794**6, rtol=1e-12)
    assert abs(close) < 1e-4 * abs(london)


def test_switching_off_leaves_near_distances_alone_and_ends_smoothly():
    distances = jnp.array([3.0, 8.0, 9.0, 10.0 - 1e-4, 10.0, 11.0])
    values = switched_off(distances, 10.0, 2.0)
    np.testing.assert_allclose(values[:3], [1, 1, 0.5])
    assert 0 < values[3] < 1e-11
    assert (values[4:] == 0).all()
    step = switched_off(distances, 10.0, 0.0)
    assert step.tolist() == [1, 1, 1, 1, 0, 0]
