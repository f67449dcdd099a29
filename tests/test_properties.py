"""The table of properties: what it says agrees with what reads it, and a row can be added."""

import subprocess
import sys
from typing import get_args

import pytest
from ase.calculators.calculator import all_properties

from tensornet_jax import properties
from tensornet_jax.data.labels.config import LabelConfig, LabelUnits
from tensornet_jax.properties import LABELLED, PROPERTIES, Property, register
from tensornet_jax.train.config.run import LossConfig
from tensornet_jax.units import Quantity


@pytest.fixture
def rows(monkeypatch):
    """The rows, as they were again after the test."""
    kept = dict(properties._rows)
    yield properties._rows
    properties._rows.clear()
    properties._rows.update(kept)


def test_every_row_with_a_section_has_its_key_in_labels_and_loss():
    labels = [name for row in LABELLED for name in (row.name, *_minus(row))]
    assert set(labels) < set(LabelConfig.model_fields)
    assert [*LossConfig.model_fields] == [*(row.name for row in LABELLED), "tensors"]
    ignored = get_args(get_args(LabelConfig.model_fields["ignore"].annotation)[0])
    assert ignored == tuple(row.name for row in LABELLED)
    assert {row.quantity for row in LABELLED} < set(LabelUnits.model_fields)


def test_no_key_of_data_means_two_properties():
    # Of atoms and of the structure, which shapes tell apart.
    shared = {"energies"}
    keys = [(key, row.name) for row in PROPERTIES.values() for key in row.keys]
    keys += [(key, m.name) for row in LABELLED if (m := row.minus) for key in m.keys]
    owners: dict[str, set[str]] = {}
    for key, owner in keys:
        owners.setdefault(key, set()).add(owner)
    twice = {key for key, names in owners.items() if len(names) > 1}
    assert twice - shared == {"REF_free_energy"}


def test_what_ase_keeps_is_what_its_calculators_know():
    assert {row.name for row in PROPERTIES.values() if row.ase} <= set(all_properties)


def test_quantities_are_those_that_units_convert():
    assert {row.quantity for row in PROPERTIES.values() if row.quantity} <= set(get_args(Quantity))


def test_ranks_follow_from_the_symmetry():
    ranks = {"energy": 0, "forces": 1, "stress": 2, "piezoelectric": 3, "elasticity": 4}
    assert {name: PROPERTIES[name].rank for name in ranks} == ranks


def test_errors_of_energies_are_counted_per_atom():
    row = PROPERTIES["energy"].compared
    assert (row.name, row.title) == ("energy_per_atom", "Energy per atom")
    assert (row.unit, row.shown) == ("eV/atom", ("meV/atom", 1e3))
    assert PROPERTIES["dipole"].compared is PROPERTIES["dipole"]


@pytest.mark.parametrize("name", ["energy", "hessian", "virial", "charge", "polarizability", "a b"])
def test_a_row_with_a_name_that_means_something_is_refused(name):
    with pytest.raises(ValueError, match=r"choose another|use letters"):
        register(Property(name, "Title"))


def test_a_row_that_no_head_predicts_is_refused():
    with pytest.raises(ValueError, match="a head of its own"):
        register(Property("pressure", "Pressure", source="energy"))


def test_a_row_is_added_once(rows):
    register(Property("band_gap", "Band gap", "eV", mean=True))
    assert PROPERTIES["band_gap"].keys == ("REF_band_gap",)
    with pytest.raises(ValueError, match="already"):
        register(Property("band_gap", "Band gap"))


def test_the_table_needs_neither_numpy_nor_jax():
    code = (
        "import sys, tensornet_jax.properties; print(*({'numpy', 'jax', 'ase'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def _minus(row: Property) -> tuple[str, ...]:
    return () if row.minus is None else (row.minus.name,)
