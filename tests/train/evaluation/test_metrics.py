"""The error table against direct computation."""

import numpy as np
import pytest

from tensornet_jax.data.labels.labels import Labels
from tensornet_jax.train.evaluation.metrics import ErrorTable, render, summary

SYMBOLS = {1: "H", 6: "C", 8: "O"}


def structures(count: int = 7, *, partly: bool = False) -> list:
    """Return predictions, labels, elements and groups; partly: without stress and one force."""
    rng = np.random.default_rng(3)
    made = []
    for k in range(count):
        size = int(rng.integers(1, 6))
        numbers = rng.choice([1, 6, 8], size=size)

        def draw(size: int = size) -> dict:
            return {
                "energy": float(rng.normal() - 1000),
                "forces": rng.normal(size=(size, 3)),
                "stress": rng.normal(size=(3, 3)),
                "dipole": rng.normal(size=3),
            }

        prediction, labels = draw(), draw()
        if partly:
            del labels["stress"]
            labels["forces"][0, 1] = np.nan if k == 0 else 0.0
        group = "hot" if k % 3 else "cold"
        made.append((prediction, Labels(size, labels), numbers, group))
    return made


def table_of(chosen: list) -> ErrorTable:
    table = ErrorTable("test")
    for prediction, labels, numbers, group in chosen:
        table.add(prediction, labels, numbers, group)
    return table


def find(table: ErrorTable, name: str, group: str = "all", element: str = ""):
    (row,) = [
        row
        for row in table.rows()
        if (row.property, row.config_type, row.element) == (name, group, element)
    ]
    return row


def test_errors_equal_those_of_the_concatenated_components():
    made = structures()
    table = table_of(made)
    forces = np.concatenate([(p["forces"] - lab["forces"]).ravel() for p, lab, _, _ in made])
    per_atom = np.array([(p["energy"] - lab["energy"]) / len(n) for p, lab, n, _ in made])
    for name, error in (("forces", forces), ("energy_per_atom", per_atom)):
        row = find(table, name)
        assert row.count == error.size
        np.testing.assert_allclose(row.mae, np.abs(error).mean(), rtol=1e-12)
        np.testing.assert_allclose(row.rmse, np.sqrt((error**2).mean()), rtol=1e-12)
    energy = np.array([p["energy"] - lab["energy"] for p, lab, _, _ in made])
    np.testing.assert_allclose(find(table, "energy").mae, np.abs(energy).mean(), rtol=1e-12)


@pytest.mark.parametrize("group", ["all", "cold", "hot"])
def test_force_errors_are_given_per_element_and_config_type(group):
    made = structures()
    table = table_of(made)
    for number, symbol in SYMBOLS.items():
        errors = [
            (p["forces"] - lab["forces"])[n == number].ravel()
            for p, lab, n, g in made
            if group in ("all", g)
        ]
        error = np.concatenate(errors)
        row = find(table, "forces", group, symbol)
        assert row.count == error.size
        np.testing.assert_allclose(row.mae, np.abs(error).mean(), rtol=1e-12)


def test_missing_labels_are_left_out_and_unlabelled_properties_have_no_row():
    made = structures(partly=True)
    table = table_of(made)
    total = sum(labels["forces"].size for _, labels, _, _ in made)
    assert find(table, "forces").count == total - 1
    assert np.isfinite(find(table, "forces").rmse)
    assert not [row for row in table.rows() if row.property == "stress"]
    assert np.isnan(table.total("stress").mae)


def test_a_tiny_error_on_a_huge_energy_is_not_lost():
    table = ErrorTable("test")
    labels = Labels(1, {"energy": -17660.0})
    table.add({"energy": np.float64(-17660.0 + 1e-6)}, labels, np.array([6]))
    np.testing.assert_allclose(find(table, "energy").mae, 1e-6, rtol=1e-4)


def test_one_group_alone_is_not_listed_twice():
    made = [(p, lab, n, "only") for p, lab, n, _ in structures()]
    assert {row.config_type for row in table_of(made).rows()} == {"all"}


def test_the_text_table_is_in_milli_electron_volts():
    table = ErrorTable("test")
    labels = Labels(2, {"energy": 1.0, "forces": np.zeros((2, 3))})
    table.add({"energy": 1.25, "forces": np.full((2, 3), 0.125)}, labels, np.array([6, 8]))
    lines = render(summary(table.rows()))
    assert len({len(line) for line in lines}) == 1, "columns should line up"
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[2] == ["test", "all", "energy", "", "1", "250", "250", "meV"]
    assert cells[3] == ["test", "all", "energy per atom", "", "1", "125", "125", "meV/atom"]
    assert cells[4] == ["test", "all", "forces", "", "6", "125", "125", "meV/Å"]
