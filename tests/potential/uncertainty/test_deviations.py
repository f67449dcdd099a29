"""Standard deviations against their closed form, finite differences and the symmetries."""

import ase
import ase.build
import jax
import numpy as np
import pytest
from ase.build import bulk

from tensornet_jax.graph.atom_graph import Capacity, batch_structures, to_device
from tensornet_jax.ops.kernels.choice import KernelMode, use_kernels
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.uncertainty import deviations
from tensornet_jax.potential.uncertainty.deviations import COLLECTION
from tensornet_jax.potential.uncertainty.estimate import with_rigidity
from tensornet_jax.potential.uncertainty.last_layer import last_layer_features
from tests.builders import small_potential
from tests.potential.uncertainty.sets import labelled_with_errors, molecules, sure_potential

OF_ENERGY = ("energy_std", "energies_std")
ALL = (*OF_ENERGY, "forces_std")


def features(potential: Potential, atoms: ase.Atoms) -> np.ndarray:
    """Features of the atoms, in eV for weights of 1."""
    structures = [potential.structure(atoms)]
    with potential.precision():
        graph = batch_structures(structures, Capacity.holding(structures), potential.dtype)
        found = last_layer_features(potential.module, potential.variables, to_device(graph))
    return potential.energy_scale * np.asarray(found)[: len(atoms)]


def covariance_of_weights(potential: Potential) -> np.ndarray:
    factor = np.asarray(potential.variables[COLLECTION]["factor"])
    return factor @ factor.T


def scale(potential: Potential, name: str) -> float:
    return float(potential.variables[COLLECTION]["scales"][name])


@pytest.fixture(scope="module")
def potential() -> Potential:
    return sure_potential()


@pytest.fixture(scope="module")
def methanol() -> ase.Atoms:
    return molecules(2, seed=5)[1]


@pytest.fixture(scope="module")
def found(potential, methanol) -> dict[str, np.ndarray]:
    (results,) = potential.evaluate(methanol, ALL)
    return results


def test_energies_have_the_closed_form(potential, methanol, found):
    rows, sigma = features(potential, methanol), covariance_of_weights(potential)
    alpha = scale(potential, "energy")
    total = rows.sum(axis=0)
    np.testing.assert_allclose(found["energy_std"], alpha * (total @ sigma @ total) ** 0.5)
    of_atoms = np.einsum("nf,fg,ng->n", rows, sigma, rows)
    np.testing.assert_allclose(found["energies_std"], alpha * of_atoms**0.5)


def test_the_covariance_is_that_of_the_sample(potential):
    rows = np.stack([features(potential, atoms).mean(axis=0) for atoms in molecules(12)])
    rows = rows / potential.energy_scale
    whole = rows.T @ rows
    whole += 1e-6 * np.linalg.eigvalsh(whole)[-1] * np.eye(len(whole))
    np.testing.assert_allclose(covariance_of_weights(potential), np.linalg.inv(whole), rtol=1e-6)


def test_forces_are_those_of_finite_differences_of_the_features(potential, methanol, found):
    sigma, step = covariance_of_weights(potential), 1e-4
    for atom, axis in ((0, 0), (1, 2), (5, 1)):
        ends = []
        for sign in (1, -1):
            moved = methanol.copy()
            moved.positions[atom, axis] += sign * step
            ends.append(features(potential, moved).sum(axis=0))
        slope = (ends[0] - ends[1]) / (2 * step)
        expected = scale(potential, "forces") * (slope @ sigma @ slope) ** 0.5
        assert abs(found["forces_std"][atom, axis] - expected) < 1e-5 * expected


def test_stress_is_that_of_finite_differences_of_the_features(potential):
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=1)
    (found,) = potential.evaluate(atoms, ("stress_std",))
    sigma, step = covariance_of_weights(potential), 1e-4
    for a, b in ((0, 0), (0, 1)):
        ends = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            ends.append(features(potential, strained).sum(axis=0))
        slope = (ends[0] - ends[1]) / (2 * step) / atoms.cell.volume
        expected = scale(potential, "stress") * (slope @ sigma @ slope) ** 0.5
        assert abs(found["stress_std"][a, b] - expected) < 1e-4 * expected
    np.testing.assert_allclose(found["stress_std"], found["stress_std"].T)


def test_symmetries_leave_them_as_they_are(potential, methanol, found):
    order = np.random.default_rng(0).permutation(len(methanol))
    turned = methanol[order]
    turned.rotate(57, (1, 2, 3))
    turned.positions = -turned.positions + 4.0
    (other,) = potential.evaluate(turned, ALL)
    np.testing.assert_allclose(other["energy_std"], found["energy_std"], rtol=1e-8)
    np.testing.assert_allclose(other["energies_std"], found["energies_std"][order], rtol=1e-8)
    # Components turn, as those of a diagonal of a tensor; what is left of three does not.
    lengths = [np.linalg.norm(each["forces_std"], axis=1) for each in (other, found)]
    np.testing.assert_allclose(lengths[0], lengths[1][order], rtol=1e-8)


@pytest.mark.parametrize("kernels", ["off", "interpret"])
def test_backward_passes_may_be_taken_together(methanol, monkeypatch, kernels: KernelMode):
    wide = small_potential(num_layers=1, num_channels=16)
    sure = with_rigidity(wide, molecules(6), labelled_with_errors(wide, molecules(4)), directions=6)
    prepared = [sure.structure(methanol)]

    def forces(atoms_together: int, mode: KernelMode) -> np.ndarray:
        monkeypatch.setattr(deviations, "ATOMS_TOGETHER", atoms_together)
        with sure.precision(), use_kernels(mode):
            graph = batch_structures(prepared, Capacity.holding(prepared), sure.dtype)
            program = jax.jit(
                lambda graph: deviations.derivative_deviations(
                    sure.module, sure.variables, graph, ("forces_std",), sure.energy_scale
                )
            )
            return np.asarray(program(to_device(graph))["forces_std"])

    one_by_one = forces(0, "off")
    assert one_by_one.max() > 0
    # Two, and four of six.
    for atoms_together in (20, 40):
        found = forces(atoms_together, kernels)
        np.testing.assert_allclose(found, one_by_one, rtol=1e-9, atol=1e-12)


def test_batches_and_padding_do_not_change_them(potential, methanol, found):
    frames = [*molecules(3, seed=9), methanol, ase.Atoms("O")]
    together = potential.evaluate(frames, ALL)
    for name in ALL:
        np.testing.assert_allclose(together[3][name], found[name], rtol=1e-9)
        assert np.isfinite(together[4][name]).all()


def test_single_precision_is_close_to_double(methanol, found):
    (single,) = sure_potential("float32").evaluate(methanol, ALL)
    for name in ALL:
        largest = np.max(found[name])
        np.testing.assert_allclose(single[name], found[name], rtol=0, atol=5e-3 * largest)


def test_asking_for_more_changes_nothing(potential, methanol, found):
    names = ("energy", "forces")
    (plain,) = potential.evaluate(methanol, names)
    (both,) = potential.evaluate(methanol, (*names, *ALL))
    (bare,) = small_potential(num_layers=1).evaluate(methanol, names)
    for name in names:
        np.testing.assert_allclose(both[name], plain[name], rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(plain[name], bare[name])
    for name in ALL:
        np.testing.assert_allclose(both[name], found[name], rtol=1e-9)


def test_a_model_without_an_uncertainty_has_none(methanol):
    plain = small_potential(num_layers=1)
    assert not set(ALL) & set(plain.properties)
    with pytest.raises(ValueError, match="this model has no 'energy_std'"):
        plain.evaluate(methanol, ("energy_std",))
