"""Many structures evaluated in batches, by one device or by several at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tensornet_jax.graph.atom_graph import AtomGraph, Capacity, shard_graph, to_device
from tensornet_jax.graph.capacity_ladder import CapacityLadder
from tensornet_jax.graph.structure import Structure
from tensornet_jax.potential.prediction import Outputs, Variables, predict, predict_jit
from tensornet_jax.potential.results import Results
from tensornet_jax.runtime.devices import Devices

if TYPE_CHECKING:
    from tensornet_jax.potential.potential import Potential


def evaluate_packs(
    potential: "Potential",
    structures: Sequence[Structure],
    packs: Sequence[Sequence[int]],
    compute: tuple[str, ...],
    ladder: CapacityLadder,
    devices: Devices,
) -> Iterator[tuple[int, Results]]:
    """Yield the results of structures, each with its index.

    Args:
        potential: the potential.
        structures: prepared.
        packs: indices of structures that one device evaluates together.
        compute: the properties, without the Hessian.
        ladder: array sizes to choose from.
        devices: each takes a pack at a time. Of several processes all call this alike.
    """
    wanted = outputs_for(compute)
    with potential.precision():
        variables = devices.everywhere(potential.variables)
    for start in range(0, len(packs), devices.count):
        wave = packs[start : start + devices.count]
        chosen = [[structures[k] for k in pack] for pack in wave]
        # In the last wave some devices may have nothing to do.
        shards = [*chosen, *([[]] * (devices.count - len(chosen)))]
        with potential.precision():
            capacity = ladder.choose_for_each(chosen)
            outputs = dispatched(potential, variables, shards, wanted, capacity, devices)()
        for pack, own, found in zip(wave, chosen, outputs, strict=False):
            results = potential.assembly.of_batch(found, own, potential.per_atom)
            for index, result in zip(pack, results, strict=True):
                yield index, {name: result[name] for name in compute}


def outputs_for(compute: Iterable[str]) -> tuple[str, ...]:
    """Return what has to be computed for these properties, in the order that programs know.

    Energies of structures are summed up in float64 from those of their atoms.
    """
    totals = {"energy", "free_energy"}
    return tuple(sorted({"energies" if name in totals else name for name in compute}))


def dispatched(
    potential: "Potential",
    variables: Variables,
    shards: Sequence[Sequence[Structure]],
    compute: tuple[str, ...],
    capacity: Capacity,
    devices: Devices,
) -> Callable[[], list[Mapping[str, np.ndarray]]]:
    """Begin to compute properties, and return what waits for them.

    It has to run within the potential's precision, and in all of several processes alike.

    Args:
        potential: the potential.
        variables: to be used, on all devices.
        shards: structures of each device; of others than the process's own only the number counts.
        compute: as `outputs_for` returns it.
        capacity: that holds any of the shards.
        devices: as many as shards.

    Returns:
        a function of no arguments: the padded outputs of each shard, without E0.
    """
    scale = jnp.asarray(potential.energy_scale, potential.dtype)
    like = next(shard[0] for shard in shards if shard)
    graphs = [shard_graph(shards[k], capacity, potential.dtype, like) for k in devices.own]
    if devices.count == 1:
        outputs = predict_jit(potential.module, variables, to_device(graphs[0]), compute, scale)
    else:
        program = _program(potential.module, compute, devices)
        outputs = program(variables, devices.shards(graphs), np.asarray(scale))
    return lambda: devices.separate(jax.device_get(outputs))


@lru_cache(maxsize=32)
def _program(
    module: nn.Module, compute: tuple[str, ...], devices: Devices
) -> Callable[[Variables, AtomGraph | AtomGraph[np.ndarray], Float[np.ndarray, ""]], Outputs]:
    """Return `predict` compiled for several devices."""

    def on_each(variables: Variables, graph: AtomGraph, scale: Float[Array, ""]) -> Outputs:
        return predict(module, variables, graph, compute, scale)

    return devices.compiled(on_each, (False, True, False), returns_shards=True)
