"""The heat flux against differences of energies, of a crystal and of a molecule."""

import ase
import ase.build
import numpy as np
import pytest
from ase import units

from tensornet_jax.potential.heat_flux import HeatFluxEvaluator
from tensornet_jax.potential.potential import Potential
from tests.builders import small_potential
from tests.potential.test_parts import WHOLE
from tests.seams.variants import potential

STEP = 2e-3  # Å


def moving(atoms: ase.Atoms, seed: int = 0) -> ase.Atoms:
    """Give atoms velocities of a few hundredths of Å/fs."""
    velocities = np.random.default_rng(seed).normal(scale=0.02, size=(len(atoms), 3))
    atoms.set_velocities(velocities / units.fs)
    return atoms


def crystal() -> ase.Atoms:
    """Return a small triclinic cell of two elements with an atom outside of it."""
    atoms = ase.build.bulk("C", "diamond", a=3.7)
    atoms.symbols[0] = "O"
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.03, 0], [0, 1, -0.05], [0.02, 0, 1]]))
    atoms.positions[1] += atoms.cell.array[2]
    return moving(atoms)


def slope(along) -> np.ndarray:
    """Return the derivative at 0 of what a list of numbers gives at once, to fourth order."""
    one, other, half, other_half = along([STEP, -STEP, STEP / 2, -STEP / 2])
    return (4 * (half - other_half) / STEP - (one - other) / (2 * STEP)) / 3


def flux_of_pairs(found: Potential, atoms: ase.Atoms, repeats: int) -> np.ndarray:
    """Return −Σ_ij (r_j − r_i) (∂U_i/∂r_j · v_j) of energies U_i in a large cell.

    One atom of each kind moves there, and all U_i are looked at: by translation it is the same as
    looking at those of one cell while all atoms around move.
    """
    large, flux = atoms.repeat(repeats), np.zeros(3)
    velocities = atoms.get_velocities() * units.fs
    for j, velocity in enumerate(velocities):
        speed = np.linalg.norm(velocity)

        def energies(steps: list[float], j=j, direction=velocity / speed) -> np.ndarray:
            frames = [large.copy() for _ in steps]
            for frame, step in zip(frames, steps, strict=True):
                frame.positions[j] += step * direction
            return np.array([each["energies"] for each in found.evaluate(frames, "energies")])

        rates = speed * slope(energies)
        # r_i − r_j
        apart = large.get_distances(j, range(len(large)), mic=True, vector=True)
        flux += rates @ apart
    return flux


@pytest.mark.parametrize("num_layers", [0, 1])
def test_heat_flux_of_a_crystal_is_the_sum_over_pairs(num_layers):
    found = small_potential(num_layers=num_layers, cutoff=2.2, num_channels=4)
    atoms, evaluator = crystal(), HeatFluxEvaluator(found)
    assert evaluator.reach.distance > 2.2 * num_layers
    flux = evaluator.evaluate(atoms)
    expected = flux_of_pairs(found, atoms, 3 + 2 * num_layers)
    assert np.linalg.norm(expected) > 1e-4
    np.testing.assert_allclose(flux.potential, expected, rtol=0, atol=1e-8)
    (whole,) = found.evaluate(atoms, "energies")
    energies = whole["energies"] + 0.5 * atoms.get_masses() * (atoms.get_velocities() ** 2).sum(1)
    convective = energies @ atoms.get_velocities() * units.fs
    np.testing.assert_allclose(flux.convective, convective, rtol=1e-12)
    np.testing.assert_allclose(flux.total, flux.potential + convective, rtol=1e-12)


def test_heat_flux_of_a_molecule_is_the_speed_of_its_energy():
    found = small_potential(num_layers=1, cutoff=2.2, num_channels=4)
    atoms = ase.build.molecule("CH3OH")
    atoms.rattle(0.1, seed=2)
    moving(atoms)
    (now,) = found.evaluate(atoms)
    accelerations = now["forces"] / atoms.get_masses()[:, None]

    def moments(times: list[float]) -> np.ndarray:
        """Σ r_i E_i, times in ASE's unit."""
        frames = [atoms.copy() for _ in times]
        for frame, time in zip(frames, times, strict=True):
            frame.positions += time * atoms.get_velocities()
            frame.set_velocities(atoms.get_velocities() + time * accelerations)
        kinetic = [0.5 * f.get_masses() * (f.get_velocities() ** 2).sum(axis=1) for f in frames]
        results = found.evaluate(frames, "energies")
        return np.array(
            [
                (result["energies"] + k) @ frame.positions
                for result, k, frame in zip(results, kinetic, frames, strict=True)
            ]
        )

    flux = HeatFluxEvaluator(found).evaluate(atoms)
    np.testing.assert_allclose(flux.total, slope(moments) * units.fs, rtol=0, atol=1e-7)


def test_heat_flux_does_not_depend_on_the_choice_of_the_cell():
    found = small_potential(num_layers=1, cutoff=2.2, num_channels=4)
    atoms, evaluator = crystal(), HeatFluxEvaluator(found)
    one = evaluator.evaluate(atoms)
    two = evaluator.evaluate(atoms.repeat((1, 2, 1)))
    np.testing.assert_allclose(two.potential, 2 * one.potential, rtol=0, atol=1e-12)
    atoms.positions += 0.7 * atoms.cell.array[0] - 0.4 * atoms.cell.array[1]
    np.testing.assert_allclose(evaluator.evaluate(atoms).potential, one.potential, atol=1e-12)


@pytest.mark.parametrize("variant", WHOLE)
def test_a_potential_that_depends_on_all_atoms_is_refused(variant):
    with pytest.raises(ValueError, match="depend on all atoms at once"):
        HeatFluxEvaluator(potential(variant))
