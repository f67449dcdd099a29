"""A model that compiles in a second, clusters to train it on, and a reporter that remembers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import ase
import ase.io
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ase.calculators.morse import MorsePotential

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.edges import EdgeList
from tensornet_jax.models.base import Model, ModelOutputs
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.train.evaluation.metrics import ErrorRow
from tensornet_jax.train.reporting.reporter import Reporter, RunStart, StepReport
from tensornet_jax.train.reporting.result import TrainingResult

SETTINGS: dict[str, Any] = {
    "seed": 5,
    "model": {"name": "pairs"},
    # Constant, so that runs of different length share compiled programs.
    "optimizer": {"learning_rate": 0.05, "ema_decay": 0.9, "schedule": {"name": "constant"}},
    "training": {"epochs": 4, "batch_size": 5},
}


ZEROS = {"O": -400.0, "H": 30.0, "C": 0.5}
"""Energies of isolated atoms at another level of theory than that of `clusters`, less those, eV."""


class PairConfig(ModelConfig):
    """Stand-in for a model: a sum over neighbors of a small radial network."""

    name: Literal["pairs"] = "pairs"
    cutoff: float = 3.0
    width: int = 6
    heads: tuple[Literal["energy", "dipole"], ...] = ("energy",)


class PairModel(Model[PairConfig]):
    """Energies from pairs of atoms; dipole from one charge per element."""

    @nn.compact
    def __call__(self, graph: AtomGraph) -> ModelOutputs:
        dtype, width = jnp.dtype(self.dtype), self.config.width
        vectors = graph.pair_vectors()
        half = vectors.shape[0]
        square = jnp.sum(vectors**2, axis=1)
        gaussians = jnp.exp(-(square[:, None] - 0.5 * jnp.arange(width, dtype=dtype)))
        size = len(self.numbers)
        table = self.param("embedding", nn.initializers.normal(), (size, size, width), dtype)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (width, 1), dtype)
        shift = self.param("bias", nn.initializers.zeros, (size,), dtype)
        edges = graph.edges
        first, second = edges.receivers[:half], edges.senders[:half]
        ends = table + table.transpose(1, 0, 2)
        hidden = jnp.tanh(gaussians + ends[graph.species[first], graph.species[second]])
        envelope = jnp.clip(1 - square / self.config.cutoff**2, 0) ** 2
        pair = jnp.where(edges.pair_mask, (hidden @ kernel)[:, 0] * envelope, 0)
        energies = 0.5 * jax.ops.segment_sum(
            jnp.concatenate([pair, pair]), edges.receivers, graph.positions.shape[0]
        )
        energies = jnp.where(graph.node_mask, energies + shift[graph.species], 0)
        dipole = None
        if "dipole" in self.config.heads:
            charges = self.param("charges", nn.initializers.normal(), (size,), dtype)
            moments = jnp.where(graph.node_mask, charges[graph.species], 0)[:, None]
            dipole = jax.ops.segment_sum(
                moments * graph.positions, graph.node_graph, graph.num_graphs
            )
        return ModelOutputs(energies if "energy" in self.config.heads else None, dipole=dipole)


def clusters(count: int, seed: int = 0, periodic: bool = False) -> list[ase.Atoms]:
    """Return clusters of 3 to 5 atoms with Morse energies and forces, stress where periodic.

    Molecules have a dipole too. The config_type is "small" for 3 atoms and "large" above.
    """
    rng = np.random.default_rng(seed)
    sites = 1.4 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.7, 0.7, 0.7]])
    charges = np.array([-0.5, 0.2, 0.2, 0.05, 0.05])
    made = []
    for k in range(count):
        size = 3 + k % 3
        atoms = ase.Atoms("OHHCC"[:size], sites[:size] + 0.1 * rng.normal(size=(size, 3)))
        if periodic:
            atoms.set_cell([6.0, 6.3, 6.6])
            atoms.pbc = True
        calculator = MorsePotential(epsilon=1.0, r0=1.5, rho0=2.0)
        calculator.calculate(atoms, ["energy", "forces", "stress"])
        found = calculator.results
        atoms.info["REF_energy"] = found["energy"] - 1000.0 * size
        atoms.arrays["REF_forces"] = found["forces"]
        if periodic:
            xx, yy, zz, yz, xz, xy = found["stress"]
            atoms.info["REF_stress"] = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        else:
            centered = atoms.positions - atoms.positions.mean(axis=0)
            atoms.info["REF_dipole"] = charges[:size] @ centered
        atoms.info["config_type"] = "small" if size == 3 else "large"
        made.append(atoms)
    return made


def write(path: Path, structures: list[ase.Atoms]) -> str:
    """Write a file and return its name."""
    ase.io.write(path, structures)
    return str(path)


def shifted(structures: list[ase.Atoms], by: dict[str, float]) -> list[ase.Atoms]:
    """Return structures whose energies have other zeros."""
    for atoms in structures:
        atoms.info["REF_energy"] += sum(by[symbol] for symbol in atoms.symbols)
    return structures


def with_silicon(structures: list[ase.Atoms]) -> list[ase.Atoms]:
    """Return structures with silicon for carbon."""
    for atoms in structures:
        atoms.numbers[atoms.numbers == 6] = 14
    return structures


def replayed(path: str, **changes: Any) -> dict[str, Any]:
    """Return a data section that replays a file."""
    return {"replay": {"train": path, "validation": 4, "batch_size": 3, **changes}}


def graph_of(node_graph: list[int], num_graphs: int, num_padding: int, **fields: Any) -> AtomGraph:
    """Return a graph without edges whose last atoms, and last structure, are padding."""
    atoms, none = len(node_graph), np.zeros(0, np.int32)
    defaults = {
        "positions": np.zeros((atoms, 3), np.float32),
        "species": np.zeros(atoms, np.int32),
        "node_graph": np.array(node_graph, np.int32),
        "node_mask": np.arange(atoms) < atoms - num_padding,
        "edges": EdgeList(
            receivers=none,
            senders=none,
            shifts=np.zeros((0, 3), np.int32),
            mask=none.astype(bool),
            slots=np.zeros((atoms, 0), np.int32),
        ),
        "cell": np.zeros((num_graphs, 3, 3), np.float32),
        "pbc": np.zeros((num_graphs, 3), bool),
        "charge": np.zeros(num_graphs, np.float32),
        "spin": np.zeros(num_graphs, np.float32),
        "graph_mask": np.arange(num_graphs) < num_graphs - 1,
    }
    return AtomGraph(**{**defaults, **fields})


class Recorder(Reporter):
    """Remembers what a run told."""

    def __init__(self):
        self.messages: list[str] = []
        self.audited: list[str] = []
        self.steps: list[StepReport] = []
        self.train_rows: list[Mapping[str, float]] = []
        self.validation_rows: list[Mapping[str, float]] = []
        self.started: list[RunStart] = []
        self.finished: list[TrainingResult] = []
        self.closed = 0

    def message(self, text):
        self.messages.append(text)

    def audit(self, lines):
        self.audited += lines

    def start(self, start):
        self.started.append(start)

    def step(self, report):
        self.steps.append(report)

    def train_row(self, row):
        self.train_rows.append(row)

    def validation_row(self, row):
        self.validation_rows.append(row)

    def finish(self, result):
        self.finished.append(result)

    def close(self):
        self.closed += 1


def find_row(rows: Sequence[ErrorRow], data_set: str, name: str, element: str = "") -> ErrorRow:
    """Return the row of an error table for one property of one set."""
    (row,) = [
        row
        for row in rows
        if (row.data_set, row.property, row.element, row.config_type)
        == (data_set, name, element, "all")
    ]
    return row


def same_bits(first: Any, second: Any) -> bool:
    """Tell whether two pytrees have the same structure and the same bits in every leaf."""
    if jax.tree.structure(first) != jax.tree.structure(second):
        return False
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(
        np.asarray(a).dtype == np.asarray(b).dtype
        and np.asarray(a).tobytes() == np.asarray(b).tobytes()
        for a, b in pairs
    )
