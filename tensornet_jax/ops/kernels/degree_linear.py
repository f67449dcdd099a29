"""Linear maps of the channels, one for each degree, in one kernel for GPUs.

y_l = x_l K_l for all degrees l, where K_l may belong to the atom's species. ∂/∂x is the same with
K_l transposed, and ∂/∂K is left to XLA: matrix products, which only training needs. One call takes
the place of a matrix product a degree and, with species, of a product with every species' matrix
for every atom.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from tensornet_jax.ops.keeping_inputs import keeping_inputs
from tensornet_jax.ops.kernels.channel_blocks import channel_width
from tensornet_jax.ops.kernels.launch import Ref, launch

Parts = tuple[Float[Array, "atoms _ channels"], ...]
"""By degree l, 2l + 1 components each; channels may differ from degree to degree."""

_ATOMS = (16, 64)
"""Atoms of one program: where there are few, and where there are many."""
_MANY = 4096
_SUMMED = 16
"""Channels that are summed over in one turn: of more, compiling takes minutes."""


def degree_linear(
    parts: Parts,
    kernels: tuple[Array, ...],
    species: Int[Array, " atoms"] | None,
    *,
    interpret: bool,
) -> Parts:
    """Map the channels of each degree; differentiable to any order.

    Args:
        parts: by degree l (N, 2l + 1, C_l).
        kernels: by degree (C_l, F), or (S, C_l, F) of S species.
        species: (N,) from 0 to S − 1; None where all atoms have the same.
        interpret: whether Pallas is to interpret the kernel.

    Returns:
        by degree (N, 2l + 1, F).
    """
    return _apply((False, interpret), parts, kernels, species, None)


def degree_linear_beside(
    parts: Parts, kernels: tuple[Array, ...], *, interpret: bool
) -> tuple[Parts, Parts]:
    """Return the parts, for whoever needs them too, and what `degree_linear` makes of them.

    The cotangents of the two are added in the kernel of the second.
    """
    return _beside(interpret, parts, kernels)


class _Plan(NamedTuple):
    """What is known when a kernel is made.

    orders: components of each degree.
    widths: channels of each degree, that come in and that go out.
    packed: whether all degrees stand in one array, of what comes in and of what goes out.
    transposed: whether the kernels are.
    block: atoms and channels of a block.
    started: whether the products are added to something.
    """

    orders: tuple[int, ...]
    widths: tuple[tuple[int, int], ...]
    packed: tuple[bool, bool]
    transposed: bool
    block: tuple[int, int]
    started: bool


def _compute(
    static: tuple[bool, bool],
    parts: Parts,
    kernels: tuple[Array, ...],
    species: Array | None,
    start: Parts | None,
) -> Parts:
    """The parts times the kernels, transposed if the first of `static` says so, plus the start."""
    transposed, interpret = static
    num_atoms, dtype = parts[0].shape[0], parts[0].dtype
    orders = tuple(part.shape[1] for part in parts)
    out = [kernel.shape[-2 if transposed else -1] for kernel in kernels]
    widths = tuple((part.shape[2], width) for part, width in zip(parts, out, strict=True))
    # Of equal width, degrees that come from one array, or go to one, need not be taken apart.
    packed = tuple(len({each[side] for each in widths}) == 1 for side in (0, 1))
    shapes = [(num_atoms, number, width) for number, width in zip(orders, out, strict=True)]
    if packed[1]:
        shapes = [(num_atoms, sum(orders), out[0])]
    atoms = _ATOMS[num_atoms >= _MANY]
    width = min(channel_width(each) for pair in widths for each in pair)
    plan = _Plan(
        orders, widths, (packed[0], packed[1]), transposed, (atoms, width), start is not None
    )
    call = launch(
        partial(_kernel, plan, species is not None),
        [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes],
        (-(-num_atoms // atoms), sum(orders)),
        num_warps=4,
        interpret=interpret,
        name="degree_linear",
    )
    inputs = [jnp.concatenate(parts, axis=1)] if packed[0] else parts
    started = () if start is None else start
    if packed[1] and started:
        started = (jnp.concatenate(started, axis=1),)
    found = call(*inputs, *started, *kernels, *([] if species is None else [species]))
    if packed[1]:
        splits = [sum(orders[: k + 1]) for k in range(len(orders) - 1)]
        return tuple(jnp.split(found[0], splits, axis=1))
    return tuple(found)


def _kernel(plan: _Plan, by_species: bool, *refs: Ref) -> None:
    """One component of some atoms; which degree's it is, the second number of the program says."""
    import jax.experimental.pallas as pl

    number = len(plan.orders)
    inputs, rest = _taken(refs, 1 if plan.packed[0] else number)
    results = 1 if plan.packed[1] else number
    start, rest = _taken(rest, results if plan.started else 0)
    kernels, rest = _taken(rest, number)
    species, found = _taken(rest, int(by_species))
    block, component, first = pl.program_id(0), pl.program_id(1), 0
    for degree, orders in enumerate(plan.orders):

        def of_degree(degree: int = degree, first: int = first) -> None:
            places = [component if packed else component - first for packed in plan.packed]
            x = inputs[0 if plan.packed[0] else degree], places[0]
            y = found[0 if plan.packed[1] else degree], places[1]
            own = species[0] if by_species else None
            added = start[0 if plan.packed[1] else degree] if plan.started else None
            _multiply(plan, block, degree, x, kernels[degree], y, own, added)

        pl.when((component >= first) & (component < first + orders))(of_degree)
        first += orders


