"""TensorNet2 and the priors: torchmd-net 3.1.0's own float64 numbers, from its weights."""

import ast
import json
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest

from tensornet_jax.interop.torchmd_net.checkpoint import from_state_dict
from tensornet_jax.interop.torchmd_net.priors import read_priors
from tensornet_jax.units import conversion_factor
from tests import tolerances
from tests.interop.reference_cases import Reference, relative_error

# Checkpoints do not say which charges a model was trained on.
pytestmark = pytest.mark.filterwarnings(
    "ignore::tensornet_jax.potential.trained_on.OutsideTrainingWarning",
    "ignore::tensornet_jax.data.labels.electronic_state.InitialChargesWarning",
)

CASES: dict[str, Any] = json.loads(
    Path(__file__).with_name("torchmd_net_cases.json").read_text(encoding="utf-8")
)
"""Written by make_torchmd_net_cases.py."""


@pytest.fixture
def reference(small_reference):
    return lambda name: Reference(small_reference(f"torchmd_net/{name}.npz"))


def structures_of(case: dict[str, Any]) -> list[ase.Atoms]:
    batch = np.array(case["batch"])
    structures = []
    for k in range(batch.max() + 1):
        own = batch == k
        atoms = ase.Atoms(np.array(case["numbers"])[own], np.array(case["positions"])[own])
        if "cell" in case:
            atoms.set_cell(case["cell"])
            atoms.pbc = True
        if "total_charges" in case:
            atoms.info["charge"] = case["total_charges"][k]
        if "charges" in case:
            atoms.set_initial_charges(np.array(case["charges"])[own])
        structures.append(atoms)
    return structures


@pytest.mark.parametrize("name", CASES)
def test_energies_and_forces_are_torchmd_nets(reference, name):
    case = CASES[name]
    weights = reference(case["weights"])
    tensors = {key: np.array(value) for key, value in case["tensors"].items()}
    unit = "kcal/mol" if "kcal" in name else "eV"
    potential = from_state_dict(
        weights.state | tensors, weights.config | case["changes"], energy_unit=unit
    )
    results = potential.evaluate(structures_of(case))
    factor = conversion_factor(unit, "energy")
    energies = np.array([result["energy"] for result in results]) / factor
    forces = np.concatenate([result["forces"] for result in results]) / factor
    assert relative_error(energies, np.array(case["energy"])) < tolerances.REFERENCE_ENERGY
    assert relative_error(forces, np.array(case["forces"])) < tolerances.REFERENCE_FORCES


@pytest.mark.parametrize("name", ["p01_zbl", "p03_coulomb"])
def test_priors_of_the_reference_set_are_torchmd_nets(reference, name):
    case = reference(name)
    _, prior, arguments = case.config["notes"].split(" ", 2)
    config = case.config | {"prior_model": prior, "prior_args": ast.literal_eval(arguments)}
    structures = case.atoms()
    if "in/partial_charges" in case.arrays:
        for k, atoms in enumerate(structures):
            own = case.arrays["in/batch"] == k
            atoms.set_initial_charges(case.arrays["in/partial_charges"][own])
    results = from_state_dict(case.state, config).evaluate(structures)
    energies = np.array([result["energy"] for result in results])
    forces = np.concatenate([result["forces"] for result in results])
    expected = case.arrays["out/energy"][:, 0]
    assert relative_error(energies, expected) < tolerances.REFERENCE_ENERGY
    assert relative_error(forces, case.arrays["out/forces"]) < tolerances.REFERENCE_FORCES


@pytest.mark.slow
def test_tensornet2_without_coulomb_is_torchmd_nets(reference):
    case = reference("u01_tn2_scalar_q")
    results = from_state_dict(case.state, case.config).evaluate(
        case.atoms(), ("energy", "forces", "charges")
    )
    energies = np.array([result["energy"] for result in results])
    forces = np.concatenate([result["forces"] for result in results])
    expected = case.arrays["out/energy"][:, 0]
    assert relative_error(energies, expected) < tolerances.REFERENCE_ENERGY
    assert relative_error(forces, case.arrays["out/forces"]) < tolerances.REFERENCE_FORCES
    # To the ε in the equilibration; an atom alone, third, may be hard.
    for k in (0, 1, 3):
        assert results[k]["charges"].sum() == pytest.approx(case.arrays["in/q"][k], abs=1e-5)


ZBL = {
    "cutoff_distance": 4.0,
    "max_num_neighbors": 50,
    "atomic_number": [0, 1, 2],
    "distance_scale": 1e-10,
    "energy_scale": 1.602176634e-19,
}


def read(prior_model: Any, prior_args: Any = None, **state: np.ndarray):
    return read_priors(state, {"prior_model": prior_model, "prior_args": prior_args}, 1.0)


def test_every_spelling_of_priors_is_understood():
    expected = read([{"ZBL": ZBL}]).sections
    assert len(expected) == 1
    assert read("ZBL", ZBL).sections == expected
    assert read(["ZBL"], [ZBL]).sections == expected
    assert read({"ZBL": ZBL}).sections == expected
    assert read(None).sections == ()
    both = read(["Atomref", "ZBL"], [{"max_z": 3}, ZBL])
    assert both.sections == expected
    assert both.atomic_energies == "prior_model.0.atomref.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy_scale": 4.35974e-18}, "say energy_unit"),
        ({"distance_scale": 1e-9}, "only models in Å"),
        ({"atomic_number": [0, 6, 1]}, "not atomic numbers"),
    ],
)
def test_priors_of_other_units_or_atom_types_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        read("ZBL", ZBL | change)


def test_priors_that_cannot_be_read_are_named():
    with pytest.raises(ValueError, match="'Dispersion' is not supported, only Atomref, ZBL"):
        read("Dispersion", {})
    with pytest.raises(ValueError, match="ZBL lacks its argument 'cutoff_distance'"):
        read("ZBL", {k: v for k, v in ZBL.items() if k != "cutoff_distance"})
    with pytest.raises(ValueError, match=r"prior_model\.0\.C_6 differs"):
        read("D2", ZBL, **{"prior_model.0.C_6": np.ones(55)})
    with pytest.raises(ValueError, match="2 priors with prior_args for 1"):
        read(["ZBL", "D2"], [ZBL])
