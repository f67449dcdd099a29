"""A whole model with its kernels interpreted, as it runs on GPUs, against the forms of a CPU."""

import ase
import jax
import jax.numpy as jnp
import numpy as np

from tensornet_jax.graph.atom_graph import Capacity, batch_structures
from tensornet_jax.potential.potential import Potential
from tests.ops.kernels.agreement import in_both_forms

WATER = ase.Atoms("OHH", [[0, 0, 0.1], [0.2, 0.9, -0.3], [0.7, -0.6, -0.2]])


def check_with_kernels(potential: Potential, *, trained: bool) -> None:
    """Check energy and forces of a molecule of water, to 1e-11.

    Args:
        potential: in float64.
        trained: check the gradient of a loss of both, too.
    """
    structure = potential.structure(WATER)
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

    with potential.precision():
        found, expected = in_both_forms(everything, potential.variables["params"], graph)
    assert np.abs(expected[1]).max() > 0.001
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * max(1.0, np.abs(b).max()))
