"""Scalars and tensors of any rank up to four from the features of any model.

A head predicts the irreducible parts of its tensor. A part of degree l comes from features of the
same degree, mixed by weights that depend on the invariants, and from Clebsch–Gordan products of two
features: these give degrees that the model's features lack, up to twice their highest, and what is
odd where harmonics are even, such as the antisymmetric part of a shielding tensor.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.heads.features import AtomFeatures
from tensornet_jax.models.heads.tensor_config import TensorHead, coupled_degrees
from tensornet_jax.models.layers import dense
from tensornet_jax.ops.harmonics.angular_momentum import clebsch_gordan
from tensornet_jax.ops.segments import sum_of_segments

FLOOR = 1e-2
"""Square root of the smallest eigenvalue of a positive definite tensor, over its scale."""

SMALL = 1e-4
"""Mean square of an atom's features below which they are not brought to order one any more."""


class TensorReadout(nn.Module):
    """The irreducible parts of one tensor of each atom, of order one.

    head: the tensor.
    dtype: "float32" or "float64".
    """

    head: TensorHead
    dtype: str

    @nn.compact
    def __call__(self, features: AtomFeatures) -> Array:
        """Return (N, size) components in the basis of the head's symmetry."""
        scalars, parts = features
        width, highest = self.head.width, len(parts) - 1
        parts = _normalized(parts)
        hidden = nn.silu(self._dense(scalars, width, "invariants"))

        def gated(values: Array, name: str) -> Array:
            return values * (1 + self._dense(hidden, width, f"gate_{name}"))[:, None]

        def mixed(degree: int, name: str) -> Array:
            return self._mixed(parts[degree], width, f"{name}_{degree}")

        factors = range(1, highest + 1) if self.head.highest_degree else ()
        left = {degree: mixed(degree, "left") for degree in factors}
        right = {degree: mixed(degree, "right") for degree in factors}
        found = []
        for degree, multiplicity, _ in self.head.space.blocks:
            natural = self.head.space.is_natural(degree)
            if degree == 0:
                found.append(self._dense(hidden, multiplicity, "scalars"))
                continue
            terms = []
            if natural and degree <= highest:
                terms.append(gated(mixed(degree, "direct"), f"{degree}"))
            for first, second in coupled_degrees(degree, natural, highest):
                # Σ C² = 1 over all three orders; components are to keep their size.
                couplings = (2 * degree + 1) ** 0.5 * clebsch_gordan(first, second, degree)
                table = jnp.asarray(couplings, self.dtype)
                product = jnp.einsum("nac,nbc,abm->nmc", left[first], right[second], table)
                terms.append(gated(product, f"{degree}_{first}_{second}"))
            whole = jnp.concatenate(terms, axis=-1)
            part = self._mixed(whole, multiplicity, f"output_{degree}")
            found.append(part.mT.reshape(part.shape[0], -1))
        return jnp.concatenate(found, axis=1)

    def _dense(self, values: Array, features: int, name: str) -> Array:
        return dense(values.shape[-1], features, self.dtype, name=name)(values)

    def _mixed(self, values: Array, features: int, name: str) -> Array:
        # Normal weights keep the variance, and with it the size of one that scales refer to.
        kernel = nn.initializers.normal(values.shape[-1] ** -0.5)
        return nn.Dense(
            features,
            use_bias=False,
            dtype=self.dtype,
            param_dtype=self.dtype,
            kernel_init=kernel,
            name=name,
        )(values)


class TensorHeads(nn.Module):
    """The tensors that a model is to predict, in their units.

    What data say of a tensor's size and of its isotropic parts for each element stands in buffers:
    "scales" (blocks,) and "baseline" (S, parts of degree 0). For a positive definite tensor both
    refer to the square root, which is what the read-out predicts.

    heads: the tensors.
    num_species: size of the element table.
    dtype: "float32" or "float64".
    """

    heads: tuple[TensorHead, ...]
    num_species: int
    dtype: str

    @nn.compact
    def __call__(self, features: AtomFeatures, graph: AtomGraph) -> dict[str, Array]:
        """Return by name (N, 3, …) for tensors of atoms and (B, 3, …) for those of structures."""
        return {head.name: self._tensor(head, features, graph) for head in self.heads}

    def _tensor(self, head: TensorHead, features: AtomFeatures, graph: AtomGraph) -> Array:
        space, dtype = head.space, self.dtype
        isotropic = sum(block.multiplicity for block in space.blocks if block.degree == 0)
        scales = self.variable("buffers", f"scales_{head.name}", jnp.ones, len(space.blocks), dtype)
        components = TensorReadout(head, dtype, name=head.name)(features)
        sizes = [block.multiplicity * (2 * block.degree + 1) for block in space.blocks]
        components = components * jnp.repeat(scales.value, np.array(sizes), axis=0)
        if isotropic:
            shape = (self.num_species, isotropic)
            table = self.variable("buffers", f"baseline_{head.name}", jnp.zeros, shape, dtype)
            components = components.at[:, :isotropic].add(table.value[graph.species])
        tensors = space.from_irreps(components)
        if head.positive_definite:
            tensors = squared(tensors, FLOOR * scales.value[0])
        mask = graph.node_mask.reshape(-1, *(1,) * space.rank)
        tensors = jnp.where(mask, tensors, 0)
        if head.per == "structure":
            total = _sum(tensors, graph)
            return total / _num_atoms(graph, space.rank) if head.mean else total
        if head.sum_to_zero:
            means = _sum(tensors, graph) / _num_atoms(graph, space.rank)
            tensors = jnp.where(mask, tensors - means[graph.node_graph], 0)
        return tensors


def squared(tensors: Array, floor: Array | float) -> Array:
    """The square of a symmetric tensor as a matrix, plus floor² times the unit matrix.

    Equivariant, positive definite, and smooth where eigenvalues meet, as by symmetry they do.

    Args:
        tensors: (..., 3, 3), or (..., 3, 3, 3, 3) as matrices of pairs of indices.
        floor: square root of the smallest eigenvalue.
    """
    unit = np.eye(3)
    if tensors.ndim > 4:
        product = jnp.einsum("...ijab,...abkl->...ijkl", tensors, tensors)
        both = np.einsum("ik,jl->ijkl", unit, unit)
        unit = 0.5 * (both + both.transpose(0, 1, 3, 2))
    else:
        product = tensors @ tensors
    return product + floor**2 * jnp.asarray(unit, tensors.dtype)


def _normalized(parts: list[Array]) -> list[Array]:
    """Features divided by √(ε + mean square of all): of order one, and smooth where all vanish."""
    count = sum(part.shape[1] * part.shape[2] for part in parts)
    square = sum(jnp.sum(part**2, axis=(1, 2), keepdims=True) for part in parts) / count
    return [part * jax.lax.rsqrt(SMALL + square) for part in parts]


def _sum(values: Array, graph: AtomGraph) -> Array:
    return sum_of_segments(values, graph.node_graph, graph.num_graphs)


def _num_atoms(graph: AtomGraph, rank: int) -> Array:
    counts = _sum(graph.node_mask.astype(graph.positions.dtype), graph)
    return jnp.maximum(counts, 1).reshape(-1, *(1,) * rank)
