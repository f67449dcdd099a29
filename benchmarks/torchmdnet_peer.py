"""torchmd-net's TensorNet as a peer: built, given weights, and run in each of its modes.

pip install torch torchmd-net
"""

import copy
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module, util
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import Calculator

from tensornet_jax.benchmark.machine import describe_machine
from tensornet_jax.graph.neighbors import neighbor_pairs
from tensornet_jax.interop.torchmd_net.checkpoint import from_state_dict
from tensornet_jax.potential.elements import with_elements
from tensornet_jax.potential.potential import Potential

# By name, since no type checker finds what need not be installed.
torch: Any = import_module("torch")

MODES = {
    "warp": "Warp kernels",
    "warp, list given": "Warp kernels, neighbor list given",
    "python": "plain torch",
    "python, list given": "plain torch, neighbor list given",
}
CALCULATORS = {
    "warp": "Warp kernels",
    "warp, torch.compile": "Warp kernels, compiled",
    "python": "plain torch",
    "python, torch.compile": "plain torch, compiled",
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


def build(
    hyperparameters: Mapping[str, Any],
    seed: int = 0,
    weights: Mapping[str, np.ndarray] | None = None,
    convert: Callable[..., Potential] = from_state_dict,
) -> Peer:
    """Return a network in all implementations.

    Args:
        hyperparameters: torchmd-net's.
        seed: of random weights.
        weights: torch names → arrays to take instead.
        convert: makes this package's potential of weights and hyperparameters.
    """
    torch.set_num_threads(describe_machine()["threads"])
    torch.manual_seed(seed)
    create = import_module("torchmdnet.models.model").create_model
    warp = create(dict(hyperparameters))
    if weights is not None:
        tensors = {name: torch.tensor(value) for name, value in weights.items()}
        warp.load_state_dict({**warp.state_dict(), **tensors})
    with _plain():
        plain = create(dict(hyperparameters))
    plain.load_state_dict(warp.state_dict())
    state = {name: value.numpy() for name, value in warp.state_dict().items()}
    return Peer({"warp": warp, "python": plain}, convert(state, hyperparameters))


@contextmanager
def _plain() -> Iterator[None]:
    """Let torchmd-net make its TensorNets as it does where Warp is not installed."""
    models = import_module("torchmdnet.models")
    names = ("tensornet", "tensornet2")
    modules = {name: import_module(f"torchmdnet.models.{name}") for name in names}
    if not modules["tensornet"].OPT:
        raise RuntimeError("torchmd-net runs without its Warp kernels: pip install warp-lang")
    ops = "torchmdnet.extensions.warp_ops"
    kept = sys.modules[ops]
    try:
        sys.modules[ops] = None  # pyright: ignore[reportArgumentType]
        # tensornet2 takes from tensornet whether there is Warp.
        for name, module in modules.items():
            without = _imported_again(module, f"{name}_without_warp")
            sys.modules[module.__name__] = without
            setattr(models, name, without)
        yield
    finally:
        sys.modules[ops] = kept
        for name, module in modules.items():
            sys.modules[module.__name__] = module
            setattr(models, name, module)


def _imported_again(module: Any, name: str) -> Any:
    spec = util.spec_from_file_location(name, module.__file__)
    assert spec is not None
    assert spec.loader is not None
    made = util.module_from_spec(spec)
    # torch.compile looks up by name where a function comes from.
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def with_own_elements(potential: Potential, structures: Sequence[ase.Atoms]) -> Potential:
    """Return the same network with a table of the structures' elements alone."""
    return with_elements(potential, sorted({int(z) for atoms in structures for z in atoms.numbers}))


def energy_forces(peer: Peer, atoms: ase.Atoms, mode: str) -> Callable[[], np.ndarray]:
    """Return a function that computes the energy, then (3N) forces, in one row.

    The species embeddings of the pairs are tabulated beforehand, as torchmd-net offers for
    inference. In the modes with a list given the search for neighbors is left out: the network
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
    distance = given_edges([atoms], representation.cutoff_upper) if given else search

    def run() -> np.ndarray:
        representation.distance = distance
        energy, forces = model(z, positions, batch, box=box)
        representation.distance = search
        return np.concatenate([energy.detach().numpy().ravel(), forces.detach().numpy().ravel()])

    model.eval()
    if hasattr(representation, "setup_for_inference"):
        representation.setup_for_inference(z, batch)
    return run


def one_batch(structures: Sequence[ase.Atoms]) -> tuple[Any, Any, Any]:
    """Return atomic numbers, positions and the structure of each atom as torch's tensors."""
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    positions = np.concatenate([atoms.positions for atoms in structures])
    sizes = torch.tensor([len(atoms) for atoms in structures])
    return (
        torch.tensor(numbers, dtype=torch.long),
        torch.tensor(positions, dtype=torch.float32),
        torch.repeat_interleave(torch.arange(len(structures)), sizes),
    )


def training_step(
    peer: Peer,
    structures: Sequence[ase.Atoms],
    labels: tuple[np.ndarray, np.ndarray],
    weights: tuple[float, float],
    learning_rate: float,
    mode: str,
) -> tuple[Callable[[], np.ndarray], Callable[[], tuple[float, Potential]]]:
    """Return one step of training with AdamW, and the loss with its gradient before any step.

    The weights are a copy: the peer's own stay as they are.

    Args:
        peer: the network.
        structures: the batch, molecules.
        labels: energies (B,) and forces (3N,) of the batch.
        weights: of the mean squared errors of the energies and of the force components.
        learning_rate: of AdamW, whose weight decay is 0.
        mode: one of `MODES`.

    Returns:
        a function that takes a step and returns the loss before it, and a function that returns
        the loss and its gradient, as a potential whose parameters it is.
    """
    implementation, _, given = mode.partition(", ")
    model = copy.deepcopy(peer.models[implementation]).train()
    representation = model.representation_model
    if given:
        representation.distance = given_edges(structures, representation.cutoff_upper)
    batch = one_batch(structures)
    energies, forces = (torch.tensor(x, dtype=torch.float32).reshape(-1) for x in labels)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, weight_decay=0.0, fused=True
    )

    def loss() -> Any:
        found_energies, found_forces = model(*batch)
        errors = (found_energies.reshape(-1) - energies, found_forces.reshape(-1) - forces)
        return sum(w * (error**2).mean() for w, error in zip(weights, errors, strict=True))

    def step() -> np.ndarray:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value.detach().numpy()

    def loss_and_gradient() -> tuple[float, Potential]:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        # In torchmd-net's layout a gradient is what its weights are: arrays under their names.
        state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        state |= {name: tensor.grad.numpy() for name, tensor in model.named_parameters()}
        gradient = from_state_dict(state, peer.potential.metadata["config"])
        return value.item(), gradient

    return step, loss_and_gradient


