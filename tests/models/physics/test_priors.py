"""Priors: energies of pairs against plain sums, in molecules and in cells, and derivatives."""

from typing import Any

import ase
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.data import covalent_radii

from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.graph.neighbors import neighbor_pairs
from tensornet_jax.models import MODELS
from tensornet_jax.ops.interactions.dispersion import d2_parameters
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.potential import Potential
from tensornet_jax.testing import (
    check_batching,
    check_extensive,
    check_forces,
    check_smooth_at_cutoff,
    check_stress,
)
from tensornet_jax.units import COULOMB
from tests import tolerances
from tests.builders import in_box
from tests.md.analytic import ANALYTIC, analytic

ALL = [
    {"name": "zbl"},
    {"name": "d2", "cutoff": 6.0, "scale": 0.75},
    {"name": "coulomb", "cutoff": 5.5},
]


@pytest.fixture(autouse=True)
def models(monkeypatch):
    for name, entry in ANALYTIC.items():
        monkeypatch.setitem(MODELS, name, entry)


def with_priors(*priors: dict[str, Any], cutoff: float = 3.0) -> Potential:
    """Return a potential of priors alone: its network has no energy."""
    return analytic("ideal_gas", (1, 6, 8, 14), priors=priors, cutoff=cutoff)


def crystal(seed: int = 0) -> ase.Atoms:
    atoms = bulk("SiO", "zincblende", a=4.4)
    atoms.set_cell(atoms.cell.array @ [[1, 0.1, 0], [0, 1.05, 0.1], [0, -0.05, 1]], True)
    atoms.rattle(0.1, seed=seed)
    atoms.set_initial_charges([0.7, -0.4])
    return atoms


def water() -> ase.Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.1, seed=1)
    atoms.set_initial_charges([-0.8, 0.4, 0.3])
    return atoms


def distances_within(atoms: ase.Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pairs = neighbor_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    vectors = pairs.vectors(atoms.positions, atoms.cell.array)
    return pairs.first, pairs.second, np.linalg.norm(vectors, axis=1)


def test_zbl_ends_at_the_sum_of_covalent_radii():
    atoms = crystal()
    atoms.set_cell(0.75 * atoms.cell.array, scale_atoms=True)
    first, second, d = distances_within(atoms, 3.0)
    z = atoms.numbers
    length = 0.8854 * units.Bohr / (z[first] ** 0.23 + z[second] ** 0.23)
    terms = ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4029), (0.02817, 0.2016))
    phi = sum(a * np.exp(-b * d / length) for a, b in terms)
    x = np.minimum(d / (covalent_radii[z[first]] + covalent_radii[z[second]]), 1)
    envelope = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
    expected = np.sum(COULOMB * z[first] * z[second] / d * phi * envelope)
    assert expected > 0.01
    (found,) = with_priors({"name": "zbl"}).evaluate(atoms, ("energy",))
    assert found["energy"] == pytest.approx(expected, rel=1e-9)


def test_d2_counts_every_image_within_its_cutoff():
    atoms = crystal()
    first, second, d = distances_within(atoms, 9.0)
    c6, radii = (table[atoms.numbers] for table in d2_parameters())
    damping = 1 / (1 + np.exp(-20 * (d / (radii[first] + radii[second]) - 1)))
    expected = -0.75 * np.sum(np.sqrt(c6[first] * c6[second]) / d**6 * damping)
    prior = {"name": "d2", "cutoff": 9.0, "scale": 0.75, "switch_width": 0.0}
    (found,) = with_priors(prior).evaluate(atoms, ("energy",))
    assert found["energy"] == pytest.approx(expected, rel=tolerances.SAME_SUM)


def test_coulomb_of_a_molecule_has_all_pairs_and_of_a_cell_those_within_the_cutoff():
    atoms = water()
    atoms += ase.Atoms("H", [[40.0, 0, 0]], charges=[0.5])
    q, d = atoms.get_initial_charges(), atoms.get_all_distances()
    switch = 0.5 - 0.5 * np.cos(np.pi * np.clip((d - 0.5) / 1.5, 0, 1))
    kernel = switch / np.where(d > 0, d, np.inf)
    expected = 0.5 * COULOMB * q @ kernel @ q
    (found,) = with_priors({"name": "coulomb"}).evaluate(atoms, ("energy",))
    assert found["energy"] == pytest.approx(expected, rel=tolerances.SAME_SUM)
    assert found["energy"] == pytest.approx(
        with_priors({"name": "coulomb"}, cutoff=50.0).evaluate(atoms, ("energy",))[0]["energy"],
        rel=tolerances.SAME_SUM,
    )
    periodic = crystal()
    first, second, d = distances_within(periodic, 6.0)
    q = periodic.get_initial_charges()
    kernel = 1 / d + d**2 / (2 * 6.0**3) - 3 / (2 * 6.0)
    expected = COULOMB * np.sum(q[first] * q[second] * kernel)
    prior = {"name": "coulomb", "cutoff": 6.0, "switch_from": 0.1, "switch_to": 0.2}
    (found,) = with_priors(prior).evaluate(periodic, ("energy",))
    assert found["energy"] == pytest.approx(expected, rel=tolerances.SAME_SUM)


