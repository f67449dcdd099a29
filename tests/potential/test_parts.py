"""Energies of parts, divided as engines with domain decomposition divide, against the whole."""

from collections.abc import Sequence

import ase
import ase.build
import numpy as np
import pytest

from tensornet_jax.graph.part import NO_LATTICE, Lattice
from tensornet_jax.graph.structure import species_of
from tensornet_jax.potential.parts import PartEvaluator, PartResults
from tensornet_jax.potential.potential import Potential
from tensornet_jax.testing.difference_quotients import (
    difference_from_quotient,
    numerical_stresses,
)
from tests.builders import small_potential
from tests.seams.variants import VARIANTS, potential

# All others go through LAMMPS in tests/seams.
WHOLE = [name for name in VARIANTS if any(word in name for word in ("spin", "charges", "2"))]


def crystal() -> ase.Atoms:
    """Return a triclinic cell narrower than the reach, some atoms outside of it."""
    atoms = ase.build.bulk("C", "diamond", a=3.7).repeat((2, 2, 1))
    atoms.symbols[0] = "O"
    atoms.rattle(0.05, seed=1)
    strain = np.array([[1, 0.03, 0], [0, 1, -0.05], [0.02, 0, 1]])
    atoms.set_cell(atoms.cell.array @ strain)
    return atoms


