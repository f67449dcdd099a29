"""Calculators in other processes and threads: pickled, copied, forked, shared."""

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.build import molecule

from tensornet_jax.calculator import Calculator
from tensornet_jax.potential.model_file import save_model
from tensornet_jax.potential.potential import Potential
from tests.calculator.crystals import CRYSTALS, make_potential

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def potential() -> Potential:
    return make_potential()


def energy_of(atoms: ase.Atoms) -> float:
    return float(atoms.get_potential_energy())


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_atoms_with_a_calculator_are_copied_with_its_results_and_settings(potential, used, copied):
    atoms = CRYSTALS["slab"].copy()
    atoms.calc = Calculator(potential, skin=0.7, charge=1)
    if used:
        atoms.get_forces()
    other = copied(atoms)
    assert (other.calc.skin, other.calc.charge, other.calc.spin) == (0.7, 1, None)
    assert other.calc is not atoms.calc
    assert sorted(other.calc.results) == sorted(atoms.calc.results)
    assert other.calc.calculation_required(other, ["energy"]) != used
    assert other.calc.num_rebuilds == atoms.calc.num_rebuilds
    np.testing.assert_array_equal(other.get_forces(), atoms.get_forces())
    with pytest.raises(ValueError, match="read-only"):
        other.calc.results["forces"][0] = 0.0


def test_a_pickled_potential_is_its_weights_and_little_else(potential):
    text = pickle.dumps(Calculator(potential))
    leaves = _leaves(potential)
    # Each array has a header of some hundred bytes.
    assert len(text) < sum(leaf.nbytes + 400 for leaf in leaves) + 10_000
    again = pickle.loads(pickle.dumps(potential))
    assert (again.config, again.dtype, again.elements.numbers) == (
        potential.config,
        potential.dtype,
        potential.elements.numbers,
    )
    for mine, theirs in zip(_leaves(again), _leaves(potential), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


def _leaves(potential: Potential) -> list[np.ndarray]:
    import jax

    return [np.asarray(leaf) for leaf in jax.tree.leaves(potential.variables)]


def test_a_process_that_is_spawned_computes_what_it_is_sent(potential):
    atoms = molecule("CH3CH2OH")
    atoms.calc = Calculator(potential)
    expected = energy_of(atoms)
    atoms.calc.reset()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (found,) = pool.map(energy_of, [atoms])
    assert found == pytest.approx(expected, abs=1e-10)


def test_threads_with_a_calculator_each_share_a_potential(potential):
    def energies(seed: int) -> list[float]:
        calculator = Calculator(potential)
        names = np.random.default_rng(seed).permutation(list(CRYSTALS))
        found = {}
        for name in names:
            calculator.calculate(CRYSTALS[name].copy())
            found[name] = calculator.results["energy"]
        return [found[name] for name in CRYSTALS]

    expected = energies(0)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(energies, range(8)):
            np.testing.assert_allclose(found, expected, atol=1e-10)


FORKED = """
import os, sys, warnings
warnings.simplefilter("ignore")
from ase.build import molecule
from tensornet_jax import Calculator, load_model
atoms = molecule("CH3CH2OH")
potential = load_model(sys.argv[1])
calculator = Calculator(potential)
tries = {
    "calculator": lambda: calculator.calculate(atoms),
    "evaluate": lambda: potential.evaluate(atoms),
    "load": lambda: load_model(sys.argv[1]),
}
for name, compute in tries.items():
    child = os.fork()
    if child == 0:
        try:
            compute()
        except RuntimeError as error:
            os.write(1, f"{name}: {type(error).__name__}: {error}\\n".encode())
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0, name
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_after_jax_has_started_says_so(potential, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, potential)
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("calculator", "evaluate", "load"):
        assert f"{name}: ForkedError: this process was forked after JAX had started" in done.stdout
    assert "spawn" in done.stdout


POOL = """
import multiprocessing, sys, warnings
warnings.simplefilter("ignore")
from ase.build import molecule
from tensornet_jax import Calculator
def energy(atoms):
    return atoms.get_potential_energy()
if __name__ == "__main__":
    atoms = molecule("CH3CH2OH")
    atoms.calc = Calculator(sys.argv[1])
    with multiprocessing.get_context("fork").Pool(1) as pool:
        try:
            pool.map(energy, [atoms])
        except RuntimeError as error:
            print(error)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_pool_reports_the_error_instead_of_waiting(potential, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, potential)
    done = subprocess.run(
        [sys.executable, "-c", POOL, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "was forked after JAX had started" in done.stdout, done.stderr
