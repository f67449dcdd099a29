"""Evaluation of sets in which not every structure has every label."""

import numpy as np
import pytest

from tensornet_jax.potential.potential import ElementTable, create_potential
from tensornet_jax.train.evaluation.errors import error_table, evaluate_structures
from tests.labelling import labelled
from tests.train.small import PairConfig, clusters


@pytest.fixture
def potential():
    config = PairConfig(heads=("energy", "dipole"))
    return create_potential(config, ElementTable((1, 6, 8), np.zeros(3)), seed=0, dtype="float64")


def test_molecules_and_crystals_are_evaluated_together_each_for_what_it_has(potential):
    mixed = [*clusters(3), *clusters(3, periodic=True)]
    del mixed[1].arrays["REF_forces"]
    predictions = evaluate_structures(potential, labelled(mixed), batch_size=2)
    names = [set(prediction) for prediction in predictions]
    assert names[0] == names[2] == {"energy", "forces", "dipole"}
    assert names[1] == {"energy", "dipole"}
    assert names[3] == names[4] == names[5] == {"energy", "forces", "stress"}
    for atoms, prediction in zip(mixed, predictions, strict=True):
        (alone,) = potential.evaluate(atoms, tuple(prediction))
        for name, value in prediction.items():
            np.testing.assert_allclose(value, alone[name], rtol=1e-10, atol=1e-12)


def test_errors_are_grouped_by_config_type(potential):
    structures = labelled(clusters(6))
    predictions = evaluate_structures(potential, structures)
    table = error_table("test", structures, predictions)
    small = [
        np.abs(prediction["forces"] - structure.labels["forces"]).ravel()
        for structure, prediction in zip(structures, predictions, strict=True)
        if len(structure) == 3
    ]
    (row,) = [
        row
        for row in table.rows()
        if (row.config_type, row.property, row.element) == ("small", "forces", "")
    ]
    np.testing.assert_allclose(row.mae, np.concatenate(small).mean(), rtol=1e-12)


def test_structures_without_labels_have_no_predictions_and_no_errors(potential):
    (bare,) = clusters(1)
    bare.info.clear()
    del bare.arrays["REF_forces"]
    structures = labelled([bare])
    predictions = evaluate_structures(potential, structures)
    assert predictions == [{}]
    assert error_table("test", structures, predictions).rows() == []
