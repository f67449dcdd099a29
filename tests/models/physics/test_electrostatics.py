"""Charges, fixed or predicted by any model, summed over all images of a periodic structure."""

from functools import cache
from typing import Any

import ase
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.md.verlet import VelocityVerlet

from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.graph.atom_graph import Capacity
from tensornet_jax.md import NPT, NVE, Simulation
from tensornet_jax.models import MODELS
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tensornet_jax.testing import check_batching, check_forces, check_stress
from tensornet_jax.units import COULOMB
from tests import tolerances
from tests.builders import evaluating_in_one_shape
from tests.md.analytic import ANALYTIC, analytic
from tests.models.every_model import NUMBERS, SMALL

# So accurate that k vectors which come and go as the cell is strained leave no step in the energy.
FINE = {"accuracy": 1e-10, "method": "sum"}
MESH = {"accuracy": 1e-6, "method": "mesh"}
UNSWITCHED = {"switch_from": 0.1, "switch_to": 0.2}
SHAPE = Capacity(
    graphs=16, atoms=32, pairs=384, slots=32, long_pairs=1024, long_slots=64, k_vectors=384
)
COMPUTE = ("energy", "forces", "charges")


@pytest.fixture(autouse=True)
def models(monkeypatch):
    for name, entry in ANALYTIC.items():
        monkeypatch.setitem(MODELS, name, entry)


def fixed(numbers=(11, 17), cutoff: float = 4.0, **options: Any) -> Potential:
    """Return a potential of fixed charges alone."""
    prior = {"name": "coulomb", **options}
    return analytic("ideal_gas", numbers, priors=[prior], cutoff=cutoff)


@cache
def predicting(name: str, method: str = "sum", scale: float = 1.0) -> Potential:
    """Return a small model of charges that are tenths of e."""
    ewald = {"cutoff": 4.2, **(FINE if method == "sum" else MESH)}
    options = {"name": name, "cutoff": 3.0} | SMALL[name]
    if name == "tensornet2":
        options |= {"coulomb": {"damping_radius": 3.0, "scale": scale, "ewald": ewald}}
    else:
        coulomb = {"charges": "predicted", "switch_to": 3.0, "scale": scale, "ewald": ewald}
        options |= {"priors": [{"name": "coulomb", **coulomb}]}
    config = MODELS[name][0].model_validate(options)
    elements = ElementTable(NUMBERS, np.zeros(len(NUMBERS)))
    potential = create_potential(config, elements, seed=0, dtype="float64")
    if name == "tensornet2":
        return potential
    # Untrained models differ in the size of their charges, which the last layer is linear in.
    (found,) = potential.evaluate(crystal(), ("charges",))
    factor = 0.2 / abs(found["charges"]).max()
    params = potential.variables["params"]
    heads = params["other_heads"]
    last = heads["charges"]["charges"]
    larger = {**last, "kernel": factor * np.asarray(last["kernel"])}
    heads = {**heads, "charges": {**heads["charges"], "charges": larger}}
    params = {**params, "other_heads": heads}
    return potential.replace(variables={**potential.variables, "params": params})


