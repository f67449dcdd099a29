"""The state of the engine on the device, on the host and back, to the last bit."""

from dataclasses import replace

import jax
import numpy as np

from tensornet_jax.md.engines.compiled_loop import Engine
from tensornet_jax.md.output.restart_file import Snapshot


def snapshot_of(engine: Engine) -> Snapshot:
    """Return the state, and what the lists were made for, so that they can be made again."""
    count = engine.lists.num_atoms
    leaves, _ = jax.tree_util.tree_flatten_with_path(engine.state)
    on_device = {f"state{jax.tree_util.keystr(where)}": leaf for where, leaf in leaves}
    on_device |= {
        "list/positions": engine.neighbors.positions,
        "list/cell": engine.neighbors.cell,
        "freedom": engine.system.freedom,
    }
    arrays = {
        "frame/images": engine.frame.images.copy(),
        "frame/origin": engine.frame.origin.copy(),
        # Copies: on a CPU an array on the host may be the memory of one that the loop uses again.
        **{name: np.array(leaf) for name, leaf in jax.device_get(on_device).items()},
    }
    arrays["list/positions"] = arrays["list/positions"][:count]
    return Snapshot(engine.step, {"capacity": engine.lists.saved_capacity()}, arrays)


def restore_engine(engine: Engine, snapshot: Snapshot) -> None:
    """Bring an engine, made with the same arguments, to a state."""
    arrays = snapshot.arrays
    # Copies: jax may use the memory of an aligned numpy array, and the state is donated.
    leaves, tree = jax.tree_util.tree_flatten_with_path(engine.state)
    values = [arrays[f"state{jax.tree_util.keystr(where)}"] for where, _ in leaves]
    engine.frame.images = arrays["frame/images"].copy()
    engine.frame.origin = arrays["frame/origin"].copy()
    engine.lists.restore_capacity(snapshot.details["capacity"])
    # What was at rest at the start need not be known any more.
    engine.system = replace(engine.system, freedom=arrays["freedom"].copy())
    engine.restore(
        jax.tree_util.tree_unflatten(tree, values), arrays["list/positions"], arrays["list/cell"]
    )
