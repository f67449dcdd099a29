"""MatGL's three ways to compute an energy from a state dict, edge by edge with 3×3 tensors.

What the versions 1.2.7 (DGL), 2.0.4 (PyG) and 3.0.3 of MatGL do over directed edges src → dst, in
numpy and float64; tensors are (F, 3, 3).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import ase
import numpy as np
from ase.neighborlist import neighbor_list
from scipy.special import expit, spherical_jn

ARGUMENTS: dict[str, Any] = {
    "element_types": ["Si", "C", "O", "H"],
    "units": 4,
    "nblocks": 2,
    "num_rbf": 6,
    "max_n": 3,
    "max_l": 3,
    "rbf_type": "SphericalBessel",
    "use_smooth": True,
    "activation_type": "swish",
    "cutoff": 3.6,
    "equivariance_invariance_group": "SO(3)",
    "dtype": "torch.float64",
    "width": 0.7,
    "is_intensive": False,
}


class Arrays:
    """A state dict with torch's layers as functions."""

    def __init__(self, state: Mapping[str, np.ndarray]):
        self.state = state

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        """W x + b on the last axis, without b where there is none."""
        bias = self.state.get(f"{name}.bias", 0.0)
        return x @ self.state[f"{name}.weight"].T + bias

    def mixed(self, name: str, x: np.ndarray) -> np.ndarray:
        """Channels of tensors (N, F, 3, 3) mixed."""
        return np.einsum("of,nfab->noab", self.state[f"{name}.weight"], x)

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        centered = x - x.mean(axis=-1, keepdims=True)
        scaled = centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-5)
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]


def silu(x: np.ndarray) -> np.ndarray:
    return x * expit(x)


def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """I, A and S of tensors (..., 3, 3)."""
    identity = np.trace(x, axis1=-2, axis2=-1)[..., None, None] / 3 * np.eye(3)
    transposed = np.swapaxes(x, -1, -2)
    return identity, (x - transposed) / 2, (x + transposed) / 2 - identity


def added(tensors: Iterable[np.ndarray]) -> np.ndarray:
    return np.sum(list(tensors), axis=0)


def square(x: np.ndarray) -> np.ndarray:
    return (x**2).sum(axis=(-1, -2))


def radial(distances: np.ndarray, arguments: Mapping[str, Any], arrays: Arrays) -> np.ndarray:
    """(E, R) of MatGL's smooth Bessel functions, by its recursion, or Gaussians."""
    if arguments["rbf_type"] == "Gaussian":
        centers = arrays.state["model.bond_expansion.rbf.centers"]
        return np.exp(-arguments["width"] * (distances[:, None] - centers) ** 2)
    cutoff, functions, last = arguments["cutoff"], [], 1.0
    for n in range(arguments["max_n"]):
        a, b = n + 1, n + 2
        waves = added(spherical_jn(0, k * np.pi * distances / cutoff) for k in (a, b))
        f = (-1) ** n * np.sqrt(2) * np.pi / cutoff**1.5 * a * b / np.sqrt(a**2 + b**2) * waves
        e = n**2 * (n + 2) ** 2 / (4 * (n + 1) ** 4 + 1)
        if n:
            d = 1 - e / last
            f = (f + np.sqrt(e / last) * functions[-1]) / np.sqrt(d)
            last = d
        functions.append(f)
    return np.stack(functions, axis=1)


class Edges:
    """Directed edges src → dst of a structure, with what MatGL computes of each."""

    def __init__(self, atoms: ase.Atoms, arguments: Mapping[str, Any], arrays: Arrays):
        cutoff = arguments["cutoff"]
        src, dst, distances, vectors = neighbor_list("ijdD", atoms, cutoff)
        self.ends = (src, dst)
        self.unit = vectors / distances[:, None]
        self.envelope = 0.5 * (np.cos(np.pi * distances / cutoff) + 1)
        self.basis = radial(distances, arguments, arrays)
        self.count = len(atoms)

    def summed(self, values: np.ndarray, at: int) -> np.ndarray:
        """Values of the edges summed at their sources (0) or at their destinations (1)."""
        total = np.zeros((self.count, *values.shape[1:]))
        np.add.at(total, self.ends[at], values)
        return total


def embedded(arrays: Arrays, kinds: np.ndarray, edges: Edges, at: int) -> np.ndarray:
    """Tensors (N, F, 3, 3) of the embedding."""
    base = "model.tensor_embedding"
    z = arrays.state[f"{base}.emb.weight"][kinds]
    pair = arrays.linear(f"{base}.emb2", np.concatenate([z[end] for end in edges.ends], axis=1))
    skew = np.cross(edges.unit[:, None], np.eye(3)).swapaxes(1, 2)
    traceless = edges.unit[:, :, None] * edges.unit[:, None, :] - np.eye(3) / 3
    geometry = (np.broadcast_to(np.eye(3), skew.shape), skew, traceless)
    sums = []
    for k, tensor in enumerate(geometry, start=1):
        weights = pair * arrays.linear(f"{base}.distance_proj{k}", edges.basis)
        weights = weights * edges.envelope[:, None]
        sums.append(edges.summed(weights[:, :, None, None] * tensor[:, None], at))
    gates = arrays.norm(f"{base}.init_norm", square(added(sums)))
    for k in range(2):
        gates = silu(arrays.linear(f"{base}.linears_scalar.{k}", gates))
    gates = gates.reshape(*z.shape, 3)
    return added(
        arrays.mixed(f"{base}.linears_tensor.{k}", part) * gates[..., k, None, None]
        for k, part in enumerate(sums)
    )


