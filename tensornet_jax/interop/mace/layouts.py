"""How weights lie in mace-torch and here: pairs of maps that undo each other bit for bit.

Both have weights of variance 1. Degrees that e3nn strings together in one array are arrays of
their own here, species come first instead of second, and the paths of a message are counted in
another order and with edges that point the other way.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tensornet_jax.interop.torch.state_dict import StateDict
from tensornet_jax.ops.messages.edge_products import PathProduct
from tensornet_jax.ops.tensor_products.equivariant_polynomials import Contraction
from tensornet_jax.ops.tensor_products.symmetric_contraction import SymmetricContraction

Arrays = dict[str, np.ndarray]


class Layout(Protocol):
    """One module of mace-torch, and the parameters here that hold its weights."""

    @property
    def path(self) -> str:
        """Of the module here, below "params"."""
        ...

    def read(self, state: StateDict) -> Arrays:
        """Return the parameters by their names in the module."""
        ...

    def write(self, parameters: Mapping[str, np.ndarray]) -> Arrays:
        """Return the tensors of mace-torch by their names."""
        ...


@dataclass(frozen=True)
class Linear:
    """e3nn's Linear: one matrix a degree.

    name: in mace-torch.
    path: here.
    rows, columns: of the matrix of each degree; of columns often only one number for all.
    """

    name: str
    path: str
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def read(self, state: StateDict) -> Arrays:
        """See `Layout`."""
        parts = _split(state.take(f"{self.name}.weight"), self._shapes, self.name)
        return {f"kernel_{degree}": part for degree, part in enumerate(parts)}

    def write(self, parameters: Mapping[str, np.ndarray]) -> Arrays:
        """See `Layout`."""
        parts = [parameters[f"kernel_{degree}"] for degree in range(len(self.rows))]
        return {f"{self.name}.weight": np.concatenate([part.ravel() for part in parts])}

    @property
    def _shapes(self) -> list[tuple[int, int]]:
        return list(zip(self.rows, self.columns, strict=True))


@dataclass(frozen=True)
class BySpecies:
    """e3nn's FullyConnectedTensorProduct with one-hot species: a matrix a degree and species."""

    name: str
    path: str
    degrees: int
    channels: int
    species: int

    def read(self, state: StateDict) -> Arrays:
        """See `Layout`."""
        shape = (self.channels, self.species, self.channels)
        parts = _split(state.take(f"{self.name}.weight"), [shape] * self.degrees, self.name)
        return {f"kernel_{d}": part.transpose(1, 0, 2) for d, part in enumerate(parts)}

    def write(self, parameters: Mapping[str, np.ndarray]) -> Arrays:
        """See `Layout`."""
        parts = [parameters[f"kernel_{degree}"] for degree in range(self.degrees)]
        flat = [part.transpose(1, 0, 2).ravel() for part in parts]
        return {f"{self.name}.weight": np.concatenate(flat)}


@dataclass(frozen=True)
class Single:
    """One tensor that differs in its shape alone."""

    name: str
    path: str
    key: str
    shape: tuple[int, ...]
    torch_shape: tuple[int, ...]

    def read(self, state: StateDict) -> Arrays:
        """See `Layout`."""
        return {self.key: _shaped(state.take(self.name), self.shape, self.name)}

    def write(self, parameters: Mapping[str, np.ndarray]) -> Arrays:
        """See `Layout`."""
        return {self.name: np.reshape(parameters[self.key], self.torch_shape)}


@dataclass(frozen=True)
class RadialNetwork:
    """e3nn's FullyConnectedNet that makes the weights of messages."""

    name: str
    path: str
    hidden: int
    channels: int
    product: PathProduct

    def read(self, state: StateDict) -> Arrays:
        """See `Layout`."""
        found = {f"kernel_{k}": state.take(f"{self.name}.layer{k}.weight") for k in self._layers}
        last = f"kernel_{self.hidden}"
        return {**found, last: to_own_paths(found[last], self.product, self.channels, self.name)}

    def write(self, parameters: Mapping[str, np.ndarray]) -> Arrays:
        """See `Layout`."""
        found = {f"{self.name}.layer{k}.weight": parameters[f"kernel_{k}"] for k in self._layers}
        last = f"{self.name}.layer{self.hidden}.weight"
        return {**found, last: to_paths_of_mace(found[last], self.product, self.channels)}

    @property
    def _layers(self) -> range:
        return range(self.hidden + 1)