def with_ghosts(atoms: ase.Atoms, owned: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of the owned atoms and then of ghosts in reach, and which atoms they are."""
    near = 1 + np.ceil(reach * np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0))
    near *= atoms.pbc
    shifts = np.array(list(np.ndindex(*(2 * near.astype(int) + 1)))) - near
    images = atoms.positions + (shifts @ atoms.cell.array)[:, None]
    own = atoms.positions[owned]
    distances = np.linalg.norm(images[:, :, None] - own, axis=-1).min(axis=-1)
    shift, atom = np.nonzero((distances < reach) & (distances > 0))
    # Owned atoms at their own places are no ghosts.
    home = (shifts[shift] == 0).all(axis=1) & np.isin(atom, owned)
    shift, atom = shift[~home], atom[~home]
    return np.concatenate([own, images[shift, atom]]), np.append(owned, atom)


def parts_of(
    found: Potential, atoms: ase.Atoms, count: int, *, once: bool = False
) -> list[tuple[np.ndarray, PartResults]]:
    """Evaluate a structure in so many parts; return which atoms each has, and its results.

    Args:
        found: evaluates them.
        atoms: the structure.
        count: how many parts.
        once: give one image of each atom, and the lattice.
    """
    evaluator = PartEvaluator(found)
    lattice = Lattice(atoms.cell.array, atoms.pbc) if once else NO_LATTICE
    results = []
    for owned in np.array_split(np.argsort(atoms.positions[:, 0]), count):
        places, which = with_ghosts(atoms, owned, evaluator.reach.distance + 1e-6)
        if once:
            first = np.sort(np.unique(which, return_index=True)[1])
            places, which = places[first], which[first]
        species = species_of(atoms.numbers[which], found.elements.numbers)
        part = evaluator.evaluate(
            places, species, len(owned), same=False, lattice=lattice, virials=True
        )
        results.append((which, part))
    return results


def check(found: Potential, atoms: ase.Atoms, count: int, *, once: bool = False) -> None:
    """Compare the sum of parts with the whole."""
    expected = found.evaluate(atoms, ("energies", "forces", "stress"))[0]
    energies, forces, virial = np.zeros(len(atoms)), np.zeros((len(atoms), 3)), np.zeros((3, 3))
    shares = np.zeros((len(atoms), 3, 3))
    for which, part in parts_of(found, atoms, count, once=once):
        energies[which[: len(part.energies)]] = part.energies
        np.add.at(forces, which, part.forces)
        virial += part.virial
        assert part.virials is not None
        np.add.at(shares, which, part.virials)
        np.testing.assert_allclose(part.virials.sum(axis=0), part.virial, atol=1e-9)
    np.testing.assert_allclose(energies, expected["energies"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(forces, expected["forces"], rtol=0, atol=1e-9)
    stress = -virial / atoms.get_volume()
    np.testing.assert_allclose(stress, expected["stress"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(shares.sum(axis=0), virial, rtol=0, atol=1e-8)


@pytest.mark.parametrize("variant", ["mace", "escn", "priors"])
def test_parts_sum_to_the_whole(variant):
    check(potential(variant), crystal(), 2)


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("num_layers", [0, 3])
def test_parts_reach_as_far_as_messages_go(num_layers, once):
    check(small_potential(num_layers=num_layers, cutoff=2.0), crystal(), 3, once=once)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("pbc", [True, (True, False, True)])
def test_one_image_of_each_atom_is_enough(count, pbc):
    atoms = crystal()
    atoms.pbc = pbc
    if not atoms.pbc.all():
        atoms.center(vacuum=4.0, axis=1)
    check(potential("priors"), atoms, count, once=True)


def test_virials_of_atoms_sum_to_the_stress_of_finite_strains():
    found, atoms = small_potential(num_layers=1, cutoff=2.0, num_channels=4), crystal()
    virial = np.zeros((3, 3))
    for _, part in parts_of(found, atoms, 2):
        assert part.virials is not None
        virial += part.virials.sum(axis=0)

    def energies(frames: Sequence[ase.Atoms]) -> list[float]:
        return [each["energy"] for each in found.evaluate(frames, "energy")]

    difference = difference_from_quotient(
        -virial / atoms.get_volume(),
        lambda step: numerical_stresses([atoms], energies, step)[0],
        *(2e-3, 1e-9),
    )
    assert difference.max() < 1e-8


@pytest.mark.parametrize("variant", WHOLE)
def test_a_potential_that_depends_on_all_atoms_is_refused(variant):
    with pytest.raises(ValueError, match=r"depend on all atoms at once"):
        PartEvaluator(potential(variant))


def test_lists_are_kept_while_they_hold_and_made_anew_when_they_do_not():
    found, atoms = small_potential(), crystal()
    evaluator = PartEvaluator(found, skin=0.6)
    everything = np.arange(len(atoms))
    places, which = with_ghosts(atoms, everything, evaluator.reach.distance + 0.6)
    species = species_of(atoms.numbers[which], found.elements.numbers)

    def energy(shift: float) -> float:
        moved = places + shift * np.sin(7.0 * which[:, None] + np.arange(3))
        return evaluator.evaluate(moved, species, len(atoms), same=True).energies.sum()

    energy(0.0)
    first = evaluator.lists
    near = energy(0.05)
    assert evaluator.lists is first
    energy(0.3)
    assert evaluator.lists is not first
    assert energy(0.05) == pytest.approx(near, abs=1e-10)


def test_lists_are_kept_while_the_box_changes_and_made_anew_when_pairs_may_be_missing():
    found, atoms = small_potential(cutoff=2.0), crystal()
    evaluator = PartEvaluator(found, skin=0.6)
    species = species_of(atoms.numbers, found.elements.numbers)

    def energy(stretch: float) -> float:
        now = atoms.copy()
        now.set_cell(atoms.cell.array * (1 + stretch), scale_atoms=True)
        lattice = Lattice(now.cell.array, now.pbc)
        part = evaluator.evaluate(now.positions, species, len(now), same=True, lattice=lattice)
        (expected,) = found.evaluate(now, ("energy", "stress"))
        stress = -part.virial / now.get_volume()
        np.testing.assert_allclose(stress, expected["stress"], rtol=0, atol=1e-10)
        assert part.energies.sum() == pytest.approx(expected["energy"], abs=1e-9)
        return part.energies.sum()

    energy(0.0)
    first = evaluator.lists
    near = energy(-0.1)
    assert evaluator.lists is first
    energy(-0.3)
    assert evaluator.lists is not first
    assert energy(-0.1) == pytest.approx(near, abs=1e-9)
