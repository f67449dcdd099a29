"""Plots show what they are given and touch no global state."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from tensornet_jax.data.references import ReferenceEnergies
from tensornet_jax.train.reporting import plots
from tensornet_jax.train.reporting.plots import Parity, parities, plot_learning_curves, plot_parity
from tests.labelling import labelled
from tests.train.small import clusters

REFERENCES = ReferenceEnergies((1, 6, 8), np.array([-1000.0, -1000.0, -1000.0]), "given", 3)


def test_parities_pair_each_label_with_its_prediction_and_drop_missing_ones():
    atoms_list = clusters(4)
    atoms_list[1].arrays["REF_forces"][0] = np.nan
    del atoms_list[2].info["REF_energy"]
    predictions = [
        {"energy": -1000.0 * len(a) + 0.5 * len(a), "forces": a.arrays["REF_forces"] + 0.25}
        for a in atoms_list
    ]
    energy, forces = parities(labelled(atoms_list), predictions, REFERENCES)
    assert (energy.name, forces.name) == ("energy_per_atom", "forces")
    assert energy.reference.shape == (3,)
    np.testing.assert_allclose(energy.predicted, 0.5, rtol=1e-9)
    assert forces.reference.shape == (3 * (3 + 4 + 5 + 3) - 3,)
    np.testing.assert_allclose(forces.predicted - forces.reference, 0.25, rtol=1e-9)


@pytest.mark.parametrize("count", [1, 50, plots.MANY + 1], ids=["one", "points", "density"])
def test_a_parity_plot_is_drawn_for_any_number_of_points(tmp_path, count):
    values = np.random.default_rng(0).normal(size=count)
    found = [Parity("forces", values, values + 0.01), Parity("stress", values, values)]
    path = tmp_path / "parity.png"
    plot_parity(path, "test", found)
    image = imread(path)
    assert image.shape[1] > 1.5 * image.shape[0]
    assert image.std() > 0.01


def test_equal_labels_and_broken_predictions_are_drawn_too(tmp_path):
    labels = np.zeros(5)
    plot_parity(tmp_path / "a.png", "equal", [Parity("dipole", labels, labels)])
    plot_parity(tmp_path / "b.png", "broken", [Parity("dipole", labels, np.full(5, np.inf))])


def test_learning_curves_are_drawn_with_gaps_and_zeros(tmp_path):
    train = [
        {"epoch": float(k), "loss": 1.0 / (k + 1), "learning_rate": 1e-3 * k} for k in range(4)
    ]
    train[2]["loss"] = float("nan")
    validation = [{"epoch": 1.0, "loss": 0.5, "forces_mae": 0.1, "forces_rmse": 0.2}]
    plot_learning_curves(tmp_path / "curves.png", train, validation, 1.0)
    assert imread(tmp_path / "curves.png").std() > 0.01


def test_plotting_does_not_import_pyplot():
    script = (
        "import tensornet_jax.train.reporting.plots, sys; "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