def test_forces_and_stress_of_all_priors_are_derivatives():
    potential = with_priors(*ALL)
    check_forces(potential, crystal(), tolerance=tolerances.FINITE_DIFFERENCE_FORCES)
    check_stress(potential, crystal(), tolerance=tolerances.FINITE_DIFFERENCE_STRESS)
    check_extensive(potential, crystal(), tolerance=tolerances.SAME_SUM)
    check_batching(potential, [crystal(), crystal(1)], tolerance=tolerances.SAME_SUM)


@pytest.mark.parametrize(
    "prior", [ALL[1], {"name": "zbl", "cutoff": 4.0}], ids=lambda prior: prior["name"]
)
def test_no_step_where_a_prior_ends(prior):
    check_smooth_at_cutoff(with_priors(prior), water())


def test_no_step_where_the_reaction_field_of_a_conductor_ends():
    potential = with_priors(ALL[2])
    lengths = np.array([5.4, 5.5 - 1e-6, 5.5 + 1e-6])
    pairs = [ase.Atoms("CO", [[0, 0, 0], [0, 0, d]], charges=[0.5, -0.8]) for d in lengths]
    inside, at, beyond = potential.evaluate(pairs)
    assert inside["energy"] != 0
    assert abs(at["energy"]) < 1e-9 * abs(inside["energy"])
    assert abs(at["forces"]).max() < 1e-4 * abs(inside["forces"]).max()
    assert beyond["energy"] == 0
    assert not beyond["forces"].any()


def test_an_atom_alone_and_atoms_out_of_reach_have_no_energy():
    potential = with_priors(*ALL)
    alone, far = ase.Atoms("O", charges=[1.0]), ase.Atoms("OH", [[0, 0, 0], [30, 0, 0]])
    far.set_initial_charges([1.0, 1.0])
    for found in potential.evaluate([in_box(alone), in_box(far)], ("energy", "forces", "stress")):
        assert found["energy"] == 0
        assert not found["forces"].any()
        assert not found["stress"].any()


def test_priors_are_in_ev_whatever_the_scale_of_the_network():
    zbl, atoms = {"name": "zbl", "cutoff": 4.0}, ase.Atoms("CO", [[0, 0, 0], [0, 0, 0.9]])
    plain = analytic("spring", (6, 8))
    (network,) = plain.evaluate(atoms)
    (prior,) = with_priors(zbl).evaluate(atoms)
    both = analytic("spring", (6, 8), priors=[zbl]).replace(energy_scale=3.0)
    (found,) = both.evaluate(atoms)
    assert found["energy"] == pytest.approx(3 * network["energy"] + prior["energy"], rel=1e-12)
    np.testing.assert_allclose(
        found["forces"], 3 * network["forces"] + prior["forces"], rtol=1e-12, atol=1e-12
    )


def test_calculator_and_file_agree_with_evaluate_while_atoms_cross_every_cutoff(tmp_path):
    potential, atoms = with_priors(*ALL), crystal().repeat(2)
    save_model(tmp_path / "model.safetensors", potential)
    calculator = TensorNetCalculator(
        load_model(tmp_path / "model.safetensors"), skin=0.6, compilation_cache=False
    )
    atoms.calc = calculator
    rng = np.random.default_rng(0)
    for step in range(6):
        atoms.positions += 0.05 * rng.normal(size=(len(atoms), 3))
        atoms.set_cell(atoms.cell.array * 0.998, scale_atoms=True)
        if step == 3:
            atoms.set_initial_charges(rng.normal(size=len(atoms)))
        (expected,) = potential.evaluate(atoms, ("energy", "forces", "stress"))
        assert atoms.get_potential_energy() == pytest.approx(
            expected["energy"], rel=tolerances.SAME_MODEL
        )
        np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=1e-9)
        np.testing.assert_allclose(atoms.get_stress(voigt=False), expected["stress"], atol=1e-9)
    assert 2 <= calculator.num_rebuilds <= 4


def test_changed_charges_alone_are_noticed():
    atoms = water()
    atoms.calc = TensorNetCalculator(with_priors(ALL[2]), compilation_cache=False)
    before = atoms.get_potential_energy()
    atoms.set_initial_charges(2 * atoms.get_initial_charges())
    assert atoms.get_potential_energy() == pytest.approx(4 * before)


def test_what_a_prior_cannot_do_is_refused_with_a_remedy():
    coulomb = with_priors({"name": "coulomb"})
    bare = water()
    del bare.arrays["initial_charges"]
    with pytest.raises(ValueError, match=r"set_initial_charges.*\(structure 1\)"):
        coulomb.evaluate([water(), bare])
    heavy = analytic("ideal_gas", (8, 79), priors=[ALL[1]])
    with pytest.raises(ValueError, match="no parameters for Au, only for H to Xe"):
        heavy.evaluate(ase.Atoms("O2", [[0, 0, 0], [0, 0, 1.2]]))


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ({"name": "zbl", "envelope": "cosine"}, "envelope: cosine needs a cutoff"),
        ({"name": "d2", "cutoff": 1.0}, "switch_width 2.0 Å must not exceed"),
        ({"name": "coulomb", "switch_from": 3.0}, "must be below switch_to"),
        ({"name": "ewald"}, "'ewald' is not one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(prior, message):
    with pytest.raises(ValueError, match=message):
        with_priors(prior)
