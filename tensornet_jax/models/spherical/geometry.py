"""What a model of spherical features sees of the edges."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.spherical.config import SphericalConfig
from tensornet_jax.ops.harmonics.degrees import Degrees
from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics
from tensornet_jax.ops.messages.message import on_both_edges
from tensornet_jax.ops.radial import bessel, polynomial_envelope
from tensornet_jax.ops.safe import divide, norm


class EdgeGeometry(NamedTuple):
    """What a model sees of the edges.

    directions: unit vectors of the pairs' first edges, 0 for padding.
    harmonics: of degrees 0 … l_max, normalization ``component``.
    basis: radial functions times the cutoff function, 0 for padding.
    envelope: the cutoff function where it is not part of the basis, 0 for padding.
    """

    directions: Float[Array, "pairs 3"]
    harmonics: Float[Array, "edges components"]
    basis: Float[Array, "pairs radial"]
    envelope: Float[Array, " pairs"] | None = None


def radial_basis(
    distances: Float[Array, " pairs"], config: SphericalConfig
) -> Float[Array, "pairs radial"]:
    """Bessel functions of distances in Å, times the polynomial cutoff function."""
    envelope = polynomial_envelope(distances, config.cutoff, config.envelope_exponent)
    return bessel(distances, config.num_radial, config.cutoff) * envelope[:, None]


def edge_geometry(
    graph: AtomGraph,
    l_max: int,
    basis: Callable[[Float[Array, " pairs"]], Float[Array, "pairs radial"]],
) -> EdgeGeometry:
    """Return harmonics to l_max of the edges, and radial functions of the pairs' distances."""
    vectors = graph.pair_vectors()
    distances = norm(vectors)
    directions = divide(vectors, distances[:, None])
    of_pairs = solid_harmonics(directions, l_max, "component")
    # An edge and its reverse differ by inversion.
    signs = np.where(Degrees(0, l_max).of_components % 2, -1, 1)
    return EdgeGeometry(
        directions,
        on_both_edges(of_pairs, signs),
        jnp.where(graph.edges.pair_mask[:, None], basis(distances), 0),
    )
