"""Properties of structures as one compiled program, on arrays that it is given."""

from collections.abc import Sequence
from typing import Any

import ase
import jax

from tensornet_jax.benchmark.measure import Work, compile_work
from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, batch_structures, to_device
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.prediction import predict


def padded(potential: Potential, structures: Sequence[ase.Atoms]) -> AtomGraph:
    """Return structures in one graph on the device, padded as `Potential.evaluate` pads them."""
    prepared = [potential.structure(atoms) for atoms in structures]
    with potential.precision():
        graph = batch_structures(prepared, Capacity.holding(prepared), potential.dtype)
        return to_device(graph)


def evaluation(
    potential: Potential, graph: AtomGraph, compute: Sequence[str] = ("energy", "forces")
) -> Work:
    """Compile properties of a graph; all of them are returned, and so computed."""
    names = tuple(compute)

    def run(variables: Any, graph: AtomGraph) -> dict[str, jax.Array]:
        found = predict(potential.module, variables, graph, names, potential.energy_scale)
        return {name: found[name] for name in names}

    with potential.precision():
        return compile_work(run, potential.variables, graph)
