"""Energies that physics gives and no network has to learn: priors.

Any model takes them, as a list in its configuration. They are added in eV, after the network's
energies have been scaled, and differentiated along with them.
"""

from collections.abc import Sequence
from functools import singledispatch
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols, covalent_radii
from jax import Array
from jaxtyping import Float, Int

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.heads.levels import own_level
from tensornet_jax.models.physics.config import D2, ZBL, Coulomb, Prior
from tensornet_jax.models.physics.electrostatics import (
    coulomb_energies,
    edges_within,
    pair_distances,
)
from tensornet_jax.ops.interactions.coulomb import cosine_switch
from tensornet_jax.ops.interactions.dispersion import D2_ELEMENTS, d2_energies, d2_parameters
from tensornet_jax.ops.interactions.zbl import screening_lengths, zbl_energies
from tensornet_jax.ops.messages.message import on_both_edges, sum_at_receivers
from tensornet_jax.ops.radial import cosine_envelope, polynomial_envelope, switched_off
from tensornet_jax.units import COULOMB


class AtomPairs(NamedTuple):
    """The pairs of a list: distances in Å, 1 for padding, and the species of both atoms."""

    distances: Float[Array, " pairs"]
    species: tuple[Int[Array, " pairs"], Int[Array, " pairs"]]


def prior_energies(
    priors: Sequence[Prior],
    cutoff: float,
    numbers: Sequence[int],
    graph: AtomGraph,
    charges: Float[Array, " atoms"] | None = None,
) -> Float[Array, " atoms"]:
    """Energies of all priors in eV, 0 for padding.

    Args:
        priors: of the model's configuration.
        cutoff: of the network, Å.
        numbers: element table.
        graph: structures.
        charges: e, that the model predicts, if it does.
    """
    table = np.asarray(numbers)
    total = jnp.zeros(graph.positions.shape[0], graph.positions.dtype)
    for prior in priors:
        if isinstance(prior, Coulomb):
            energies = _coulomb_energies(prior, graph, cutoff, charges)
        else:
            energies = _pair_sums(prior, graph, table, cutoff)
        energies = prior.scale * energies
        if prior.head_scales:
            own = jnp.asarray(prior.head_scales, energies.dtype)[own_level(graph)]
            energies = energies * own[graph.node_graph]
        total = total + energies
    return total


@singledispatch
def pair_energies(
    prior: Prior, pairs: AtomPairs, numbers: Int[np.ndarray, " species"], cutoff: float
) -> Float[Array, " pairs"]:
    """Energy of each pair in eV, by the kind of prior.

    Args:
        prior: its settings.
        pairs: distances and species.
        numbers: element table.
        cutoff: of the network, Å.
    """
    raise NotImplementedError(f"no pair energies are known for {type(prior).__name__}")


@pair_energies.register
def _zbl(
    prior: ZBL, pairs: AtomPairs, numbers: Int[np.ndarray, " species"], cutoff: float
) -> Float[Array, " pairs"]:
    distances, dtype = pairs.distances, pairs.distances.dtype
    charges = jnp.asarray(numbers, dtype)
    lengths = screening_lengths(
        numbers, prior.prefactor, prior.exponent, float32=prior.float32_lengths
    )
    first, second = pairs.species
    lengths = jnp.asarray(lengths, dtype)[first, second]
    energies = zbl_energies(distances, charges[first], charges[second], lengths, prior.third_decay)
    return COULOMB * energies * _zbl_envelope(prior, pairs, numbers, cutoff)


def _zbl_envelope(
    prior: ZBL, pairs: AtomPairs, numbers: Int[np.ndarray, " species"], cutoff: float
) -> Float[Array, " pairs"]:
    if prior.cutoff is None:
        radii = jnp.asarray(covalent_radii[numbers], pairs.distances.dtype)
        first, second = pairs.species
        ends = jnp.minimum(radii[first] + radii[second], cutoff)
        return polynomial_envelope(pairs.distances / ends, 1.0, prior.envelope_exponent)
    if prior.envelope == "cosine":
        return cosine_envelope(pairs.distances, prior.cutoff)
    return polynomial_envelope(pairs.distances, prior.cutoff, prior.envelope_exponent)


@pair_energies.register
def _d2(
    prior: D2, pairs: AtomPairs, numbers: Int[np.ndarray, " species"], cutoff: float
) -> Float[Array, " pairs"]:
    unknown = [chemical_symbols[number] for number in sorted({*numbers} - {*D2_ELEMENTS})]
    if unknown:
        raise ValueError(
            f"D2 has no parameters for {', '.join(unknown)}, only for H to Xe: "
            "leave out the prior or these elements"
        )
    distances = pairs.distances
    c6, radii = (jnp.asarray(each[numbers], distances.dtype) for each in d2_parameters())
    first, second = pairs.species
    energies = d2_energies(
        distances, (c6[first], c6[second]), (radii[first], radii[second]), prior.steepness
    )
    return energies * switched_off(distances, prior.cutoff, prior.switch_width)


def _pair_sums(
    prior: Prior, graph: AtomGraph, numbers: Int[np.ndarray, " species"], cutoff: float
) -> Float[Array, " atoms"]:
    """Half of the energy of each pair within the prior's reach at either atom, eV."""
    edges = edges_within(graph, prior.reach(cutoff), cutoff)
    first, second = edges.receivers[: edges.num_pairs], edges.senders[: edges.num_pairs]
    species = graph.species[first], graph.species[second]
    pairs = AtomPairs(pair_distances(graph, edges), species)
    energies = pair_energies(prior, pairs, numbers, cutoff)
    halves = jnp.where(edges.pair_mask, 0.5 * energies, 0)
    return sum_at_receivers(on_both_edges(halves), edges.index)


def _coulomb_energies(
    prior: Coulomb, graph: AtomGraph, cutoff: float, predicted: Float[Array, " atoms"] | None
) -> Float[Array, " atoms"]:
    """Energies of the charges that structures bring, or of predicted ones, eV."""
    charges = graph.initial_charges if prior.charges == "fixed" else predicted
    if charges is None:
        raise ValueError(
            "the graph has no charges: make its structures by Potential.structure"
            if prior.charges == "fixed"
            else "the model predicts no charges"
        )

    def left_out(distances: Float[Array, " pairs"]) -> Float[Array, " pairs"]:
        return 1 - cosine_switch(distances, prior.switch_from, prior.switch_to)

    return coulomb_energies(charges[:, None], graph, prior, cutoff, left_out)[:, 0]
