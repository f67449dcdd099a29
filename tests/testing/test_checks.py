"""The public checks pass what is right and catch what is wrong."""

import ase
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from tensornet_jax.testing import (
    CheckError,
    check_batching,
    check_equivariance,
    check_extensive,
    check_forces,
    check_smooth_at_cutoff,
    check_stress,
)
from tests.builders import small_potential

CUTOFF = 3.0


class Pairs(Calculator):
    """E = ½ Σ (1 − d/c)³ over pairs, right unless it is told to be wrong."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (as ASE declares it)
    fault = ""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault = fault
        self.calls = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        self.calls += 1
        vectors = atoms.positions[None] - atoms.positions[:, None]
        distances = np.linalg.norm(vectors, axis=-1) + 1e9 * np.eye(len(atoms))
        inside = np.maximum(1 - distances / CUTOFF, 0)
        power = 1 if self.fault == "kink" else 3
        energy = 0.5 * np.sum(inside**power)
        slopes = -power / CUTOFF * inside ** (power - 1) * (inside > 0)
        forces = np.sum((slopes / distances)[..., None] * vectors, axis=1)
        if self.fault == "jump":
            energy += 0.5 * np.count_nonzero(inside)
        if self.fault == "force":
            forces[-1, 1] *= 1.001
        if self.fault == "direction":
            energy += 1e-3 * np.sum(atoms.positions[:, 2] ** 2)
            forces[:, 2] -= 2e-3 * atoms.positions[:, 2]
        if self.fault == "chirality":
            energy += 1e-3 * np.linalg.det(vectors[0, 1:4])
        if self.fault == "total":
            energy = energy**2
        if self.fault == "memory":
            energy += 1e-6 * self.calls
        if self.fault == "nan":
            forces[0] = np.nan
        self.results = {"energy": energy, "forces": forces}


def rattled() -> ase.Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=0)
    return atoms


def crystal() -> ase.Atoms:
    atoms = bulk("Cu") * (2, 1, 1)
    atoms.rattle(0.1, seed=0)
    atoms.numbers[0] = 79
    return atoms


def test_what_is_right_passes_with_a_small_deviation():
    model = Pairs()
    assert check_equivariance(model, rattled()) < 1e-12
    assert check_forces(model, rattled()) < 1e-7
    assert check_extensive(model, rattled()) < 1e-12
    assert check_smooth_at_cutoff(model, rattled(), cutoff=CUTOFF) < 1e-4
    assert check_batching(model, [rattled(), molecule("H2O")]) < 1e-12


def test_a_curved_energy_is_not_taken_for_a_wrong_force():
    """With so long a step the difference quotient alone is off by more than the tolerance."""
    assert check_forces(Pairs(), rattled(), displacement=1e-2, tolerance=1e-4) < 5e-5
    with pytest.raises(CheckError):
        check_forces(Pairs("force"), rattled(), displacement=1e-2, tolerance=1e-4)


def test_any_calculator_with_a_stress_can_be_checked():
    assert 0 < check_stress(EMT(), crystal()) < 1e-7
    check_equivariance(EMT(), crystal())
    check_forces(EMT(), crystal())
    check_extensive(EMT(), crystal())


@pytest.mark.parametrize(
    ("fault", "check", "message"),
    [
        ("force", check_forces, r"∂E/∂r.*eV/Å in atom 8 \(H\)"),
        ("nan", check_forces, r"inf.*atom 0"),
        ("direction", check_equivariance, "forces under rotation"),
        ("chirality", check_equivariance, "energy under inversion"),
        ("total", check_extensive, "energy"),
    ],
)
def test_what_is_wrong_is_named(fault, check, message):
    with pytest.raises(CheckError, match=message):
        check(Pairs(fault), rattled())


def test_chirality_is_allowed_where_inversion_is_left_out():
    model = Pairs("chirality")
    # Its forces lack the new term, but they still turn with the molecule.
    assert check_equivariance(model, rattled(), inversion=False) < 1e-8


@pytest.mark.parametrize(("fault", "what"), [("kink", "force"), ("jump", "energy")])
def test_steps_at_the_cutoff_are_found(fault, what):
    with pytest.raises(CheckError, match=f"step at the cutoff.*{what} 1e-6 Å inside"):
        check_smooth_at_cutoff(Pairs(fault), rattled(), cutoff=CUTOFF)


def test_reach_beyond_the_cutoff_is_found():
    with pytest.raises(CheckError, match="step at the cutoff"):
        check_smooth_at_cutoff(Pairs(), rattled(), cutoff=CUTOFF - 1)


def test_a_cutoff_where_nothing_happens_is_no_success():
    with pytest.raises(ValueError, match="do not interact"):
        check_smooth_at_cutoff(Pairs(), rattled(), cutoff=CUTOFF + 1)
    with pytest.raises(ValueError, match="pass cutoff="):
        check_smooth_at_cutoff(Pairs(), rattled())


def test_memory_between_structures_is_found():
    with pytest.raises(CheckError, match=r"energy of structure \d"):
        check_batching(Pairs("memory"), [rattled(), molecule("H2O")])


def test_wrong_stress_is_found():
    class Wrong(EMT):
        def calculate(self, *arguments, **options):
            super().calculate(*arguments, **options)
            self.results["stress"] = self.results["stress"] * [1, 1, 1, 1, 1, 1.01]

    with pytest.raises(CheckError, match=r"component (xy|yx)"):
        check_stress(Wrong(), crystal())


def test_float32_is_refused_where_energies_are_subtracted():
    model = small_potential(dtype="float32")
    for check in (check_forces, check_stress):
        with pytest.raises(ValueError, match="float64"):
            check(model, rattled())


def test_structures_are_left_as_they_are():
    atoms = rattled()
    atoms.calc = calculator = EMT()
    before = atoms.positions.copy()
    check_extensive(Pairs(), atoms)
    check_equivariance(Pairs(), atoms)
    assert atoms.calc is calculator
    assert (atoms.positions == before).all()
