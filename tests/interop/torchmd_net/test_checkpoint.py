"""torchmd-net 3.1.0's own float64 numbers, reproduced from its weights."""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.interop.torchmd_net.checkpoint import from_state_dict
from tensornet_jax.ops.cartesian import RankTwo, to_matrix
from tests import tolerances
from tests.builders import UNOPTIMIZED
from tests.interop.reference_cases import relative_error

# Checkpoints do not say which charges a model was trained on.
pytestmark = pytest.mark.filterwarnings(
    "ignore::tensornet_jax.potential.trained_on.OutsideTrainingWarning",
    "ignore::tensornet_jax.data.labels.electronic_state.InitialChargesWarning",
)

CASES = (
    "t01_L0_O3",
    "t03_L2_O3",
    "t05_L1_SO3_q",
    "t07_L2_O3_gauss",
    pytest.param("t10_L2_O3_tanh", marks=pytest.mark.slow),
    pytest.param("t13_L2_O3_rc2", marks=pytest.mark.slow),
    "t20_pbc_ortho_O3",
    "t32_atomref_meanstd",
    # Its energies and forces are in the loss that is compared below.
    pytest.param("train_t40_L2_O3", marks=pytest.mark.slow),
)


@pytest.mark.parametrize("name", CASES)
def test_energies_and_forces_are_torchmd_nets(reference, name):
    case = reference(name)
    results = from_state_dict(case.state, case.config).evaluate(case.atoms())
    energies = np.array([result["energy"] for result in results])
    forces = np.concatenate([result["forces"] for result in results])
    expected = case.arrays["out/energy"][:, 0]
    assert relative_error(energies, expected) < tolerances.REFERENCE_ENERGY
    assert relative_error(forces, case.arrays["out/forces"]) < tolerances.REFERENCE_FORCES


@pytest.mark.parametrize("name", ["t03_L2_O3", "t05_L1_SO3_q", "t20_pbc_ortho_O3"])
def test_tensors_after_every_layer_are_torchmd_nets(reference, name):
    case = reference(name)
    potential = from_state_dict(case.state, case.config)
    structures = [potential.structure(atoms) for atoms in case.atoms()]
    with potential.precision():
        graph = batch_structures(structures, Capacity.holding(structures), "float64")
        apply = partial(potential.module.apply, method=potential.module.tensors)
        tensors = cast(list[RankTwo], jax.jit(apply)(potential.variables, to_device(graph)))
        for layer, tensor in enumerate(tensors):
            expected = case.arrays[f"dbg/X{layer}"]
            found = np.asarray(to_matrix(tensor))[: len(expected)]
            assert relative_error(found, expected) < tolerances.REFERENCE_ENERGY
    assert case.config["num_layers"] == len(tensors) - 1


def test_dipole_magnitudes_are_torchmd_nets(reference):
    case = reference("t30_dipole")
    potential = from_state_dict(case.state, case.config)
    assert potential.heads == ("dipole",)
    found = [np.linalg.norm(r["dipole"]) for r in potential.evaluate(case.atoms(), ("dipole",))]
    assert relative_error(found, case.arrays["out/energy"][:, 0]) < tolerances.REFERENCE_ENERGY
    with pytest.raises(ValueError, match="no 'energy'"):
        potential.evaluate(case.atoms())


def test_parameter_gradients_and_adamw_losses_are_torchmd_nets(reference):
    case = reference("train_t40_L2_O3")
    potential = from_state_dict(case.state, case.config)
    structures = [potential.structure(atoms) for atoms in case.atoms()]
    gradients = {**case.state, **case.section("train/grad/")}
    expected = from_state_dict(gradients, case.config).variables["params"]
    with potential.precision():
        graph = to_device(batch_structures(structures, Capacity.holding(structures), "float64"))
        energies = jnp.asarray(case.arrays["train/y"][:, 0])
        forces = jnp.asarray(case.arrays["train/neg_dy"])

        @partial(jax.jit, compiler_options=UNOPTIMIZED)
        @jax.value_and_grad
        def loss(params):
            variables = {**potential.variables, "params": params}
            found = potential.predict(variables, graph, ("forces",))
            energy_loss = jnp.mean((found["energy"] - energies) ** 2)
            return 0.5 * energy_loss + 0.5 * jnp.mean(
                (found["forces"][: len(forces)] - forces) ** 2
            )

        params = potential.variables["params"]
        value, gradient = loss(params)
        np.testing.assert_allclose(value, case.arrays["train/loss"], rtol=1e-12)
        errors = jax.tree.map(relative_error, gradient, expected)
        assert max(jax.tree.leaves(errors)) < tolerances.REFERENCE_GRADIENTS
        optimizer = optax.adamw(1e-3, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0)

        @jax.jit
        def step(gradient, state, params):
            updates, state = optimizer.update(gradient, state, params)
            return optax.apply_updates(params, updates), state

        state, losses = optimizer.init(params), []
        for _ in range(5):
            value, gradient = loss(params)
            losses.append(value)
            params, state = step(gradient, state, params)
    np.testing.assert_allclose(
        losses, case.arrays["train/adamw_losses"], rtol=tolerances.REFERENCE_LOSSES
    )


def test_warp_convention_is_the_mirror_image_of_the_python_one(reference):
    case = reference("t05_L1_SO3_q")
    python = from_state_dict(case.state, case.config)
    warp = from_state_dict(case.state, case.config, so3_convention="warp")
    atoms = case.atoms()
    mirrored = [a.copy() for a in atoms]
    for a in mirrored:
        a.positions *= -1
    reflected, turned, plain = (
        python.evaluate(mirrored),
        warp.evaluate(atoms),
        python.evaluate(atoms),
    )
    for one, other in zip(reflected, turned, strict=True):
        assert one["energy"] == pytest.approx(other["energy"], rel=1e-12)
        np.testing.assert_allclose(one["forces"], -other["forces"], atol=1e-12)
    assert max(abs(a["energy"] - b["energy"]) for a, b in zip(turned, plain, strict=True)) > 1e-6


def test_names_of_a_lightning_checkpoint_are_understood(reference):
    case = reference("t01_L0_O3")
    renamed = {f"model.{name}": value for name, value in case.state.items()}
    expected = from_state_dict(case.state, case.config).evaluate(case.atoms())[0]["energy"]
    assert from_state_dict(renamed, case.config).evaluate(case.atoms())[0]["energy"] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "equivariant-transformer"}, "equivariant-transformer"),
        ({"model": "tensornet2"}, "q_dim is missing"),
        ({"rbf_type": "bessel"}, "rbf_type: 'bessel'"),
        ({"reduce_op": "mean"}, "reduce_op: 'mean'"),
        ({"prior_model": ["Dispersion"]}, "prior 'Dispersion'"),
        ({"output_model": "ElectronicSpatialExtent"}, "output_model"),
        ({"embedding_dimension": 32}, "shape"),
        ({"num_layers": 1}, "no place for"),
        ({"num_layers": 3}, "lacks representation_model.layers.2"),
    ],
)
def test_what_is_not_supported_is_named(reference, change, message):
    case = reference("t03_L2_O3")
    with pytest.raises(ValueError, match=message):
        from_state_dict(case.state, {**case.config, **change})
