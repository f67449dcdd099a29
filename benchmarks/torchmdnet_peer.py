"""torchmd-net's TensorNet as a peer: built, given weights, and run in each of its modes.

pip install torch torchmd-net
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module, util
from importlib.metadata import version
from typing import Any

import ase
import numpy as np

from tensornet_jax.benchmark.machine import describe_machine
from tensornet_jax.graph.neighbours import neighbour_pairs
from tensornet_jax.interop.torchmd_net import from_state_dict
from tensornet_jax.potential import Potential

# By name, since no type checker finds what need not be installed.
torch: Any = import_module("torch")

MODES = {
    "warp": "Warp kernels",
    "warp, list given": "Warp kernels, neighbour list given",
    "python": "plain torch",
    "python, list given": "plain torch, neighbour list given",
}
VERSIONS = {name: version(name) for name in ("torchmd-net", "torch", "warp-lang")}


def arguments(num_channels: int, num_layers: int, num_radial: int, cutoff: float) -> dict[str, Any]:
    """Return torchmd-net's hyperparameters of a TensorNet for energy and forces, float32."""
    return {
        "model": "tensornet",
        "embedding_dimension": num_channels,
        "num_layers": num_layers,
        "num_rbf": num_radial,
        "rbf_type": "expnorm",
        "trainable_rbf": False,
        "activation": "silu",
        "cutoff_lower": 0.0,
        "cutoff_upper": cutoff,
        "max_z": 100,
        "max_num_neighbors": 128,
        "equivariance_invariance_group": "O(3)",
        "output_model": "Scalar",
        "reduce_op": "add",
        "prior_model": None,
        "atom_filter": -1,
        "derivative": True,
        "precision": 32,
    }


@dataclass(frozen=True)
class Peer:
    """One network in torchmd-net, with Warp kernels and without, and in this package.

    models: torchmd-net's, by the name of the implementation.
    potential: the same weights here.
    """

    models: Mapping[str, Any]
    potential: Potential


def build(hyperparameters: Mapping[str, Any], seed: int = 0) -> Peer:
    """Return a network with random weights in all implementations."""
    torch.set_num_threads(describe_machine()["threads"])
    torch.manual_seed(seed)
    create = import_module("torchmdnet.models.model").create_model
    warp = create(dict(hyperparameters))
    module = import_module("torchmdnet.models.tensornet")
    if not module.OPT:
        raise RuntimeError("torchmd-net runs without its Warp kernels: pip install warp-lang")
    original = sys.modules[module.__name__]
    try:
        sys.modules[module.__name__] = _without_warp(module)
        plain = create(dict(hyperparameters))
    finally:
        sys.modules[module.__name__] = original
    plain.load_state_dict(warp.state_dict())
    state = {name: value.numpy() for name, value in warp.state_dict().items()}
    return Peer({"warp": warp, "python": plain}, from_state_dict(state, hyperparameters))


def _without_warp(module: Any) -> Any:
    """Import torchmd-net's TensorNet once more as it is where Warp is not installed."""
    ops = "torchmdnet.extensions.warp_ops"
    kept = sys.modules[ops]
    spec = util.spec_from_file_location("tensornet_without_warp", module.__file__)
    assert spec is not None
    assert spec.loader is not None
    copy = util.module_from_spec(spec)
    try:
        sys.modules[ops] = None  # pyright: ignore[reportArgumentType]
        spec.loader.exec_module(copy)
    finally:
        sys.modules[ops] = kept
    return copy


def energy_forces(peer: Peer, atoms: ase.Atoms, mode: str) -> Callable[[], np.ndarray]:
    """Return a function that computes the energy, then (3N) forces, in one row.

    The species embeddings of the pairs are tabulated beforehand, as torchmd-net offers for
    inference. In the modes with a list given the search for neighbours is left out: the network
    gets the edges, and makes vectors and distances of them.
    """
    implementation, _, given = mode.partition(", ")
    model = peer.models[implementation]
    representation = model.representation_model
    z = torch.tensor(atoms.numbers, dtype=torch.long)
    positions = torch.tensor(atoms.positions, dtype=torch.float32, requires_grad=True)
    box = torch.tensor(atoms.cell.array, dtype=torch.float32) if atoms.pbc.any() else None
    batch = torch.zeros(len(atoms), dtype=torch.long)
    search = representation.distance
    distance = given_edges(atoms, representation.cutoff_upper) if given else search

    def run() -> np.ndarray:
        representation.distance = distance
        energy, forces = model(z, positions, batch, box=box)
        representation.distance = search
        return np.concatenate([energy.detach().numpy().ravel(), forces.detach().numpy().ravel()])

    model.eval()
    representation.setup_for_inference(z, batch)
    return run


def given_edges(atoms: ase.Atoms, cutoff: float) -> Any:
    """Return a stand-in for torchmd-net's search that knows the edges already, self edges too."""
    pairs = neighbour_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    receivers, senders, shifts = pairs.directed()
    loops = np.arange(len(atoms))
    # Sorted by the atom where they arrive, as the search leaves them.
    first = np.concatenate([receivers, loops])
    order = np.argsort(first, kind="stable")
    second = np.concatenate([senders, loops])[order]
    offsets = np.concatenate([shifts @ atoms.cell.array, np.zeros((len(atoms), 3))])[order]
    edges = torch.tensor(np.stack([first[order], second]), dtype=torch.long)
    moved = torch.tensor(offsets, dtype=torch.float32)
    loop = edges[0] == edges[1]
    if len(atoms) and np.any(pairs.first == pairs.second):
        raise ValueError("torchmd-net takes no cell in which an atom is its own neighbour")

    class GivenEdges(torch.nn.Module):
        def forward(self, positions: Any, batch: Any = None, box: Any = None) -> Any:
            vectors = positions[edges[0]] - positions[edges[1]] - moved
            distances = torch.where(
                loop, 0.0, torch.linalg.vector_norm(vectors.masked_fill(loop[:, None], 1.0), dim=1)
            )
            return edges, distances, vectors

    return GivenEdges()
