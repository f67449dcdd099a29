"""Properties of padded graphs: what a module returns, and its derivatives by positions and cell."""

from functools import partial
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.base import ModelOutputs
from tensornet_jax.models.physics.priors import prior_energies


def predict(
    module: nn.Module,
    variables: dict[str, Any],
    graph: AtomGraph,
    compute: tuple[str, ...],
    energy_scale: float | Array = 1.0,
) -> dict[str, Array]:
    """Properties of a padded graph; pure, and differentiable in variables and graph.

    Stress is (1/V) ∂E/∂ε for a symmetric strain ε of positions and cell together, V = |det cell|;
    compression gives it a negative trace. It is 0 where there is no volume.

    Args:
        module: a model of ``MODELS``.
        variables: its parameters and buffers.
        graph: padded structures.
        compute: of "energy", "energies", "forces", "stress", "dipole", "charges",
            "polar_tensors", and names of tensors.
        energy_scale: eV per unit of network output.

    Returns:
        what was asked for, without E0: energy (B,), energies (N,), forces (N, 3), stress
        (B, 3, 3), dipole (B, 3), polar_tensors (N, 3, 3), charges (N,), tensors (B, 3, …) or
        (N, 3, …); padding rows are 0. Energy and energies are there if the model has them.
    """

    def strained(positions: Array, strain: Array) -> tuple[Array, dict[str, Array]]:
        symmetric = 0.5 * (strain + strain.mT)
        moved = positions + jnp.einsum("na,nab->nb", positions, symmetric[graph.node_graph])
        cell = graph.cell + graph.cell @ symmetric
        now = graph.replace(positions=moved, cell=cell)
        outputs: dict[str, Any] = {}
        outputs |= cast(ModelOutputs, module.apply(variables, now))
        if "energies" not in outputs:
            return jnp.zeros((), positions.dtype), outputs
        energies = outputs["energies"] * energy_scale + outputs.pop("energies_in_eV", 0)
        c = module.config
        if c.priors:
            charges = outputs.get("charges")
            energies = energies + prior_energies(c.priors, c.cutoff, module.numbers, now, charges)
        outputs["energies"] = energies
        return jnp.sum(outputs["energies"]), outputs

    strain = jnp.zeros_like(graph.cell)
    gradient_of = tuple(k for k, name in enumerate(("forces", "stress")) if name in compute)
    if gradient_of:
        differentiated = jax.value_and_grad(strained, argnums=gradient_of, has_aux=True)
        (_, outputs), gradients = differentiated(graph.positions, strain)
        by_argument = dict(zip(gradient_of, gradients, strict=True))
        if 0 in by_argument:
            outputs["forces"] = -by_argument[0]
        if 1 in by_argument:
            volume = jnp.abs(jnp.linalg.det(graph.cell))[:, None, None]
            has_volume = volume > 0
            stress = by_argument[1] / jnp.where(has_volume, volume, 1)
            outputs["stress"] = jnp.where(has_volume, stress, 0)
    else:
        _, outputs = strained(graph.positions, strain)
    if "energies" in outputs:
        outputs["energy"] = jax.ops.segment_sum(
            outputs["energies"], graph.node_graph, graph.num_graphs, indices_are_sorted=True
        )
    if "polar_tensors" in compute:

        def dipole(positions: Array) -> Array:
            return strained(positions, strain)[1]["dipole"]

        moment, pullback = jax.vjp(dipole, graph.positions)
        directions = jnp.eye(3, dtype=moment.dtype)[:, None] + jnp.zeros_like(moment)
        (rows,) = jax.vmap(pullback)(directions)
        outputs["polar_tensors"] = rows.transpose(1, 0, 2)
    # What nobody asked for must not be returned, or a compiled function would have to compute it.
    kept = {"energy", "energies", *compute}
    return {name: value for name, value in outputs.items() if name in kept}


predict_jit = partial(jax.jit, static_argnames=("module", "compute"))(predict)
"""`predict`, compiled once for every module, set of properties and shape."""


@partial(jax.jit, static_argnames=("module",))
def hessian_jit(
    module: nn.Module, variables: dict[str, Any], graph: AtomGraph, energy_scale: Array
) -> Array:
    """Second derivatives of the energy by all positions of a padded graph, (3N, 3N) eV/Å².

    Args:
        module: a model of ``MODELS``.
        variables: its parameters and buffers.
        graph: padded structures.
        energy_scale: eV per unit of network output.
    """

    def gradient(flat: Array) -> Array:
        moved = graph.replace(positions=flat.reshape(-1, 3))
        return -predict(module, variables, moved, ("forces",), energy_scale)["forces"].ravel()

    flat = graph.positions.ravel()
    _, pullback = jax.vjp(gradient, flat)
    # One row after the other: all rows at once would need N times the memory of the forces.
    return jax.lax.map(lambda row: pullback(row)[0], jnp.eye(flat.size, dtype=flat.dtype))
