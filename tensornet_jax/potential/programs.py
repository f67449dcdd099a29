"""Compiled programs of the models of this process, one for each architecture.

Parameters are arguments of a program, so that all potentials of one architecture share it, and a
new calculator for each structure compiles nothing.
"""

from functools import lru_cache

import flax.linen as nn
import jax
import numpy as np
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.capacity_ladder import CapacityLadder
from tensornet_jax.potential.prediction import Outputs, Variables, predict

MOST_ARCHITECTURES = 16
"""Programs of architectures that have not been used for long are given up."""


class Program:
    """The function that calculators run, compiled for the capacities in `ladder`.

    num_compiles: how often it has been compiled.
    seconds_to_compile: what the last time took, the first evaluation included.
    """

    def __init__(self, module: nn.Module) -> None:
        self.ladder = CapacityLadder()
        self.num_compiles = 0
        self.seconds_to_compile = 0.0
        self._module = module
        self._run = jax.jit(self._traced, static_argnames="compute")

    def _traced(
        self,
        variables: Variables,
        graph: AtomGraph,
        positions: Array,
        cell: Array,
        energy_scale: Array,
        compute: tuple[str, ...],
    ) -> Outputs:
        # Python runs this only while JAX traces, once for every set of shapes and properties.
        self.num_compiles += 1
        graph = graph.replace(positions=positions, cell=cell[None])
        outputs = predict(self._module, variables, graph, compute, energy_scale)
        return {name: outputs[name] for name in compute}

    def __call__(
        self,
        variables: Variables,
        graph: AtomGraph,
        positions: Float[Array | np.ndarray, "atoms 3"],
        cell: Float[Array | np.ndarray, "3 3"],
        energy_scale: Float[Array, ""],
        compute: tuple[str, ...],
    ) -> Outputs:
        """Return properties of one structure without E0; see `predict`.

        Args:
            variables: parameters and buffers of the module.
            graph: padded graph of the structure, whose positions and cell are not looked at.
            positions: Å, with room for padding.
            cell: Å.
            energy_scale: eV per unit of network output.
            compute: what to compute.
        """
        return self._run(variables, graph, positions, cell, energy_scale, compute=compute)


@lru_cache(maxsize=MOST_ARCHITECTURES)
def program_of(module: nn.Module) -> Program:
    """Return the program of all potentials whose module equals this one."""
    return Program(module)
