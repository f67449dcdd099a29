"""The laws of physics for every model and every product it may be built of."""

from collections.abc import Iterator
from functools import partial

import ase
import jax
import numpy as np
import pytest
from ase.build import bulk, molecule

from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.models import MODELS
from tensornet_jax.models.tensornet2.config import TensorNet2Config
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.potential import Potential
from tensornet_jax.testing import (
    check_batching,
    check_equivariance,
    check_extensive,
    check_forces,
    check_smooth_at_cutoff,
    check_stress,
)
from tests import tolerances
from tests.builders import UNOPTIMIZED, config_of, ethanol, evaluating_in_one_shape, in_box
from tests.models.every_model import SLOW, VARIANTS, small_model

SHAPE = Capacity(graphs=64, atoms=384, pairs=4096, slots=32)
LONG_SHAPE = SHAPE._replace(long_pairs=12288, long_slots=64)
COMPUTE = ("energy", "forces", "stress")


def water(seed: int = 0) -> ase.Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.1, seed=seed)
    return in_box(atoms)


def crystal() -> ase.Atoms:
    """Return a skewed crystal of two elements, smaller than the cutoff."""
    atoms = bulk("SiO", "zincblende", a=4.6)
    atoms.set_cell(atoms.cell.array @ [[1, 0.1, 0], [0, 1.05, 0.1], [0, -0.05, 1]], True)
    atoms.rattle(0.1, seed=1)
    return atoms


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every class the variants of its model."""
    if metafunc.cls is not None:
        own = [
            pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
            for name in VARIANTS
            if name.split()[0] == metafunc.cls.model
        ]
        metafunc.parametrize("variant", own, scope="class")


@pytest.fixture(scope="class")
def potential(variant: str) -> Iterator[Potential]:
    made = small_model(variant)
    with evaluating_in_one_shape(SHAPE if made.config.long_cutoff is None else LONG_SHAPE):
        yield made


class Laws:
    """What every model must do; a class for each model, so that they run side by side."""

    model: str
    extensive = tolerances.SAME_SUM

    def test_equivariance(self, potential: Potential) -> None:
        inversion = potential.config.model_dump()["group"] == "O(3)"
        for atoms in (water(), crystal()):
            assert check_equivariance(potential, atoms, inversion=inversion) > 0

    def test_only_so3_models_tell_mirror_images_apart(self, potential: Potential) -> None:
        chiral = in_box(ethanol())
        mirrored = chiral.copy()
        mirrored.set_cell(chiral.cell.array * [-1, 1, 1])
        mirrored.positions[:, 0] *= -1
        left, right = (f["energy"] for f in potential.evaluate([chiral, mirrored], COMPUTE))
        same = abs(left - right) < tolerances.MODEL_EQUIVARIANCE * abs(left)
        assert same == (potential.config.model_dump()["group"] == "O(3)")

    def test_forces_and_stress_are_derivatives(self, potential: Potential) -> None:
        check_forces(potential, crystal(), tolerance=tolerances.FINITE_DIFFERENCE_FORCES)
        check_stress(potential, crystal(), tolerance=tolerances.FINITE_DIFFERENCE_STRESS)

    def test_forces_along_all_axes_are_derivatives(self, potential: Potential) -> None:
        """Edges exactly on ±x, ±y and ±z, where frames have their poles."""
        cross = np.concatenate([[[0, 0, 0]], 1.2 * np.eye(3), -1.3 * np.eye(3)])
        check_forces(potential, in_box(ase.Atoms("OHCSiHHC", cross)))

    def test_twice_as_much_is_twice_the_energy(self, potential: Potential) -> None:
        check_extensive(potential, water(), tolerance=self.extensive)
        check_extensive(potential, crystal(), tolerance=self.extensive)

    def test_no_step_at_the_cutoff(self, potential: Potential) -> None:
        check_smooth_at_cutoff(potential, water())

    def test_curvature_vanishes_at_the_cutoff(self, potential: Potential) -> None:
        if potential.config.reach > potential.cutoff:
            # That of a reaction field does not; what its charges depend on must.
            coulomb = config_of(potential, TensorNet2Config).coulomb
            assert coulomb is not None
            silent = coulomb.model_copy(update={"scale": 0.0})
            config = potential.config.model_copy(update={"coulomb": silent})
            potential = potential.replace(config=config)
        depths = 0.02 * 0.5 ** np.arange(5)
        direction = np.array([0.48, 0.6, 0.64])
        bonds = [(potential.cutoff - depth) * direction for depth in depths]
        dimers = [in_box(ase.Atoms("CO", [[0, 0, 0], bond])) for bond in bonds]
        forces = [f["forces"][1] @ direction for f in potential.evaluate(dimers, COMPUTE)]
        curvature = abs(np.diff(forces) / np.diff(depths))
        assert curvature[0] > 0
        assert (curvature[1:] < 0.6 * curvature[:-1]).all()

    def test_batches_padding_and_order_do_not_matter(self, potential: Potential) -> None:
        structures = [water(), crystal(), water(1)]
        check_batching(potential, structures, tolerance=tolerances.SAME_SUM)
        atoms = in_box(ethanol())
        order = np.random.default_rng(0).permutation(len(atoms))
        one, two = potential.evaluate([atoms, atoms[order]], COMPUTE)
        assert two["energy"] == pytest.approx(one["energy"], rel=tolerances.SAME_SUM)
        scale = abs(one["forces"]).max()
        np.testing.assert_allclose(
            two["forces"], one["forces"][order], atol=scale * tolerances.SAME_SUM
        )

    def test_an_atom_alone_has_the_energy_of_an_isolated_atom(self, potential: Potential) -> None:
        (found,) = potential.evaluate([in_box(ase.Atoms("O"))], COMPUTE)
        assert np.isfinite(found["energy"])
        assert (found["forces"] == 0).all()
        gated = getattr(potential.config, "interaction", None) == "gated"
        if not self.model.startswith("tensornet") and not gated:
            # TensorNet as published has an edge from every atom to itself, and a gated MACE keeps
            # the features of every atom.
            assert abs(found["energy"]) < tolerances.ROUNDING

    def test_same_structure_gives_the_same_numbers_twice(self, potential: Potential) -> None:
        first, second = (potential.evaluate([crystal()], COMPUTE)[0] for _ in range(2))
        assert first["energy"] == second["energy"]
        assert (first["forces"] == second["forces"]).all()


class TestTensorNet(Laws):
    model = "tensornet"


class TestTensorNet2(Laws):
    model = "tensornet2"
    extensive = tolerances.EQUILIBRATION


class TestMACE(Laws):
    model = "mace"


class TestESCN(Laws):
    model = "escn"


SPINE = ("mace", "mace gaunt_grid", "escn truncated")
"""What TensorNet, whose tests of its own do the same, does not stand for."""


@pytest.mark.slow
@pytest.mark.parametrize("variant", SPINE)
def test_file_calculator_hessian_and_float32_agree_with_evaluate(variant, tmp_path):
    potential, atoms = small_model(variant), water()
    expected, moved, back = potential.evaluate(
        [atoms, _moved(atoms, 1e-4), _moved(atoms, -1e-4)], COMPUTE
    )
    path = tmp_path / "model.safetensors"
    save_model(path, potential)
    atoms.calc = TensorNetCalculator(load_model(path), compilation_cache=False)
    assert atoms.get_potential_energy() == pytest.approx(
        expected["energy"], rel=tolerances.SAME_MODEL
    )
    scale = abs(expected["forces"]).max()
    np.testing.assert_allclose(
        atoms.get_forces(), expected["forces"], atol=scale * tolerances.SAME_MODEL
    )
    (single,) = potential.astype("float32").evaluate([water()], COMPUTE)
    np.testing.assert_allclose(
        single["forces"], expected["forces"], atol=scale * tolerances.MODEL_FLOAT32
    )
    (hessian,) = (f["hessian"] for f in potential.evaluate([atoms], ("hessian",)))
    row = (back["forces"] - moved["forces"]).ravel() / 2e-4
    np.testing.assert_allclose(hessian[5], row, atol=tolerances.FINITE_DIFFERENCE_HESSIAN)


def _moved(atoms: ase.Atoms, by: float) -> ase.Atoms:
    moved = atoms.copy()
    moved.positions[1, 2] += by
    return moved


@pytest.mark.slow
@pytest.mark.parametrize("variant", SPINE)
def test_training_gradients_are_finite_without_edges_and_in_padding(variant):
    potential = small_model(variant)

    @partial(jax.jit, compiler_options=UNOPTIMIZED)
    @jax.grad
    def gradient(variables, graph):
        found = potential.predict(variables, graph, ("energy", "forces", "stress"))
        return sum((value**2).sum() for value in found.values())

    with potential.precision():
        for structures in ([], [in_box(ase.Atoms("O"))], [water()]):
            graph = batch_structures(
                [potential.structure(atoms) for atoms in structures],
                Capacity(2, 8, 64, 16),
                "float64",
            )
            leaves = jax.tree.leaves(gradient(potential.variables, to_device(graph)))
            assert all(np.isfinite(leaf).all() for leaf in leaves)


def test_every_model_is_tested():
    assert {variant.split()[0] for variant in VARIANTS} == set(MODELS)
