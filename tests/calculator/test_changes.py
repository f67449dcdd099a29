"""What ASE computes again, and what it takes from the last calculation."""

import numpy as np
import pytest

from tensornet_jax.potential.programs import program_of
from tests.calculator.crystals import CRYSTALS


@pytest.fixture
def calls(calc, monkeypatch) -> list[tuple[str, ...]]:
    """What the potential was asked for, call by call."""
    asked = []
    run = program_of(calc.potential.module)

    class Counting:
        num_compiles = 0
        ladder = run.ladder

        def __call__(self, *arguments):
            asked.append(arguments[-1])
            return run(*arguments)

    monkeypatch.setattr(calc._evaluator, "program", Counting())
    monkeypatch.setattr(run, "num_compiles", run.num_compiles)
    return asked


def test_unchanged_atoms_are_computed_once(calc, calls):
    atoms = CRYSTALS["bulk"].copy()
    atoms.calc = calc
    atoms.get_potential_energy()
    atoms.get_potential_energies()
    atoms.get_forces()
    atoms.get_stress()
    atoms.get_potential_energy()
    assert calls == [("energies", "forces", "stress")]


def test_every_change_that_matters_invalidates_the_cache(calc, calls):
    atoms = CRYSTALS["slab"].copy()
    atoms.calc = calc
    energies = [atoms.get_potential_energy()]

    def change(what):
        what()
        energies.append(atoms.get_potential_energy())

    change(lambda: atoms.positions.__setitem__((0, 0), atoms.positions[0, 0] + 1e-3))
    change(lambda: atoms.info.update(charge=2))
    change(lambda: atoms.info.update(charge=0))
    change(lambda: atoms.numbers.__setitem__(0, 8))
    change(lambda: atoms.set_cell(atoms.cell.array * 0.99))
    change(lambda: atoms.set_pbc(True))
    change(lambda: atoms.pop())
    assert len(calls) == 8
    # Charge 0 is what a missing entry means.
    assert energies.pop(3) == energies[1]
    assert len(set(energies)) == 7


def test_changes_that_do_not_matter_keep_the_cache(calc, calls):
    atoms = CRYSTALS["slab"].copy()
    atoms.calc = calc
    atoms.get_potential_energy()
    atoms.info["note"] = "anything"
    atoms.set_initial_charges([1.0, 0, 0, 0])
    atoms.set_initial_magnetic_moments([1.0, 0, 0, 0])
    atoms.set_velocities(np.ones((4, 3)))
    atoms.get_potential_energy()
    assert len(calls) == 1
