"""Standard deviations of a structure that processes share, from what each one's atoms add to them.

With the features φ_i of atoms and the matrices of `potential.uncertainty.deviations`, σ(E) is the
length of Lᵀ Σ_i φ_i, whose sum runs over the owned atoms of all processes; and σ(F_a) that of
Dᵀ Σ_i ∂φ_i/∂r_a, whose parts at ghosts belong to their owners, as forces do.
"""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.potential.uncertainty.deviations import (
    COLLECTION,
    Estimate,
    calibrated,
    passes_together,
)
from tensornet_jax.potential.uncertainty.last_layer import uncertain_features
from tensornet_jax.potential.variables import Outputs, Variables


class PartDeviations(NamedTuple):
    """What the owned atoms of a process add to standard deviations.

    energy: to be summed over processes, eV.
    forces: at all atoms that were given, to be summed over processes, eV/Å.
    """

    energy: Float[np.ndarray, " columns"]
    forces: Float[np.ndarray, "atoms 3 directions"]


@partial(jax.jit, static_argnames="module")
def add_to_deviations(
    module: nn.Module,
    variables: Variables,
    graph: AtomGraph,
    positions: Float[Array | np.ndarray, "atoms 3"],
    cell: Float[Array | np.ndarray, "1 3 3"],
    owned: Bool[Array, " atoms"],
    energy_scale: Float[Array, ""],
) -> Outputs:
    """What the owned atoms of a padded graph add to standard deviations.

    Args:
        module: a model of ``MODELS``.
        variables: of a potential with an uncertainty.
        graph: one structure.
        positions: Å, in place of those of the graph.
        cell: Å, in place of that of the graph.
        owned: whose energies count.
        energy_scale: eV per unit of network output.

    Returns:
        energy (R,), forces (N, 3, M), see `PartDeviations`; one backward pass for each of M.
    """
    estimate: Estimate = variables[COLLECTION]
    here = graph.replace(cell=jnp.asarray(cell))

    def features(positions: Array) -> Array:
        found = uncertain_features(module, variables, here.replace(positions=positions))
        return energy_scale * jnp.sum(jnp.where(owned[:, None], found, 0), axis=0)

    total, pullback = jax.vjp(features, jnp.asarray(positions))
    # TF32 would lose what of the features is rare, on which all depends.
    energy = jnp.matmul(total, estimate["factor"], precision=lax.Precision.HIGHEST)
    directions = estimate["directions"].T
    together = passes_together(len(positions), len(directions))
    forces = lax.map(
        lambda direction: pullback(direction)[0],
        directions,
        batch_size=together if together > 1 else None,
    )
    return {"energy": energy, "forces": jnp.moveaxis(forces, 0, -1)}


def energy_deviation(
    estimate: Estimate, total: Float[np.ndarray, " columns"], num_atoms: int
) -> float:
    """Standard deviation of the energy, eV.

    Args:
        estimate: of the potential.
        total: `PartDeviations.energy`, summed over processes.
        num_atoms: of the whole structure.
    """
    atoms = max(num_atoms, 1)
    length = np.asarray([np.linalg.norm(total) / atoms])
    return float(atoms * calibrated(estimate, "energy", jnp.asarray(length))[0])


def force_deviations(
    estimate: Estimate, total: Float[np.ndarray, "owned 3 directions"]
) -> Float[np.ndarray, "owned 3"]:
    """Standard deviations of the components of forces, eV/Å.

    Args:
        estimate: of the potential.
        total: `PartDeviations.forces` of owned atoms, summed over processes.
    """
    lengths = np.linalg.norm(total, axis=-1)
    return np.asarray(calibrated(estimate, "forces", jnp.asarray(lengths)), np.float64)
