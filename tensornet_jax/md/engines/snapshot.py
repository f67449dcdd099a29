"""The state of the compiled loop, on the host and back, to the last bit."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Shaped

from tensornet_jax.md.engines.compiled_loop import CompiledLoop
from tensornet_jax.md.output.restart_file import Snapshot


def snapshot_of(loop: CompiledLoop) -> Snapshot:
    """Return the state, and what the lists were made for, so that they can be made again."""
    count = loop.lists.num_atoms
    leaves, _ = jax.tree_util.tree_flatten_with_path(loop.state)
    on_device = {f"state{jax.tree_util.keystr(where)}": leaf for where, leaf in leaves}
    on_device |= {
        "list/positions": loop.neighbors.positions,
        "list/cell": loop.neighbors.cell,
        # The name that files of every version have.
        "freedom": loop.system.degrees_of_freedom,
    }
    arrays = {
        "frame/images": loop.frame.images.copy(),
        "frame/origin": loop.frame.origin.copy(),
        # Copies: on a CPU an array on the host may be the memory of one that the loop uses again.
        **{name: np.array(leaf) for name, leaf in jax.device_get(on_device).items()},
    }
    arrays["list/positions"] = arrays["list/positions"][:count]
    return Snapshot(loop.step, {"capacity": loop.lists.saved_capacity()}, arrays)


def restore_loop(loop: CompiledLoop, snapshot: Snapshot) -> None:
    """Bring a loop, made with the same arguments, to a state."""
    arrays = snapshot.arrays
    # Copies: jax may use the memory of an aligned numpy array, and the state is donated.
    leaves, tree = jax.tree_util.tree_flatten_with_path(loop.state)
    count = loop.lists.num_atoms
    values = [
        _padded_like(leaf, arrays[f"state{jax.tree_util.keystr(where)}"], count)
        for where, leaf in leaves
    ]
    loop.frame.images = arrays["frame/images"].copy()
    loop.frame.origin = arrays["frame/origin"].copy()
    loop.lists.restore_capacity(snapshot.details["capacity"])
    # What was at rest at the start need not be known any more.
    with loop.potential.precision():
        degrees = jnp.array(arrays["freedom"], copy=True)
    loop.system = replace(loop.system, degrees_of_freedom=degrees)
    loop.restore(
        jax.tree_util.tree_unflatten(tree, values), arrays["list/positions"], arrays["list/cell"]
    )


def _padded_like(
    leaf: Array, saved: Shaped[np.ndarray, "..."], count: int
) -> Shaped[np.ndarray, "..."]:
    """Return what was saved with as much padding as there is now: versions pad differently."""
    if saved.shape == leaf.shape:
        return saved
    rows = np.array(leaf)
    rows[:count] = saved[:count]
    return rows
