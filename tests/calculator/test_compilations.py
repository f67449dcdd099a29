"""How often calculators and `Potential.evaluate` compile: seldom, whatever sizes come."""

import gc

import ase
import jax
import numpy as np
import pytest
from ase.build import bulk, molecule

import tensornet_jax.calculator.evaluator as module
import tensornet_jax.potential.prediction as prediction
from tensornet_jax.calculator import Calculator
from tensornet_jax.graph.atom_graph import FINE, Capacity
from tensornet_jax.graph.capacity_ladder import CapacityLadder
from tensornet_jax.potential.model_file import load_model, save_model
from tensornet_jax.potential.programs import program_of
from tests.calculator.crystals import make_potential


def crystals(count: int = 40) -> list[ase.Atoms]:
    """Return silicon of as many sizes, from 8 atoms on, in a random order."""
    found = [bulk("Si", cubic=True) * (k, 1, 1) for k in range(1, count + 1)]
    return [found[k] for k in np.random.default_rng(0).permutation(count)]


@pytest.fixture(scope="module")
def fresh():
    """A potential of an architecture that nothing else has compiled."""
    return make_potential(num_layers=0, num_channels=3)


def test_forty_sizes_compile_a_few_times_and_give_the_same_energies(fresh):
    calc = Calculator(fresh)
    per_atom = []
    for atoms in crystals():
        calc.calculate(atoms)
        per_atom.append(calc.results["energy"] / len(atoms))
    assert calc.num_compiles <= 8
    np.testing.assert_allclose(per_atom, per_atom[0], atol=1e-9)


def test_evaluating_forty_sizes_one_by_one_compiles_a_few_times():
    potential = make_potential(num_layers=0, num_channels=2)
    size = prediction.predict_jit._cache_size  # pyright: ignore[reportAttributeAccessIssue]
    before = size()
    structures = crystals()
    found = [potential.evaluate(atoms, ("energy",))[0]["energy"] for atoms in structures]
    assert size() - before <= 8
    expected = found[0] / len(structures[0])
    np.testing.assert_allclose(
        [e / len(a) for e, a in zip(found, structures, strict=True)], expected
    )


def test_a_new_calculator_for_each_structure_compiles_nothing_and_keeps_nothing(fresh, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, fresh)
    first = Calculator(fresh)
    first.calculate(molecule("CH3CH2OH"))
    # Other weights of the same architecture, too.
    half = fresh.replace(variables=jax.tree.map(lambda x: 0.5 * np.asarray(x), fresh.variables))
    models = [fresh, path, load_model(path), half]
    energies = []
    for model in models:
        calc = Calculator(model)
        calc.calculate(molecule("CH3CH2OH"))
        assert calc.num_compiles == 0
        energies.append(calc.results["energy"])
    assert energies[0] == energies[1] == energies[2] != energies[3]
    calc = models = half = None
    gc.collect()
    before = len(jax.live_arrays())
    for _ in range(5):
        Calculator(fresh).calculate(molecule("CH3CH2OH"))
    gc.collect()
    assert len(jax.live_arrays()) <= before


def test_a_long_run_gets_arrays_that_fit(fresh, monkeypatch):
    monkeypatch.setattr(module, "LONG_RUN", 3)
    monkeypatch.setattr(module, "WORTH_COMPILING", 0.0)
    calc = Calculator(fresh)
    atoms = bulk("Si", cubic=True) * (2, 2, 2)
    program = program_of(fresh.module)
    monkeypatch.setattr(program, "ladder", CapacityLadder())
    larger = bulk("Si", cubic=True) * (3, 2, 2)
    calc.calculate(larger)
    sizes, energies = [], []
    for _ in range(6):
        calc.calculate(atoms)
        energies.append(calc.results["energy"])
        assert calc._evaluator.neighborhood is not None
        graph = calc._evaluator.neighborhood.graph
        sizes.append((len(graph.positions), graph.edges.num_pairs))
    exact = Capacity.holding([fresh.structure(atoms, skin=0.5)], rungs=FINE)
    assert sizes[0][0] > 1.3 * exact.atoms
    assert sizes[0][1] > 1.3 * exact.pairs
    assert sizes[-1][0] == exact.atoms
    assert exact.pairs <= sizes[-1][1] < 1.1 * exact.pairs
    np.testing.assert_allclose(energies, energies[0], atol=1e-9)


def test_a_run_whose_compilation_takes_longer_keeps_its_arrays(fresh, monkeypatch):
    monkeypatch.setattr(module, "LONG_RUN", 3)
    calc = Calculator(fresh)
    monkeypatch.setattr(program_of(fresh.module), "ladder", CapacityLadder())
    atoms = bulk("Si", cubic=True) * (2, 2, 2)
    for _ in range(6):
        calc.calculate(atoms)
    assert calc.num_compiles == 1
    assert program_of(fresh.module).seconds_to_compile > 0


def random_gas(count: int) -> ase.Atoms:
    rng = np.random.default_rng(count)
    side = (count / rng.uniform(0.03, 0.1)) ** (1 / 3)
    positions = rng.random((count, 3)) * side + 1e-3 * np.arange(count)[:, None]
    return ase.Atoms(["C"] * count, positions, cell=np.eye(3) * side, pbc=True)


@pytest.mark.parametrize("order", [1, -1])
def test_capacities_are_few_and_waste_is_bounded(fresh, order):
    ladder = CapacityLadder()
    for count in list(range(2, 162, 4))[::order]:
        structure = fresh.structure(random_gas(count))
        capacity = ladder.choose([structure], 1.2)
        assert capacity.holds([structure])
        needed = Capacity.holding([structure])
        assert capacity.atoms <= max(16, 3.5 * needed.atoms)
        assert capacity.pairs <= max(128, 4.5 * needed.pairs)
    # Densities differ by a factor of three besides.
    assert len(ladder) <= 10


def test_a_structure_that_grows_in_a_long_run_never_wastes_much(fresh):
    ladder = CapacityLadder()
    for skin in np.arange(0.0, 3.1, 0.2):
        structure = fresh.structure(bulk("Si", cubic=True) * (3, 2, 2), skin=skin)
        known = len(ladder)
        capacity = ladder.choose([structure], 1.05, FINE)
        assert capacity.holds([structure])
        assert capacity.atoms <= 1.1 * len(structure)
        if len(ladder) > known:
            assert capacity.pairs <= 1.12 * len(structure.pairs)
    assert len(ladder) > 3


def test_large_structures_waste_little(fresh):
    ladder = CapacityLadder()
    for count in (1600, 2000, 2500, 3000):
        chain = ase.Atoms(["C"] * count, np.outer(np.arange(count), [1.5, 0.7, 0.1]))
        structure = fresh.structure(chain)
        capacity = ladder.choose([structure])
        assert capacity.atoms <= 1.6 * Capacity.holding([structure]).atoms