def salt(repeat: int = 1, seed: int = 0) -> ase.Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.set_cell(atoms.cell.array @ [[1, 0.1, 0], [0, 1.05, 0.1], [0, -0.05, 1]], True)
    atoms = atoms.repeat(repeat)
    atoms.rattle(0.2, seed=seed)
    atoms.set_initial_charges(np.tile([1.0, -1.0], len(atoms) // 2))
    return atoms


def crystal() -> ase.Atoms:
    """Return a skewed crystal of two elements, smaller than every cutoff."""
    atoms = bulk("SiO", "zincblende", a=4.6)
    atoms.set_cell(atoms.cell.array @ [[1, 0.1, 0], [0, 1.05, 0.1], [0, -0.05, 1]], True)
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.mark.parametrize(
    ("structure", "madelung"),
    [
        ("rocksalt", 1.747564594633182),
        ("cesiumchloride", 1.762674773070988),
        ("zincblende", 1.638055053388789),
    ],
)
def test_madelung_constants(structure, madelung):
    atoms = bulk("NaCl", structure, a=5.0)
    atoms.set_initial_charges([1, -1])
    nearest = atoms.repeat(2).get_all_distances(mic=True)
    nearest = nearest[nearest > 0].min()
    for accuracy, method, tolerance in ((1e-12, "sum", 1e-8), (1e-6, "mesh", 1e-5)):
        ewald = {"cutoff": 6.0, "accuracy": accuracy, "method": method}
        potential = fixed(ewald=ewald, **UNSWITCHED)
        (found,) = potential.evaluate(atoms, ("energy", "forces"))
        assert -found["energy"] * nearest / COULOMB == pytest.approx(madelung, abs=tolerance)
        # By symmetry.
        assert abs(found["forces"]).max() < 10 * tolerance


@pytest.mark.parametrize(
    "ewald", [FINE, pytest.param(MESH, marks=pytest.mark.slow)], ids=["sum", "mesh"]
)
def test_fixed_charges_of_a_crystal(ewald):
    """Also with network and pairs of different reach, and bonded neighbors left out."""
    potential = fixed(ewald={"cutoff": 5.0, **ewald}, switch_to=3.2)
    # Pairs end at the cutoff with a step of the accuracy.
    steps = 1 if ewald is FINE else 10
    check_forces(potential, salt(), tolerance=steps * tolerances.FINITE_DIFFERENCE_FORCES)
    check_stress(potential, salt(), tolerance=steps * tolerances.FINITE_DIFFERENCE_STRESS)
    primitive = salt()
    doubled = primitive.repeat((1, 2, 1))
    one, two = potential.evaluate([primitive, doubled], ("energy", "forces", "stress"))
    same = 1e-8 if ewald is FINE else 1e-5
    assert two["energy"] / len(doubled) == pytest.approx(one["energy"] / len(primitive), abs=same)
    np.testing.assert_allclose(two["forces"][: len(primitive)], one["forces"], atol=10 * same)
    np.testing.assert_allclose(two["stress"], one["stress"], atol=same)


def test_the_sum_is_the_same_wherever_it_is_split_and_whatever_lies_near():
    atoms = salt()
    for options in (UNSWITCHED, {"switch_to": 3.9}):
        energies = [
            fixed(cutoff=cutoff, ewald=ewald, **options).evaluate(atoms, ("energy",))[0]["energy"]
            for cutoff, ewald in ((4.0, FINE), (6.0, FINE), (4.0, {"cutoff": 7.0, **FINE}))
        ]
        np.testing.assert_allclose(energies, energies[0], atol=1e-7)


def test_molecules_crystals_and_a_mesh_in_one_batch_are_as_alone():
    alone = salt()
    alone.pbc = False
    structures = [alone, salt(seed=1), salt(3)]
    for method, expected in (("sum", [0, 0, 0]), ("mesh", [0, 1, 1]), ("auto", [0, 0, 1])):
        potential = fixed(ewald={"method": method})
        far = [potential.structure(atoms).far for atoms in structures]
        assert [each is not None and each.mesh is not None for each in far] == expected
    check_batching(potential, structures, tolerance=tolerances.SAME_SUM)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        pytest.param("tensornet", "sum", marks=pytest.mark.slow),
        pytest.param("tensornet", "mesh", marks=pytest.mark.slow),
        pytest.param("tensornet2", "sum", marks=pytest.mark.slow),
        pytest.param("mace", "sum", marks=pytest.mark.slow),
        pytest.param("escn", "sum", marks=pytest.mark.slow),
    ],
)
def test_predicted_charges_of_every_model(name, method):
    potential = predicting(name, method)
    shape = (
        SHAPE if method == "sum" else SHAPE._replace(k_vectors=0, mesh_a=20, mesh_b=20, mesh_c=20)
    )
    with evaluating_in_one_shape(shape):
        atoms = crystal()
        check_forces(potential, atoms, tolerance=tolerances.FINITE_DIFFERENCE_FORCES)
        check_stress(potential, atoms, tolerance=tolerances.FINITE_DIFFERENCE_STRESS)
        doubled = atoms.repeat((2, 1, 1))
        charged = molecule("CO")
        charged.info["charge"] = -1.0
        one, two, ion = potential.evaluate([atoms, doubled, charged], COMPUTE)
        # TensorNet2's charges are right to its ε, and a mesh to its accuracy.
        same = 1e-4 if name == "tensornet2" else 1e-5 if method == "mesh" else 1e-7
        assert two["energy"] == pytest.approx(2 * one["energy"], abs=same)
        np.testing.assert_allclose(two["forces"], np.tile(one["forces"], (2, 1)), atol=same)
        for found, total in ((one, 0.0), (two, 0.0), (ion, -1.0)):
            assert abs(found["charges"]).max() > 0.01
            assert found["charges"].sum() == pytest.approx(total, abs=tolerances.EQUILIBRATION)
        if (name, method) != ("tensornet", "sum"):
            return
        # What is added to the network is the energy of just these charges.
        section = potential.config.priors[0]
        silent = potential.config.model_copy(
            update={"priors": (section.model_copy(update={"scale": 0.0}),)}
        )
        (network,) = potential.replace(config=silent).evaluate(atoms, ("energy",))
        with_charges = atoms.copy()
        with_charges.set_initial_charges(one["charges"])
        options = section.model_dump() | {"charges": "fixed"}
        alone = analytic("ideal_gas", NUMBERS, priors=[options], cutoff=3.0)
        (coulomb,) = alone.evaluate(with_charges, ("energy",))
        assert abs(coulomb["energy"]) > 1e-3
        assert one["energy"] - network["energy"] == pytest.approx(coulomb["energy"], abs=1e-8)


