"""TensorNet: how its tensors transform, its size, and every option of its configuration."""

from typing import Any, cast

import ase
import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import pytest

from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.models import MODELS
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.models.tensornet.network import TensorNet
from tensornet_jax.models.tensornet.radial import RadialBasis
from tensornet_jax.ops.activations import ACTIVATIONS
from tensornet_jax.ops.cartesian import to_matrix
from tensornet_jax.potential.potential import Potential
from tensornet_jax.testing import transformed
from tests import tolerances
from tests.builders import UNOPTIMIZED, ethanol, small_potential, with_config
from tests.physics.structures import cation, crystals, random_rotation

CAPACITY = Capacity(graphs=4, atoms=40, pairs=160, slots=32)


@pytest.fixture(scope="module")
def potential() -> Potential:
    return small_potential(heads=("energy", "dipole"))


def graph_of(potential: Potential, *atoms: ase.Atoms):
    structures = [potential.structure(a) for a in atoms]
    return to_device(batch_structures(structures, CAPACITY, potential.dtype))


def tensors_of(potential: Potential):
    """Return a function from structures to their atoms' 3×3 tensors after every layer."""

    @jax.jit
    def tensors(variables, graph):
        history: Any = potential.module.apply(variables, graph, method="tensors")
        return [to_matrix(tensor) for tensor in history]

    def of_atoms(*atoms: ase.Atoms) -> list[np.ndarray]:
        count = sum(len(a) for a in atoms)
        with potential.precision():
            found = tensors(potential.variables, graph_of(potential, *atoms))
            return [np.asarray(tensor)[:count] for tensor in found]

    return of_atoms


def turned_by(matrix: np.ndarray, tensor: np.ndarray) -> np.ndarray:
    """Return R X Rᵀ of a field of tensors, (N, 3, 3, F)."""
    return np.einsum("ai,nijf,bj->nabf", matrix, tensor, matrix)


def assert_turned(found, start, matrix) -> None:
    assert len(found) == len(start) > 1
    for turned, tensor in zip(found, start, strict=True):
        expected = turned_by(matrix, tensor)
        scale = abs(expected).max()
        np.testing.assert_allclose(
            turned, expected, rtol=0, atol=scale * tolerances.MODEL_EQUIVARIANCE
        )


@pytest.mark.parametrize("group", ["O(3)", "SO(3)"])
def test_tensors_after_every_layer_turn_with_the_structure(potential, group):
    tensors = tensors_of(with_config(potential, group=group))
    structures = [cation(), crystals()["skewed"], crystals()["slab"]]
    start = tensors(*structures)
    rotation = random_rotation()
    assert_turned(tensors(*(transformed(a, rotation) for a in structures)), start, rotation)

    # The antisymmetric part is made of polar vectors, which inversion turns round: X becomes Xᵀ.
    mirrored = tensors(*(transformed(a, -rotation) for a in structures))
    transposes = [np.swapaxes(tensor, 1, 2) for tensor in start]
    if group == "O(3)":
        assert_turned(mirrored, transposes, rotation)
    else:
        difference = abs(turned_by(rotation, transposes[1]) - mirrored[1]).max()
        assert difference > 100 * tolerances.MODEL_EQUIVARIANCE * abs(mirrored[1]).max()


def test_warp_convention_is_the_mirror_image_of_the_python_one(potential):
    chiral = with_config(potential, group="SO(3)", num_layers=1)
    warp = with_config(chiral, so3_convention="warp")
    molecule = ethanol()
    python_image = tensors_of(chiral)(transformed(molecule, -np.eye(3)))
    assert_turned(tensors_of(warp)(molecule), python_image, np.eye(3))


@pytest.mark.parametrize(("num_layers", "expected"), [(0, 297_857), (1, 532_097), (2, 766_337)])
def test_number_of_parameters_is_torchmd_nets(num_layers, expected):
    config = TensorNetConfig(num_channels=128, num_radial=32, num_layers=num_layers)
    module = TensorNet(config, tuple(range(1, 101)))
    graph = batch_structures([], Capacity.holding([]))
    variables = jax.eval_shape(module.init, jax.random.key(0), graph)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == expected


