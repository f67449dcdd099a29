"""Tensors with index symmetries and their irreducible parts: counts known from group theory."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tensornet_jax.tensors import tensor_symmetry
from tests.tolerances import OP

# Irreps by hand: symmetric powers and products of the vector representation.
KNOWN = {
    ("scalar", False): "1x0e",
    ("i", False): "1x1o",
    ("ij", False): "1x0e+1x1e+1x2e",
    ("ij=ji", False): "1x0e+1x2e",
    ("ij=ji", True): "1x2e",
    ("ij=-ji", False): "1x1e",
    ("ijk=jik=ikj", False): "1x1o+1x3o",
    ("ijk=jik=ikj", True): "1x3o",
    ("ijk=ikj", False): "2x1o+1x2o+1x3o",
    ("ijk", False): "1x0o+3x1o+2x2o+1x3o",
    ("ijkl=jikl=klij", False): "2x0e+2x2e+1x4e",
    ("ijkl=jikl=ikjl=ijlk", False): "1x0e+1x2e+1x4e",
}


@pytest.mark.parametrize(("formula", "traceless"), KNOWN)
def test_irreps_and_round_trip(formula, traceless):
    space = tensor_symmetry(formula, traceless)
    assert space.irreps == KNOWN[formula, traceless]
    basis = space.basis.reshape(space.size, -1)
    np.testing.assert_allclose(basis @ basis.T, np.eye(space.size), atol=OP)
    components = np.random.default_rng(0).normal(size=(5, space.size))
    tensors = space.from_irreps(components)
    np.testing.assert_allclose(space.to_irreps(tensors), components, atol=OP)
    # Every term of the formula is a permutation that must leave the tensors as they are.
    first, *others = formula.split("=")
    for term in others:
        sign = -1 if term.startswith("-") else 1
        axes = [1 + first.index(letter) for letter in term.lstrip("-")]
        np.testing.assert_allclose(sign * tensors.transpose(0, *axes), tensors, atol=OP)
    if traceless:
        np.testing.assert_allclose(np.trace(tensors, axis1=1, axis2=2), 0, atol=OP)


@pytest.mark.parametrize(("formula", "traceless"), KNOWN)
def test_blocks_mix_among_themselves_alone_and_a_degree_has_the_trace_of_its_rotation(
    formula, traceless
):
    space = tensor_symmetry(formula, traceless)
    angle = 0.7
    rotation = Rotation.from_rotvec(angle * np.array([2, -1, 2]) / 3).as_matrix()
    turned = space.basis
    for axis in range(1, space.rank + 1):
        turned = np.moveaxis(np.tensordot(rotation, turned, (1, axis)), 0, axis)
    matrix = space.to_irreps(turned)
    for block in space.blocks:
        outside = np.delete(matrix[block.slice], np.r_[block.slice], axis=1)
        np.testing.assert_allclose(outside, 0, atol=1e-13)
        character = 1 + 2 * sum(np.cos(m * angle) for m in range(1, block.degree + 1))
        trace = np.trace(matrix[block.slice, block.slice])
        np.testing.assert_allclose(trace, block.multiplicity * character, atol=1e-13)


def test_parity_is_that_of_the_rank():
    assert tensor_symmetry("ij").is_natural(2)
    assert not tensor_symmetry("ij").is_natural(1)
    assert tensor_symmetry("ijk").is_natural(3)
    assert not tensor_symmetry("ijk").is_natural(2)


@pytest.mark.parametrize(
    ("formula", "problem"),
    [
        ("ij=jk", "permutations of the same letters"),
        ("ii", "permutations of the same letters"),
        ("ijklm", "4 are the most"),
        ("ij=ji=-ij", "no tensor but zero"),
    ],
)
def test_what_is_no_symmetry_is_refused(formula, problem):
    with pytest.raises(ValueError, match=problem):
        tensor_symmetry(formula)