@pytest.mark.slow
def test_calculator_follows_a_cell_that_stretches_beyond_its_waves(tmp_path):
    """The list of pairs would last; the k vectors do not."""
    potential, atoms = fixed(ewald={"cutoff": 6.0, "accuracy": 1e-8, "method": "sum"}), salt()
    save_model(tmp_path / "model.safetensors", potential)
    loaded = load_model(tmp_path / "model.safetensors")
    calculator = TensorNetCalculator(loaded, skin=3.0, compilation_cache=False)
    atoms.calc = calculator
    for _ in range(9):
        atoms.set_cell(atoms.cell.array * [[1.02], [1.0], [0.995]], scale_atoms=True)
        with evaluating_in_one_shape(SHAPE._replace(k_vectors=512)):
            (expected,) = potential.evaluate(atoms, ("energy", "forces", "stress"))
        assert atoms.get_potential_energy() == pytest.approx(expected["energy"], abs=1e-5)
        np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=1e-6)
        np.testing.assert_allclose(atoms.get_stress(voigt=False), expected["stress"], atol=1e-7)
    assert 3 <= calculator.num_rebuilds <= 5


def hot_salt() -> ase.Atoms:
    atoms = salt()
    atoms.set_momenta(np.random.default_rng(0).normal(size=(len(atoms), 3)))
    atoms.set_momenta(atoms.get_momenta() - atoms.get_momenta().mean(axis=0))
    return atoms


SALT_PRIORS = (
    {"name": "zbl", "cutoff": 3.9},
    {"name": "coulomb", "ewald": {"accuracy": 1e-8, "method": "sum"}},
)


def test_dynamics_on_the_device_are_those_of_ase():
    potential = analytic("ideal_gas", (11, 17), priors=SALT_PRIORS, cutoff=4.5)
    ours, theirs = hot_salt(), hot_salt()
    (found,) = Simulation(potential, ours, NVE(), timestep=1.0, skin=0.5, velocities="keep").run(50)
    theirs.calc = TensorNetCalculator(potential, compilation_cache=False)
    before = theirs.get_total_energy()
    VelocityVerlet(theirs, 1.0 * units.fs).run(50)
    assert theirs.get_total_energy() == pytest.approx(before, abs=2e-3)
    assert abs(theirs.positions - salt().positions).max() > 0.1
    np.testing.assert_allclose(found.positions, theirs.positions, atol=1e-6)


@pytest.mark.slow
def test_lists_of_a_cell_that_changes_are_renewed_before_waves_are_missing():
    potential = analytic("ideal_gas", (11, 17), priors=SALT_PRIORS, cutoff=4.5)
    ensemble = NPT(
        temperature=300, pressure=-4.0, pressure_time=200.0, compressibility=0.5, shape="full"
    )

    def final(skin):
        simulation = Simulation(
            potential, hot_salt(), ensemble, timestep=2.0, skin=skin, velocities="keep"
        )
        (found,) = simulation.run(60)
        return simulation, found

    every_step, expected = final(0.0)
    ours, found = final(3.0)
    assert expected.cell.volume > 1.15 * salt().cell.volume
    assert 2 < ours.num_rebuilds < every_step.num_rebuilds / 2
    np.testing.assert_allclose(found.cell.array, expected.cell.array, atol=1e-5)
    np.testing.assert_allclose(found.positions, expected.positions, atol=1e-5)


def test_what_has_no_finite_energy_is_refused_with_a_remedy():
    potential, atoms = fixed(), salt()
    atoms.pbc = [True, True, False]
    with pytest.raises(ValueError, match=r"not pbc \[True, True, False\].*vacuum.*cutoff, 12 Å"):
        potential.structure(atoms)
    charged = salt()
    charged.arrays["initial_charges"][0] += 0.5
    with pytest.raises(ValueError, match=r"not to 0\.5 e.*background: true.*\(structure 1\)"):
        potential.evaluate([salt(), charged])
    fixed(ewald={"background": True}).structure(charged)
    charged.pbc = False
    potential.structure(charged)
    ion = crystal()
    ion.info["charge"] = 1.0
    with pytest.raises(ValueError, match="must sum to zero, not to 1 e"):
        predicting("tensornet").structure(ion)
    with pytest.raises(ValueError, match="the model predicts no charges"):
        fixed(charges="predicted").evaluate(salt())


def test_settings_that_make_no_sense_are_refused():
    two = [{"name": "coulomb", "ewald": {"method": method}} for method in ("sum", "mesh")]
    with pytest.raises(ValueError, match=r"ewald\.method is mesh and sum"):
        analytic("ideal_gas", priors=two)
    predicted = [{"name": "coulomb", "charges": "predicted"}]
    with pytest.raises(ValueError, match="has the Coulomb energy of its charges already"):
        MODELS["tensornet2"][0].model_validate({"priors": predicted})
