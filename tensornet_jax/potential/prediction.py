"""Properties of padded graphs: what a module returns, and its derivatives by positions and cell."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.models.physics.priors import prior_energies
from tensornet_jax.ops.segments import sum_of_segments
from tensornet_jax.potential.strain import per_volume, strained
from tensornet_jax.potential.uncertainty.deviations import (
    derivative_deviations,
    energy_deviations,
)
from tensornet_jax.potential.variables import Outputs, Variables

_Evaluated: TypeAlias = Callable[[Array, Array | None], tuple[Array, Outputs]]


def predict(
    module: nn.Module,
    variables: Variables,
    graph: AtomGraph,
    compute: tuple[str, ...],
    energy_scale: float | Float[Array, ""] = 1.0,
) -> Outputs:
    """Properties of a padded graph; pure, and differentiable in variables and graph.

    Stress is (1/V) ∂E/∂ε for a symmetric strain ε of positions and cell together, V = |det cell|;
    compression gives it a negative trace. It is 0 where there is no volume.

    Args:
        module: a model of ``MODELS``.
        variables: its parameters and buffers.
        graph: padded structures.
        compute: of "energy", "energies", "forces", "stress", "dipole", "charges",
            "polar_tensors", names of tensors and, where the variables have an "uncertainty",
            "energy_std", "energies_std", "forces_std", "stress_std".
        energy_scale: eV per unit of network output.

    Returns:
        what was asked for, without E0: energy (B,), energies (N,), forces (N, 3), stress
        (B, 3, 3), dipole (B, 3), polar_tensors (N, 3, 3), charges (N,), tensors (B, 3, …) or
        (N, 3, …); standard deviations are shaped like what they are of; padding rows are 0. Energy
        and energies are there if the model has them.
    """
    wants_deviations = not {"energy_std", "energies_std"}.isdisjoint(compute)

    def evaluated(positions: Array, strain: Array | None) -> tuple[Array, Outputs]:
        now = strained(graph, positions, strain)
        outputs = outputs_in_eV(module, variables, now, energy_scale)
        if wants_deviations:
            # Of the same graph, so that the compiler finds one pass through the network, not two.
            outputs |= energy_deviations(module, variables, now, energy_scale)
        if "energies" not in outputs:
            return jnp.zeros((), positions.dtype), outputs
        return jnp.sum(outputs["energies"]), outputs

    outputs = _with_gradients(evaluated, graph, compute)
    if "energies" in outputs:
        outputs["energy"] = sum_of_segments(outputs["energies"], graph.node_graph, graph.num_graphs)
    if "polar_tensors" in compute:
        outputs["polar_tensors"] = _polar_tensors(evaluated, graph)
    derived = tuple(name for name in ("forces_std", "stress_std") if name in compute)
    if derived:
        outputs |= derivative_deviations(module, variables, graph, derived, energy_scale)
    # What nobody asked for must not be returned, or a compiled function would have to compute it.
    kept = {"energy", "energies", *compute}
    return {name: value for name, value in outputs.items() if name in kept}


def outputs_in_eV(  # noqa: N802 (the unit's name)
    module: nn.Module, variables: Variables, graph: AtomGraph, energy_scale: float | Array
) -> Outputs:
    """Return a module's outputs, energies of the atoms scaled and with priors."""
    found = module.apply(variables, graph)
    # A tuple comes only with mutable collections.
    assert not isinstance(found, tuple)
    outputs: Outputs = dict(found)
    if "energies" not in outputs:
        return outputs
    energies = outputs["energies"] * energy_scale + outputs.pop("energies_in_eV", 0)
    config = module.config
    if config.priors:
        charges = outputs.get("charges")
        energies = energies + prior_energies(
            config.priors, config.cutoff, module.numbers, graph, charges
        )
    return {**outputs, "energies": energies}


def _with_gradients(evaluated: _Evaluated, graph: AtomGraph, compute: tuple[str, ...]) -> Outputs:
    """Return outputs with forces and stress, as far as they are asked for."""
    strain = jnp.zeros_like(graph.cell) if "stress" in compute else None
    wanted = tuple(k for k, name in enumerate(("forces", "stress")) if name in compute)
    if not wanted:
        return evaluated(graph.positions, strain)[1]
    differentiated = jax.value_and_grad(evaluated, argnums=wanted, has_aux=True)
    (_, outputs), gradients = differentiated(graph.positions, strain)
    by_argument = dict(zip(wanted, gradients, strict=True))
    if 0 in by_argument:
        outputs["forces"] = -by_argument[0]
    if 1 in by_argument:
        outputs["stress"] = per_volume(graph, by_argument[1])
    return outputs


def _polar_tensors(evaluated: _Evaluated, graph: AtomGraph) -> Float[Array, "atoms 3 3"]:
    """Return ∂μ_a/∂r_ib at [i, a, b], e."""
    moment, pullback = jax.vjp(lambda r: evaluated(r, None)[1]["dipole"], graph.positions)
    directions = jnp.eye(3, dtype=moment.dtype)[:, None] + jnp.zeros_like(moment)
    (rows,) = jax.vmap(pullback)(directions)
    return rows.transpose(1, 0, 2)


predict_jit = partial(jax.jit, static_argnames=("module", "compute"))(predict)
"""`predict`, compiled once for every module, set of properties and shape."""


@partial(jax.jit, static_argnames=("module",))
def hessian_jit(
    module: nn.Module, variables: Variables, graph: AtomGraph, energy_scale: Float[Array, ""]
) -> Float[Array, "coordinates coordinates"]:
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