def calculator(peer: Peer, mode: str) -> Calculator:
    """Return torchmd-net's own ASE calculator in one of the modes of `CALCULATORS`."""
    implementation, _, option = mode.partition(", ")
    compiled = option == "torch.compile"
    make = import_module("torchmdnet.calculators").TMDNETCalculator
    state = peer.models[implementation].state_dict()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.ckpt"
        hyperparameters = dict(peer.potential.metadata["config"])
        torch.save(
            {
                "state_dict": {f"model.{name}": value for name, value in state.items()},
                "hyper_parameters": hyperparameters,
            },
            file,
        )
        with _plain() if implementation == "python" else nullcontext():
            made = make(
                str(file),
                compile=compiled,
                remove_ref_energy=False,
                max_num_neighbors=hyperparameters["max_num_neighbors"],
            )
    made.model.eval()
    return made


def given_edges(structures: Sequence[ase.Atoms], cutoff: float) -> Any:
    """Return a stand-in for torchmd-net's search that knows the edges already, self edges too."""
    found, start = [], 0
    for atoms in structures:
        pairs = neighbor_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
        if np.any(pairs.first == pairs.second):
            raise ValueError("torchmd-net takes no cell in which an atom is its own neighbor")
        receivers, senders, shifts = pairs.directed()
        loops = np.arange(len(atoms))
        ends = np.stack([np.concatenate([receivers, loops]), np.concatenate([senders, loops])])
        offsets = np.concatenate([shifts @ atoms.cell.array, np.zeros((len(atoms), 3))])
        found.append((ends + start, offsets))
        start += len(atoms)
    ends = np.concatenate([ends for ends, _ in found], axis=1)
    offsets = np.concatenate([offsets for _, offsets in found])
    # Sorted by the atom where they arrive, as the search leaves them.
    order = np.argsort(ends[0], kind="stable")
    edges = torch.tensor(ends[:, order], dtype=torch.long)
    moved = torch.tensor(offsets[order], dtype=torch.float32)
    loop = edges[0] == edges[1]

    class GivenEdges(torch.nn.Module):
        def forward(self, positions: Any, batch: Any = None, box: Any = None) -> Any:
            vectors = positions[edges[0]] - positions[edges[1]] - moved
            distances = torch.where(
                loop, 0.0, torch.linalg.vector_norm(vectors.masked_fill(loop[:, None], 1.0), dim=1)
            )
            return edges, distances, vectors

    return GivenEdges()