def interacted(
    arrays: Arrays, x: np.ndarray, name: str, edges: Edges, at: int, group: str
) -> np.ndarray:
    """Tensors after one interaction layer."""
    filters = edges.basis
    for k in range(3):
        filters = silu(arrays.linear(f"{name}.linears_scalar.{k}", filters))
    filters = (filters * edges.envelope[:, None]).reshape(-1, x.shape[1], 3)
    x = x / (square(x) + 1)[..., None, None]
    own = [arrays.mixed(f"{name}.linears_tensor.{k}", p) for k, p in enumerate(parts(x))]
    message = added(
        edges.summed(part[edges.ends[1]] * filters[..., k, None, None], at)
        for k, part in enumerate(own)
    )
    y = added(own)
    product = message @ y + y @ message if group == "O(3)" else 2 * y @ message
    size = (square(product) + 1)[..., None, None]
    change = added(
        arrays.mixed(f"{name}.linears_tensor.{k + 3}", part / size)
        for k, part in enumerate(parts(product))
    )
    return x + change + change @ change


def energy(
    state: Mapping[str, np.ndarray], arguments: Mapping[str, Any], atoms: ase.Atoms, program: str
) -> float:
    """Energy in eV.

    Args:
        state: MatGL's names → arrays.
        arguments: of MatGL's TensorNet.
        atoms: the structure.
        program: "dgl 1", "pyg 1" or "2": which program's sums.
    """
    embedding_at, message_at = {"dgl 1": (1, 1), "pyg 1": (1, 0), "2": (0, 0)}[program]
    arrays = Arrays(state)
    edges = Edges(atoms, arguments, arrays)
    kinds = np.array([arguments["element_types"].index(s) for s in atoms.symbols])
    group = arguments["equivariance_invariance_group"]
    x = embedded(arrays, kinds, edges, embedding_at)
    for layer in range(arguments["nblocks"]):
        x = interacted(arrays, x, f"model.layers.{layer}", edges, message_at, group)
    features = np.concatenate([square(part) for part in parts(x)], axis=1)
    features = arrays.linear("model.linear", arrays.norm("model.out_norm", features))
    value, gate = features, features
    for k in (0, 2, 4, 6):
        value = arrays.linear(f"model.final_layer.gated.layers.{k}", silu(value) if k else value)
        gate = arrays.linear(f"model.final_layer.gated.gates.{k}", silu(gate) if k else gate)
    total = (value * expit(gate)).sum()
    references = state["element_refs.property_offset"][kinds].sum()
    return float(state["data_std"] * total + state["data_mean"] + references)


def random_state(arguments: Mapping[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """Return weights with MatGL's names and shapes for the arguments of a TensorNet."""
    rng = np.random.default_rng(seed)
    width, kinds = arguments["units"], len(arguments["element_types"])
    gaussian = arguments["rbf_type"] == "Gaussian"
    size = arguments["num_rbf" if gaussian else "max_n"]
    state: dict[str, np.ndarray] = {
        "data_mean": np.array(0.7),
        "data_std": np.array(2.5),
        "element_refs.property_offset": rng.normal(size=kinds),
        "element_refs.onehot": np.eye(kinds),
        "model.tensor_embedding.emb.weight": rng.normal(size=(kinds, width)),
    }
    if gaussian:
        state["model.bond_expansion.rbf.centers"] = np.linspace(0, arguments["cutoff"] + 1, size)
    else:
        state["model.bond_expansion.rbf.cutoff"] = np.array(arguments["cutoff"])

    def linear(name: str, fan_in: int, fan_out: int, bias: bool = True) -> None:
        state[f"{name}.weight"] = rng.normal(size=(fan_out, fan_in)) / np.sqrt(fan_in)
        if bias:
            state[f"{name}.bias"] = 0.3 * rng.normal(size=fan_out)

    def norm(name: str, size: int) -> None:
        state[f"{name}.weight"] = 1 + 0.3 * rng.normal(size=size)
        state[f"{name}.bias"] = 0.3 * rng.normal(size=size)

    base = "model.tensor_embedding"
    linear(f"{base}.emb2", 2 * width, width)
    for k in range(3):
        linear(f"{base}.distance_proj{k + 1}", size, width)
        linear(f"{base}.linears_tensor.{k}", width, width, bias=False)
    linear(f"{base}.linears_scalar.0", width, 2 * width)
    linear(f"{base}.linears_scalar.1", 2 * width, 3 * width)
    norm(f"{base}.init_norm", width)
    for layer in range(arguments["nblocks"]):
        name = f"model.layers.{layer}"
        linear(f"{name}.linears_scalar.0", size, width)
        linear(f"{name}.linears_scalar.1", width, 2 * width)
        linear(f"{name}.linears_scalar.2", 2 * width, 3 * width)
        for k in range(6):
            linear(f"{name}.linears_tensor.{k}", width, width, bias=False)
    norm("model.out_norm", 3 * width)
    linear("model.linear", 3 * width, width)
    for branch in ("layers", "gates"):
        for k in (0, 2, 4, 6):
            linear(f"model.final_layer.gated.{branch}.{k}", width, width if k < 6 else 1)
    return state


def small_config(version: int, **changes: Any) -> dict[str, Any]:
    """Return what the model.json of a small potential holds."""
    model = {
        "@class": "TensorNet",
        "@module": "matgl.models._tensornet_pyg",
        "@model_version": version,
        "init_args": ARGUMENTS | changes,
    }
    return {"@class": "Potential", "kwargs": {"model": model, "calc_repuls": False}}
