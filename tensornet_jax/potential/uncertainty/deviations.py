"""Standard deviations of what a model predicts, for weights of its last layer that are not sure.

With features φ_i = ∂E_i/∂w of the atoms and a covariance Σ = L Lᵀ of the weights w

    σ²(E_i) = |Lᵀ φ_i|²,  σ²(E) = |Lᵀ Σ_i φ_i|²,  σ²(F_ia) = |Lᵀ Σ_j ∂φ_j/∂r_ia|²

and the like for the stress. Energies take one product of matrices; each column of L that is pulled
back to the positions takes one more backward pass through the network. For fewer of them, the
columns D of `directions` stand for L: D Dᵀ is Σ if all are there, and on average of random ones.

Of a committee φ_i are the energies that its N members give an atom, and L = (1 − 11ᵀ/N)/√(N − 1),
so that σ is the standard deviation of the members.

All of it is in ``variables["uncertainty"]``, beside the parameters: ``factor`` L (F, R),
``directions`` D (F, M), ``scales`` by name of property, and ``isotonic`` for those whose deviations
a curve corrects; see `calibration`.
"""

from collections.abc import Mapping
from typing import TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, PyTree

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.ops.segments import sum_of_segments
from tensornet_jax.potential.strain import per_volume, strained
from tensornet_jax.potential.uncertainty.last_layer import uncertain_features
from tensornet_jax.potential.variables import Outputs, Variables

COLLECTION = "uncertainty"
"""Of the variables of a potential that has one."""

NO_UNCERTAINTY = (
    "the model does not say how sure it is: give it an uncertainty with tensornet-jax uncertainty "
    "MODEL DATA OUTPUT"
)

ATOMS_TOGETHER, MOST_TOGETHER = 512, 16
"""Backward passes through so many atoms together, and so many passes, are taken at once."""

Estimate: TypeAlias = Mapping[str, PyTree[Array]]
"""That collection."""


def energy_deviations(
    module: nn.Module, variables: Variables, graph: AtomGraph, energy_scale: float | Array
) -> Outputs:
    """Standard deviations of the energies of structures and atoms, eV.

    Args:
        module: a model of ``MODELS``.
        variables: of a potential with an uncertainty.
        graph: padded structures.
        energy_scale: eV per unit of network output.

    Returns:
        energy_std (B,), energies_std (N,); 0 for padding.
    """
    estimate: Estimate = variables[COLLECTION]
    features = uncertain_features(module, variables, graph)
    parts = energy_scale * _product(features, estimate["factor"])
    totals = sum_of_segments(parts, graph.node_graph, graph.num_graphs)
    ones = graph.node_mask.astype(parts.dtype)
    sizes = jnp.maximum(sum_of_segments(ones, graph.node_graph, graph.num_graphs), 1)
    # What corrects energies is known for energies per atom.
    energy = sizes * calibrated(estimate, "energy", _length(totals) / sizes)
    return {
        "energy_std": energy,
        "energies_std": estimate["scales"]["energy"] * _length(parts),
    }


def derivative_deviations(
    module: nn.Module,
    variables: Variables,
    graph: AtomGraph,
    compute: tuple[str, ...],
    energy_scale: float | Array,
) -> Outputs:
    """Standard deviations of forces, eV/Å, and stress, eV/Å³, component by component.

    Backward passes of few atoms are taken together, by which they are up to twice as fast; of many
    one comes after the other, so that they need no more memory than forces.

    Args:
        module: a model of ``MODELS``.
        variables: of a potential with an uncertainty.
        graph: padded structures.
        compute: of "forces_std" and "stress_std".
        energy_scale: eV per unit of network output.

    Returns:
        forces_std (N, 3), stress_std (B, 3, 3); 0 for padding and where there is no volume.
    """
    estimate: Estimate = variables[COLLECTION]
    directions = estimate["directions"]

    def totals(positions: Array, strain: Array | None) -> Array:
        now = strained(graph, positions, strain)
        return jnp.sum(_product(uncertain_features(module, variables, now), directions), axis=0)

    strain = jnp.zeros_like(graph.cell) if "stress_std" in compute else None
    found, pullback = jax.vjp(totals, graph.positions, strain)

    def squares(total: list[Array], rows: Array) -> tuple[list[Array], None]:
        # Kernels for many atoms see no axis of one.
        passes = (
            jax.vmap(pullback)(rows)
            if together > 1
            else jax.tree.map(lambda gradient: gradient[None], pullback(rows[0]))
        )
        gradients = jax.tree.leaves(passes)
        return [t + jnp.sum(g * g, axis=0) for t, g in zip(total, gradients, strict=True)], None

    start = [jnp.zeros_like(each) for each in (graph.positions, strain) if each is not None]
    together = passes_together(graph.positions.shape[0], found.size)
    steps = -(-found.size // together)
    # Rows of zeros fill up the last step, and add nothing.
    rows = jnp.eye(steps * together, found.size, dtype=found.dtype)
    total, _ = lax.scan(squares, start, rows.reshape(steps, together, found.size))
    lengths = [energy_scale * _root(each) for each in total]
    deviations = {}
    if "forces_std" in compute:
        deviations["forces_std"] = calibrated(estimate, "forces", lengths[0])
    if "stress_std" in compute:
        stress = calibrated(estimate, "stress", per_volume(graph, lengths[1]))
        deviations["stress_std"] = stress
    return deviations


def calibrated(
    estimate: Estimate, name: str, deviations: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Scale standard deviations and, where there is a curve for them, correct them by it.

    Between the first and the last knot the curve is linear, beyond them a factor.

    Args:
        estimate: with `scales` and `isotonic`.
        name: energy (per atom), forces or stress.
        deviations: as they follow from the covariance of the weights.
    """
    scaled = estimate["scales"][name] * deviations
    knots = estimate.get("isotonic", {}).get(name)
    if knots is None:
        return scaled
    known, true = knots
    factor = jnp.where(scaled < known[0], true[0] / known[0], true[-1] / known[-1])
    inside = (scaled >= known[0]) & (scaled <= known[-1])
    return jnp.where(inside, jnp.interp(scaled, known, true), scaled * factor)


def passes_together(num_atoms: int, count: int) -> int:
    """Return how many backward passes are taken at once, a power of two.

    Args:
        num_atoms: that each goes through.
        count: of all passes.
    """
    # Of exported programs the number of atoms is open.
    if not isinstance(num_atoms, int) or num_atoms > ATOMS_TOGETHER:
        return 1
    most = min(ATOMS_TOGETHER // max(num_atoms, 1), MOST_TOGETHER, count)
    return 1 << (most.bit_length() - 1)


def _product(features: Array, matrix: Array) -> Array:
    # TF32 would lose what of the features is rare, on which all depends.
    return jnp.matmul(features, matrix, precision=lax.Precision.HIGHEST)


def _length(rows: Float[Array, "rows columns"]) -> Float[Array, " rows"]:
    return _root(jnp.sum(rows * rows, axis=-1))


def _root(squared: Float[Array, "..."]) -> Float[Array, "..."]:
    is_zero = squared == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, squared)))
