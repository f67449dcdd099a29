"""Tensor heads of every model: they turn and invert with the structure, and keep what they promise.

One potential for each model predicts all tensors at once, so that each compiles once.
"""

from functools import cache
from typing import Any

import ase.build
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tensornet_jax.models import MODELS
from tensornet_jax.models.heads.tensor_config import TensorHead, known_head
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.tensors import is_positive_definite

# Each of them is one more program to compile; TensorNet has all, to prove what all models share.
TENSORS = {
    "tensornet": ("polarizability", "shielding", "elasticity", "piezoelectric", "born_charges"),
    "tensornet2": ("shielding",),
    "mace": ("shielding", "elasticity"),
    "escn": ("shielding", "elasticity"),
}
SIZES = {
    "tensornet": {"num_channels": 4, "num_layers": 1, "num_radial": 6},
    "tensornet2": {"num_channels": 4, "num_layers": 1, "num_radial": 6, "num_charges": 2},
    "mace": {"num_channels": 2, "hidden_l_max": 2, "l_max": 2, "correlation": 2},
    "escn": {"num_channels": 2, "hidden_channels": 2, "l_max": 2, "num_layers": 1},
}


SCALARS = (
    TensorHead(name="volume", symmetry="scalar", width=4),
    TensorHead(name="gap", symmetry="scalar", mean=True, width=4),
    TensorHead(name="spin_density", symmetry="scalar", per="atom", sum_to_zero=True, width=4),
)


def heads(name: str) -> tuple[TensorHead, ...]:
    tensors = (known_head(each).model_copy(update={"width": 4}) for each in TENSORS[name])
    return (*tensors, *SCALARS)


@cache
def potential(name: str) -> Potential:
    options: dict[str, Any] = {"heads": ("energy", "dipole"), "tensors": heads(name), "cutoff": 4.0}
    if name != "tensornet2":
        options["dipole_form"] = "charges_and_dipoles"
    config = MODELS[name][0](**SIZES[name], **options)
    return create_potential(config, ElementTable((1, 6, 8), np.zeros(3)), seed=0, dtype="float64")


def ethanol():
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=1)
    atoms.info["charge"] = 1.0
    return atoms


def turned(value: np.ndarray, rotation: np.ndarray, rank: int) -> np.ndarray:
    for axis in range(value.ndim - rank, value.ndim):
        value = np.moveaxis(np.tensordot(rotation, value, (1, axis)), 0, axis)
    return value


@pytest.mark.parametrize(
    "name",
    [n if n == "tensornet" else pytest.param(n, marks=pytest.mark.slow) for n in SIZES],
)
def test_tensors_turn_and_invert_with_the_structure(name):
    model = potential(name)
    names = ("dipole", "charges", *(head.name for head in model.tensor_heads))
    rotation = -Rotation.from_rotvec([0.3, -0.5, 1.1]).as_matrix()
    shift = np.array([1.0, 2.0, -3.0])
    atoms, moved = ethanol(), ethanol()
    moved.positions = atoms.positions @ rotation.T + shift
    before, after = model.evaluate([atoms, moved], names)
    for each in names:
        ranks = {"dipole": 1, "charges": 0} | {h.name: h.space.rank for h in model.tensor_heads}
        expected = turned(before[each], rotation, ranks[each])
        if each == "dipole" and name != "tensornet2":
            # The moment of a charge depends on the origin.
            expected = expected + shift
        size = np.abs(expected).max()
        assert size > 1e-6, f"{each} is as good as zero and proves nothing"
        np.testing.assert_allclose(after[each], expected, atol=1e-11 * size)
    assert before["spin_density"].shape == (len(atoms),)
    np.testing.assert_allclose(before["spin_density"].sum(), 0, atol=1e-12)
    shielding = before["shielding"]
    assert np.abs(shielding - shielding.transpose(0, 2, 1)).max() > 1e-4
    if "born_charges" in before:
        np.testing.assert_allclose(before["born_charges"].sum(axis=0), 0, atol=1e-12)
    if "elasticity" in before:
        assert is_positive_definite(before["elasticity"])
    if name != "tensornet2":
        np.testing.assert_allclose(before["charges"].sum(), 1.0, rtol=1e-12)


def test_a_sum_grows_with_the_structure_and_a_mean_does_not():
    model = potential("tensornet")
    single = ethanol()
    single.info["charge"] = 0.0
    far = single.copy()
    far.positions += [0, 0, 50]
    # The same program as for the test above: all of the tensors, of two structures.
    names = ("dipole", "charges", *(head.name for head in model.tensor_heads))
    one, two = model.evaluate([single, single + far], names)
    np.testing.assert_allclose(two["polarizability"], 2 * one["polarizability"], rtol=1e-10)
    np.testing.assert_allclose(two["volume"], 2 * one["volume"], rtol=1e-10)
    np.testing.assert_allclose(two["elasticity"], one["elasticity"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(two["gap"], one["gap"], rtol=1e-10)
    np.testing.assert_allclose(two["dipole"], 2 * one["dipole"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        ({"name": "forces"}, "taken by another property"),
        ({"name": "a", "symmetry": "ij", "positive_definite": True}, "positive_definite is for"),
        ({"name": "a", "per": "atom", "mean": True}, "mean is for tensors of structures"),
        ({"name": "a", "sum_to_zero": True}, "per: atom"),
        ({"name": "a", "symmetry": "ijk"}, "pseudoscalar"),
        ("polarisability", "did you mean polarizability|polarizability"),
    ],
)
def test_heads_that_make_no_sense_are_refused(head, problem):
    with pytest.raises(ValueError, match=problem):
        MODELS["tensornet"][0](tensors=(head,))


def test_a_degree_out_of_reach_is_refused_with_a_remedy():
    with pytest.raises(ValueError, match="out of reach of features up to degree"):
        MODELS["mace"][0].model_validate({"tensors": ["elasticity"], "hidden_l_max": 1})
