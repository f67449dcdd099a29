"""Kernels for densities of the neighbors by species, and for what each pair of atoms gives back.

D_isc = Σ_{e: s_j = s} y_ec b_p of `ops.messages.densities`: a program belongs to an atom and a
species, walks along the atom's slots and keeps a row of R radial functions for each of the few
components of the geometry. What pairs give back, a program of each computes from the rows of its
two atoms.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from tensornet_jax.ops.kernels.channel_blocks import rounded_up
from tensornet_jax.ops.kernels.launch import Ref, launch
from tensornet_jax.ops.kernels.neighbor_sums import neighbors_of
from tensornet_jax.ops.kernels.short_rows import read_row, write_row
from tensornet_jax.ops.messages.edge_index import EdgeIndex

MOST_FUNCTIONS = 128
"""Radial functions that the kernels take."""


def densities(
    geometry: Float[Array, "pairs components"],
    basis: Float[Array, "pairs radial"],
    species: Int[Array, " atoms"],
    edges: EdgeIndex,
    *,
    signs: tuple[int, ...],
    num_species: int,
    interpret: bool,
) -> Float[Array, "atoms components species radial"]:
    """The densities around every atom; arguments as `ops.messages.densities.neighbor_densities`."""
    from jax.experimental import pallas as pl

    functions, num_pairs = basis.shape[1], edges.num_pairs
    num_atoms, wide = species.shape[0], rounded_up(functions)

    def program(
        ys: Ref, bs: Ref, kinds: Ref, pairs: Ref, slots: Ref, senders: Ref, counts: Ref, out: Ref
    ) -> None:
        atom, kind = pl.program_id(0), pl.program_id(1)

        def add(slot: Array, total: tuple[Array, ...]) -> tuple[Array, ...]:
            pair = pairs[atom, slot]
            values = read_row(bs, (pair,), wide)
            counted = jnp.where(kinds[senders[atom, slot]] == kind, values, 0)
            reverse = slots[atom, slot] >= num_pairs
            return tuple(
                known + _turned(ys[pair, c], reverse, sign) * counted
                for c, (known, sign) in enumerate(zip(total, signs, strict=True))
            )

        zero = tuple(jnp.zeros(wide, basis.dtype) for _ in signs)
        for c, row in enumerate(lax.fori_loop(0, counts[atom], add, zero)):
            write_row(out, (atom, c, kind), row)

    pairs, senders, counts = neighbors_of(edges)
    shape = jax.ShapeDtypeStruct((num_atoms, len(signs), num_species, functions), basis.dtype)
    call = launch(
        program, shape, (num_atoms, num_species), num_warps=1, interpret=interpret, name="densities"
    )
    return call(geometry, basis, species, pairs, edges.slots, senders, counts)


def pair_gradients(
    geometry: Float[Array, "pairs components"],
    basis: Float[Array, "pairs radial"],
    weights: Float[Array, "atoms components species radial"],
    species: Int[Array, " atoms"],
    edges: EdgeIndex,
    *,
    signs: tuple[int, ...],
    interpret: bool,
) -> tuple[Float[Array, "pairs components"], Float[Array, "pairs radial"]]:
    """Derivatives of Σ D · weights by geometry and radial functions of every pair."""
    from jax.experimental import pallas as pl

    wide, num_pairs = rounded_up(basis.shape[1]), edges.num_pairs

    def program(
        ys: Ref, bs: Ref, ws: Ref, kinds: Ref, receivers: Ref, senders: Ref, of_y: Ref, of_b: Ref
    ) -> None:
        pair = pl.program_id(0)
        i, j = receivers[pair], senders[pair]
        kind_i, kind_j = kinds[i], kinds[j]
        values, total = read_row(bs, (pair,), wide), jnp.zeros(wide, basis.dtype)
        for c, sign in enumerate(signs):
            row = read_row(ws, (i, c, kind_j), wide) + sign * read_row(ws, (j, c, kind_i), wide)
            of_y[pair, c] = jnp.sum(values * row)
            total = total + ys[pair, c] * row
        write_row(of_b, (pair,), total)

    shapes = (
        jax.ShapeDtypeStruct((num_pairs, len(signs)), basis.dtype),
        jax.ShapeDtypeStruct(basis.shape, basis.dtype),
    )
    call = launch(
        program, shapes, (num_pairs,), num_warps=1, interpret=interpret, name="density_gradients"
    )
    return call(geometry, basis, weights, species, edges.receivers, edges.senders)


def _turned(value: Array, reverse: Array, sign: int) -> Array:
    """The value on an edge, given that of its pair's first edge."""
    return jnp.where(reverse, -value, value) if sign < 0 else value