@dataclass(frozen=True)
class EdgeNetwork:
    """mace-torch's RadialMLP: torch's Linear, LayerNorm and SiLU in turns.

    hidden: layers but the last.
    product: whose weights the last layer makes; None for other numbers.
    """

    name: str
    path: str
    hidden: int
    channels: int
    product: PathProduct | None

    def read(self, state: StateDict) -> Arrays:
        """See `Layout`."""
        found: Arrays = {}
        for layer in range(self.hidden + 1):
            place = f"{self.name}.net.{3 * layer}"
            kernel, bias = state.take(f"{place}.weight").T, state.take(f"{place}.bias")
            if layer == self.hidden and self.product is not None:
                kernel, bias = (
                    to_own_paths(each, self.product, self.channels, place)
                    for each in (kernel, bias)
                )
            found |= {f"kernel_{layer}": kernel, f"bias_{layer}": bias}
            if layer < self.hidden:
                norm = f"{self.name}.net.{3 * layer + 1}"
                found[f"norm_{layer}/scale"] = state.take(f"{norm}.weight")
                found[f"norm_{layer}/bias"] = state.take(f"{norm}.bias")
        return found

    def write(self, parameters: Mapping[str, np.ndarray]) -> Arrays:
        """See `Layout`."""
        found: Arrays = {}
        for layer in range(self.hidden + 1):
            place = f"{self.name}.net.{3 * layer}"
            kernel, bias = parameters[f"kernel_{layer}"], parameters[f"bias_{layer}"]
            if layer == self.hidden and self.product is not None:
                kernel, bias = (
                    to_paths_of_mace(each, self.product, self.channels) for each in (kernel, bias)
                )
            found |= {f"{place}.weight": np.ascontiguousarray(kernel.T), f"{place}.bias": bias}
            if layer < self.hidden:
                norm = f"{self.name}.net.{3 * layer + 1}"
                found[f"{norm}.weight"] = parameters[f"norm_{layer}/scale"]
                found[f"{norm}.bias"] = parameters[f"norm_{layer}/bias"]
        return found


def _order(product: PathProduct) -> np.ndarray:
    """For each path here, its number in mace-torch: by degree of the message first."""
    paths = product.product.paths
    there = sorted(range(len(paths)), key=lambda k: (paths[k].l3, paths[k].l1, paths[k].l2))
    return np.argsort(there)


def _signs(product: PathProduct) -> np.ndarray:
    # Edges point from receivers to senders here, and the other way in mace-torch.
    return np.array([(-1.0) ** path.l2 for path in product.product.paths])[:, None]


def to_own_paths(weights: np.ndarray, product: PathProduct, channels: int, name: str) -> np.ndarray:
    """Weights (…, paths · channels) of mace-torch in the order and with the signs of here."""
    order = _order(product)
    shape = (*weights.shape[:-1], len(order), channels)
    paths = _shaped(weights, shape, name)[..., order, :]
    return (paths * _signs(product).astype(weights.dtype)).reshape(weights.shape)


def to_paths_of_mace(weights: np.ndarray, product: PathProduct, channels: int) -> np.ndarray:
    """`to_own_paths` backwards."""
    paths = weights.reshape(*weights.shape[:-1], -1, channels)
    paths = paths * _signs(product).astype(weights.dtype)
    return paths[..., np.argsort(_order(product)), :].reshape(weights.shape)


@dataclass(frozen=True)
class Contractions:
    """mace-torch's SymmetricContraction: a module a degree, in it a tensor an order."""

    name: str
    path: str
    contraction: SymmetricContraction

    @property
    def blocks(self) -> tuple[Contraction, ...]:
        """By degree, then by order."""
        return self.contraction.contractions

    def tensors(self) -> list[str]:
        """Names of the weights of the blocks, in their order here."""
        found = []
        for block in self.blocks:
            place = self.contraction.order - 1 - block.order
            name = "weights_max" if place < 0 else f"weights.{place}"
            found.append(f"{self.of_degree(block.degree)}.{name}")
        return found

    def of_degree(self, degree: int) -> str:
        """Name of the module that makes one degree."""
        return f"{self.name}.contractions.{degree}"

    def read(self, state: StateDict) -> Arrays:
        """See `Layout`."""
        return {"weights": np.concatenate([state.take(name) for name in self.tensors()], axis=1)}

    def write(self, parameters: Mapping[str, np.ndarray]) -> Arrays:
        """See `Layout`; `numbers` of couplings are those of the buffers beside the weights."""
        numbers = [len(parameters[f"basis_{k}"]) for k in range(len(self.tensors()))]
        parts = np.split(parameters["weights"], np.cumsum(numbers)[:-1], axis=1)
        return dict(zip(self.tensors(), parts, strict=True))

    def couplings(self, state: StateDict) -> list[np.ndarray]:
        """Return mace-torch's couplings (2l + 1, …, couplings) of each block."""
        found = []
        for block in self.blocks:
            tensor = state.take(f"{self.of_degree(block.degree)}.U_matrix_{block.order}")
            found.append(tensor if tensor.ndim == block.order + 2 else tensor[None])
        return found


def _split(flat: np.ndarray, shapes: Sequence[tuple[int, ...]], name: str) -> list[np.ndarray]:
    sizes = [math.prod(shape) for shape in shapes]
    _shaped(flat, (sum(sizes),), name)
    parts = np.split(flat.ravel(), np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _shaped(array: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    if array.size != math.prod(shape):
        raise ValueError(
            f"{name} has {array.size} numbers, and the arguments make it {math.prod(shape)}"
        )
    return array.reshape(shape)
