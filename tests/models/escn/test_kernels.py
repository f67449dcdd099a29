"""A whole eSCN in the layout of accelerators, its kernels interpreted, against that of a CPU."""

import ase
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.graph.atom_graph import Capacity, batch_structures
from tensornet_jax.models.escn.config import ESCNConfig
from tensornet_jax.ops.kernels.choice import KernelMode, use_kernels
from tensornet_jax.potential.potential import ElementTable, create_potential
from tests.builders import UNOPTIMIZED


@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_energy_forces_and_the_gradient_of_a_loss_of_forces_are_the_same(trained):
    config = ESCNConfig(
        cutoff=3.0,
        num_channels=4,
        hidden_channels=4,
        l_max=1,
        num_layers=1,
        m_max=1,
        radial_widths=(4,),
        readout_width=4,
        group="SO(3)",
    )
    elements = ElementTable((1, 8), np.zeros(2))
    potential = create_potential(config, elements, seed=0, dtype="float64")
    water = ase.Atoms("OHH", [[0, 0, 0.1], [0.2, 0.9, -0.3], [0.7, -0.6, -0.2]])
    structure = potential.structure(water)
    graph = batch_structures([structure], Capacity.holding([structure]), "float64")

    def loss(params, graph):
        variables = {**potential.variables, "params": params}
        found = potential.predict(variables, graph, ("energy", "forces"))
        return jnp.sum(found["energy"]) + jnp.sum(found["forces"] ** 2), found

    def everything(params, graph):
        if not trained:
            found = loss(params, graph)[1]
            return found["energy"], found["forces"]
        (_, found), gradient = jax.value_and_grad(loss, has_aux=True)(params, graph)
        return found["energy"], found["forces"], gradient

    results = []
    modes: tuple[KernelMode, ...] = ("off", "interpret")
    for mode in modes:
        with use_kernels(mode), potential.precision():
            run = jax.jit(everything, compiler_options=UNOPTIMIZED)
            results.append(run(potential.variables["params"], graph))
    expected, found = (jax.tree.leaves(result) for result in results)
    assert np.abs(expected[1]).max() > 0.01
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * max(1.0, np.abs(b).max()))
