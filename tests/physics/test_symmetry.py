"""Rotation, inversion, translation, periodicity and exchange of atoms."""

import ase
import numpy as np
import pytest

from tensornet_jax.potential.potential import Potential
from tensornet_jax.testing import transformed
from tests import tolerances
from tests.builders import ethanol, in_box, with_config
from tests.physics.structures import crystals, everything, random_rotation

pytestmark = pytest.mark.usefixtures("one_shape")

COMPUTE = ("energy", "energies", "forces", "stress")


def evaluate(potential: Potential, structures: dict[str, ase.Atoms]) -> dict[str, dict]:
    results = potential.evaluate(list(structures.values()), COMPUTE)
    return dict(zip(structures, results, strict=True))


def assert_transformed(found: dict, start: dict, matrix: np.ndarray, name: str) -> None:
    """Energies are invariant, forces turn as R F and the stress as R σ Rᵀ."""
    expected = {
        "energies": start["energies"],
        "forces": start["forces"] @ matrix.T,
        "stress": matrix @ start["stress"] @ matrix.T,
    }
    for key, value in expected.items():
        scale = abs(value).max()
        np.testing.assert_allclose(
            found[key],
            value,
            rtol=0,
            atol=scale * tolerances.MODEL_EQUIVARIANCE,
            err_msg=f"{key} of {name}",
        )


@pytest.fixture(scope="module")
def start(o3_potential) -> dict[str, dict]:
    return evaluate(o3_potential, everything())


@pytest.mark.parametrize("inversion", [1, -1])
def test_o3_model_is_equivariant_under_rotation_and_inversion(o3_potential, start, inversion):
    matrix = inversion * random_rotation()
    turned = {name: transformed(atoms, matrix) for name, atoms in everything().items()}
    found = evaluate(o3_potential, turned)
    for name in start:
        assert_transformed(found[name], start[name], matrix, name)


def test_so3_model_is_equivariant_under_rotation(so3_potential):
    matrix = random_rotation()
    turned = {name: transformed(atoms, matrix) for name, atoms in everything().items()}
    start, found = evaluate(so3_potential, everything()), evaluate(so3_potential, turned)
    for name in start:
        assert_transformed(found[name], start[name], matrix, name)


def test_so3_model_tells_a_chiral_molecule_from_its_mirror_image(so3_potential):
    """Both have the same distances and angles; no O(3) model can tell them apart."""
    molecule = in_box(ethanol())
    images = {"left": molecule, "right": transformed(molecule, -np.eye(3))}
    found = evaluate(so3_potential, images)
    left, right = found["left"]["energy"], found["right"]["energy"]
    assert abs(left - right) > 100 * tolerances.MODEL_EQUIVARIANCE * abs(left)


@pytest.mark.parametrize("inversion", [1, -1])
def test_dipole_is_a_vector(o3_potential, inversion):
    # One layer: a property by itself needs a compilation by itself.
    potential = with_config(o3_potential, num_layers=1)
    molecule = ethanol()
    molecule.info["charge"] = 1.0
    matrix = inversion * random_rotation(1)
    start, turned, moved = potential.evaluate(
        [molecule, transformed(molecule, matrix), translated(molecule, [3.0, -7.0, 11.0])],
        ("dipole",),
    )
    scale = float(np.linalg.norm(start["dipole"]))
    assert scale > 1e-3
    for found, expected in ((turned, matrix @ start["dipole"]), (moved, start["dipole"])):
        np.testing.assert_allclose(
            found["dipole"], expected, rtol=0, atol=scale * tolerances.MODEL_EQUIVARIANCE
        )


def test_atoms_and_images_may_be_written_anywhere(o3_potential, start):
    """Each atom moved by lattice vectors of its own along the periodic directions."""
    rng = np.random.default_rng(2)
    moved = {}
    for name, atoms in crystals().items():
        moved[name] = atoms.copy()
        images = rng.integers(-30, 31, (len(atoms), 3)) * atoms.pbc
        assert abs(images).max() > 10
        moved[name].positions += images @ atoms.cell.array
    found = evaluate(o3_potential, moved)
    for name, atoms in crystals().items():
        assert found[name]["energy"] == pytest.approx(
            start[name]["energy"], abs=tolerances.SAME_ENERGY
        )
        np.testing.assert_allclose(
            found[name]["forces"], start[name]["forces"], atol=tolerances.SAME_ENERGY
        )
        before, after = (o3_potential.structure(a) for a in (atoms, moved[name]))
        assert len(before.pairs) == len(after.pairs)


def test_molecule_may_be_far_from_the_origin(o3_potential, start):
    molecule = everything()["charged molecule"]
    far = translated(molecule, [5000.0, 0.0, -3000.0])
    (found,) = o3_potential.evaluate(far, COMPUTE)
    expected = start["charged molecule"]
    assert found["energy"] == pytest.approx(expected["energy"], abs=tolerances.SAME_ENERGY)
    np.testing.assert_allclose(found["forces"], expected["forces"], atol=tolerances.SAME_ENERGY)
    assert len(o3_potential.structure(far).pairs) == len(o3_potential.structure(molecule).pairs)


def test_order_of_the_atoms_does_not_matter(o3_potential, start):
    rng = np.random.default_rng(3)
    orders = {name: rng.permutation(len(atoms)) for name, atoms in everything().items()}
    found = evaluate(o3_potential, {name: everything()[name][orders[name]] for name in orders})
    for name, order in orders.items():
        expected = start[name]
        scale = abs(expected["energies"]).max()
        np.testing.assert_allclose(
            found[name]["energies"],
            expected["energies"][order],
            rtol=0,
            atol=scale * tolerances.SAME_SUM,
        )
        np.testing.assert_allclose(
            found[name]["forces"],
            expected["forces"][order],
            rtol=0,
            atol=abs(expected["forces"]).max() * tolerances.SAME_SUM,
        )


def translated(atoms: ase.Atoms, by: list[float]) -> ase.Atoms:
    moved = atoms.copy()
    moved.positions += by
    return moved
