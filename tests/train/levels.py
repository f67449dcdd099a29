"""Two data sets of different levels of theory, and a model whose read-outs they can have."""

from pathlib import Path
from typing import Any

import ase
import flax.linen as nn
import jax
import jax.numpy as jnp

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.base import Model, ModelOutputs
from tensornet_jax.models.heads.levels import each_level
from tensornet_jax.models.heads.outputs import outputs_of
from tensornet_jax.models.layers import Perceptron
from tensornet_jax.train.config.run import RunConfig
from tests.train.small import SETTINGS, ZEROS, PairConfig, clusters, write

HARTREE = 27.211386245988


class PairFeatures(Model[PairConfig]):
    """Sums over neighbors as features, and read-outs of what all models have."""

    @nn.compact
    def __call__(self, graph: AtomGraph) -> ModelOutputs:
        c, edges = self.config, graph.edges
        square = jnp.sum(graph.pair_vectors() ** 2, axis=1)
        half, size = square.shape[0], len(self.numbers)
        gaussians = jnp.exp(-(square[:, None] - 0.5 * jnp.arange(c.width, dtype=self.dtype)))
        table = self.param("embedding", nn.initializers.normal(), (size, c.width), self.dtype)
        ends = [graph.species[edges.receivers[:half]], graph.species[edges.senders[:half]]]
        hidden = jnp.tanh(gaussians + table[ends[0]] + table[ends[1]])
        hidden = hidden * (jnp.clip(1 - square / c.cutoff**2, 0) ** 2)[:, None]
        hidden = jnp.where(edges.pair_mask[:, None], hidden, 0)
        both = jnp.concatenate([hidden, hidden])
        features = jax.ops.segment_sum(both, edges.receivers, graph.positions.shape[0])
        readout = each_level(c, Perceptron)((), 1, self.dtype, name="energy")
        outputs = outputs_of(self)
        nn.share_scope(self, outputs)
        return outputs(graph, {"energy": readout(features)[..., 0]}, None)


def other_level(count: int, seed: int) -> list[ase.Atoms]:
    """Return bonds half as strong with other isolated atoms, in Hartree, without stress."""
    made = clusters(count, seed, periodic=True)
    for atoms in made:
        energy = 0.5 * (atoms.info.pop("REF_energy") + 1000.0 * len(atoms))
        energy += sum(ZEROS[symbol] for symbol in atoms.symbols)
        atoms.info["total"] = energy / HARTREE
        atoms.arrays["slope"] = -0.5 * atoms.arrays.pop("REF_forces") / HARTREE
        del atoms.info["REF_stress"]
    return made


def sections_in(folder: Path) -> list[dict[str, Any]]:
    """Return two data sets of different isolated atoms, keys and units; one has stresses."""
    labels = {"energy": "total", "gradient": "slope", "units": {"energy": "Hartree"}}
    return [
        {"file": write(folder / "eV.xyz", clusters(18, 1, periodic=True)), "head": "strong"},
        {"file": write(folder / "hartree.xyz", other_level(18, 2)), "head": "weak"}
        | {"labels": labels},
    ]


def configured(folder: Path, train: Any, validation: Any = 8, **more: Any) -> RunConfig:
    settings = {
        **SETTINGS,
        "directory": str(folder / "run"),
        "data": {"train": train, "validation": validation},
        "loss": {"stress": {"weight": 1.0}},
        "dtype": "float64",
    }
    return RunConfig.model_validate(settings | more)
