"""A whole MACE with its kernels interpreted, as it runs on GPUs, against the plain forms."""

import ase.build
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.ops.kernels.choice import use_kernels
from tensornet_jax.potential.elements import ElementTable
from tensornet_jax.potential.potential import create_potential

# It runs once, so that optimizing it would take longer than it can save.
QUICK = {"xla_backend_optimization_level": 0}

pytestmark = pytest.mark.usefixtures("x64")


def test_energy_forces_and_the_gradient_of_a_loss_are_those_of_the_plain_forms():
    config = MACEConfig(num_channels=16, l_max=1, correlation=2, radial_widths=(8,))
    elements = ElementTable((1, 8), np.zeros(2))
    potential = create_potential(config, elements, seed=0, dtype="float64")
    structure = potential.structure(ase.build.molecule("H2O"))
    graph = to_device(batch_structures([structure], Capacity.holding([structure]), "float64"))

    def loss(variables):
        found = potential.predict(variables, graph, ("energy", "forces"))
        return jnp.sum(found["energy"] ** 2) + jnp.sum(found["forces"] ** 2), found

    found = {}
    for mode in ("interpret", "off"):
        with use_kernels(mode):
            run = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=QUICK)
            found[mode] = jax.tree.leaves(run(potential.variables))
    for value, expected in zip(found["interpret"], found["off"], strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-11 * scale)