def _taken(refs: tuple[Ref, ...], number: int) -> tuple[tuple[Ref, ...], tuple[Ref, ...]]:
    return refs[:number], refs[number:]


def _multiply(
    plan: _Plan,
    block_of_atoms: Array,
    degree: int,
    x: tuple[Ref, Array],
    kernel: Ref,
    y: tuple[Ref, Array],
    species: Ref | None,
    start: Ref | None,
) -> None:
    """One component of some atoms, block by block of the channels that come out."""
    import jax.experimental.pallas as pl
    import jax.experimental.pallas.triton as plgpu

    (source, place), (target, new_place) = x, y
    count, width = plan.block
    atoms = block_of_atoms * count + jnp.arange(count, dtype=jnp.int32)
    valid = atoms < source.shape[0]
    known = jnp.minimum(atoms, source.shape[0] - 1)
    old, new = plan.widths[degree]
    for block in range(new // width):

        def of_matrix(
            total: Array, leading: tuple[Array, ...], rows: Array, first: int = block * width
        ) -> Array:
            def add(step: Array, total: Array) -> Array:
                summed = pl.ds(step * _SUMMED, _SUMMED)
                value = jnp.where(rows[:, None], source[known, place, summed], 0)
                columns = pl.ds(first, width)
                here = (columns, summed) if plan.transposed else (summed, columns)
                matrix = kernel[(*leading, *here)]
                contracted = (((1,), (int(plan.transposed),)), ((), ()))
                return total + lax.dot_general(value, matrix, contracted)

            return lax.fori_loop(0, jnp.int32(old // _SUMMED), add, total)

        total = jnp.zeros((count, width), source.dtype)
        if species is None:
            total = of_matrix(total, (), valid)
        else:
            total = _by_species(of_matrix, total, species[known], kernel.shape[0])
        if start is not None:
            total = total + start[known, new_place, pl.ds(block * width, width)]
        channels = block * width + jnp.arange(width, dtype=jnp.int32)
        mask = jnp.broadcast_to(valid[:, None], total.shape)
        plgpu.store(target.at[atoms[:, None], new_place, channels[None]], total, mask=mask)


def _by_species(
    of_matrix: Callable[..., Array], total: Array, own: Array, num_species: int
) -> Array:
    """Rows times the matrices of their species, of which those are skipped that no row has."""

    def add(number: Array, total: Array) -> Array:
        rows = own == number
        is_there = jnp.max(rows.astype(jnp.int32)) > 0
        return lax.cond(is_there, lambda: of_matrix(total, (number,), rows), lambda: total)

    return lax.fori_loop(0, jnp.int32(num_species), add, total)


def _backward(static, inputs, cotangents: Parts):
    transposed, interpret = static
    parts, kernels, species, start = inputs
    of_parts = _apply((not transposed, interpret), cotangents, kernels, species, None)
    rows, columns = (cotangents, parts) if transposed else (parts, cotangents)
    of_kernels = _of_kernels(rows, columns, len(kernels[0]), species)
    return of_parts, of_kernels, None, None if start is None else cotangents


def _of_kernels(
    rows: Parts, columns: Parts, num_species: int, species: Array | None
) -> tuple[Array, ...]:
    if species is None and len({each.shape[2] for each in (*rows, *columns)}) == 1:
        # One product: taken apart, each part would be copied for a product of its own.
        every = jnp.einsum(
            "ncf,ncg->cfg", jnp.concatenate(rows, axis=1), jnp.concatenate(columns, axis=1)
        )
        found = lax.split(every, [part.shape[1] for part in rows], axis=0)
        return tuple(jnp.sum(each, axis=0) for each in found)
    if species is None:
        return tuple(jnp.einsum("nmk,nmf->kf", *each) for each in zip(rows, columns, strict=True))
    is_own = (species == jnp.arange(num_species)[:, None])[:, :, None, None]
    return tuple(
        jnp.einsum("snmk,nmf->skf", jnp.where(is_own, row, 0), column)
        for row, column in zip(rows, columns, strict=True)
    )


_apply = jax.custom_vjp(_compute, nondiff_argnums=(0,))
_apply.defvjp(keeping_inputs(_apply, 1), _backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _beside(interpret: bool, parts: Parts, kernels: tuple[Array, ...]) -> tuple[Parts, Parts]:
    return parts, _apply((False, interpret), parts, kernels, None, None)


def _beside_backward(interpret, inputs, cotangents):
    parts, kernels = inputs
    of_parts, of_products = cotangents
    return (
        _apply((True, interpret), of_products, kernels, None, of_parts),
        _of_kernels(parts, of_products, 0, None),
    )


_beside.defvjp(keeping_inputs(_beside, 1), _beside_backward)