RADIAL_OPTIONS = {
    "exponential": {},
    "gaussian": {"radial": "gaussian"},
    "cutoff once": {"cutoff_once": True},
    "polynomial envelope": {"envelope": "polynomial"},
    "lower cutoff": {"cutoff_lower": 0.9},
}
OPTIONS = RADIAL_OPTIONS | {
    "smooth Bessel": {"radial": "smooth_bessel"},
    "no self edges": {"self_edges": False},
}
OPTIONS |= {name: {"activation": name} for name in ACTIVATIONS if name != "silu"}


@pytest.mark.slow
def test_every_option_changes_the_energy(potential):
    """The weights are the same each time."""
    energies = {}
    for name, options in OPTIONS.items():
        changed = with_config(potential, num_layers=0, **options)
        with changed.precision():
            apply = jax.jit(changed.module.apply, compiler_options=UNOPTIMIZED)
            found = apply(changed.variables, graph_of(changed, ethanol()))
            energies[name] = float(found["energies"].sum())
    assert np.diff(sorted(energies.values())).min() > 1e-6, energies


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.usefixtures("x64")
def test_activations_can_be_chosen_and_have_two_finite_derivatives(name):
    config = TensorNetConfig.model_validate({"activation": name})
    x = jnp.concatenate([jnp.linspace(-1000, 1000, 201), jnp.linspace(-30, 30, 61)])
    slope = jax.grad(ACTIVATIONS[config.activation])
    for derivative in (slope, jax.grad(slope)):
        assert np.isfinite(jax.vmap(derivative)(x)).all()


@pytest.mark.parametrize("name", RADIAL_OPTIONS)
@pytest.mark.usefixtures("x64")
def test_radial_functions_and_their_parameters_have_finite_gradients(name):
    """At distance 0 too, which is the edge of an atom to itself."""
    distances = jnp.array([0.0, 0.9, 1.7, 4.0, 80.0])
    options = {"cutoff": 4.0, "num_radial": 6, **RADIAL_OPTIONS[name]}
    fixed = RadialBasis(TensorNetConfig(**options), "float64")
    trained = RadialBasis(TensorNetConfig(**options, trainable_radial=True), "float64")
    buffers = fixed.init(jax.random.key(0), distances)
    params = trained.init(jax.random.key(0), distances)
    assert set(buffers) == {"buffers"}
    assert set(params) == {"params"}
    jax.tree.map(np.testing.assert_array_equal, buffers["buffers"], params["params"])

    def total(variables, distances):
        return jnp.sum(jnp.square(cast(jax.Array, trained.apply(variables, distances))))

    of_parameters, of_distances = jax.grad(total, argnums=(0, 1))(params, distances)
    for leaf in jax.tree.leaves((of_parameters, of_distances)):
        assert np.isfinite(leaf).all()
        assert abs(leaf).max() > 0


def test_registry_gives_config_and_module_of_a_name():
    config, network = MODELS["tensornet"]
    assert config is TensorNetConfig
    assert network(config(), (1, 8), "float64") == TensorNet(TensorNetConfig(), (1, 8), "float64")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cutoff": 5.0, "cutoff_lower": 5.0}, r"cutoff_lower \(5.0 Å\) must be below cutoff"),
        ({"cutoff": 3.0, "cutoff_lower": 4.0}, r"cutoff_lower \(4.0 Å\) must be below cutoff"),
        ({"heads": ("energy", "energy")}, "name one twice"),
        ({"heads": ()}, "heads"),
        ({"heads": ("energy", "charge")}, "heads"),
        ({"cutoff": 0.0}, "cutoff"),
        ({"cutoff": float("inf")}, "finite"),
        ({"num_channels": 1}, "num_channels"),
        ({"num_layers": -1}, "num_layers"),
        ({"activation": "relu"}, "activation"),
        ({"radial": "bessel"}, "radial"),
        ({"radial": "smooth_bessel", "trainable_radial": True}, "trainable_radial: false"),
        ({"radial": "smooth_bessel", "cutoff_lower": 1.0}, "cutoff_lower: 0"),
        ({"group": "O3"}, "group"),
        ({"num_channel": 64}, "did you mean 'num_channels'"),
    ],
)
def test_impossible_configurations_are_refused(fields, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        TensorNetConfig.model_validate(fields)
