"""Loss terms are means over labelled components and nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.graph.targets import Targets
from tensornet_jax.train.config.run import LossConfig, LossTerm
from tensornet_jax.train.optimization.losses import (
    active_terms,
    label_counts,
    loss_terms,
    only,
    penalty,
    weighted_sum,
)
from tests.train.small import graph_of

pytestmark = pytest.mark.usefixtures("x64")

# Two structures of 3 and 2 atoms, and one of padding, in arrays for 7 atoms.
GRAPH = graph_of([0, 0, 0, 1, 1, 2, 2], num_graphs=3, num_padding=2)
MSE = LossTerm(weight=2.0, kind="mse")
MAE = LossTerm(weight=3.0, kind="mae")
HUBER = LossTerm(weight=1.0, kind="huber", delta=0.5)


def batch(seed: int = 0) -> tuple[dict, Targets]:
    rng = np.random.default_rng(seed)
    shapes = {"energy": (3,), "forces": (7, 3), "stress": (3, 3, 3), "dipole": (3, 3)}
    predictions = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    labels = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    for name, label in labels.items():
        label[5 if name == "forces" else 2 :] = np.nan
    return predictions, Targets(labels, {"forces": labels.pop("forces")})


def by_hand(error: np.ndarray, term: LossTerm) -> float:
    values = []
    for e in error.ravel():
        if term.kind == "mse":
            values.append(e**2)
        elif term.kind == "mae":
            values.append(abs(e))
        else:
            assert term.delta is not None
            inside = abs(e) <= term.delta
            values.append(0.5 * e**2 if inside else term.delta * (abs(e) - 0.5 * term.delta))
    return float(np.mean(values))


@pytest.mark.parametrize("term", [MSE, MAE, HUBER], ids=lambda term: term.kind)
def test_terms_are_means_over_real_components_and_energy_is_per_atom(term):
    predictions, targets = batch()
    terms: dict[str, LossTerm] = dict.fromkeys(("energy", "forces", "stress", "dipole"), term)
    values = loss_terms(predictions, targets, GRAPH, terms)
    per_atom = (predictions["energy"] - targets.of("energy"))[:2] / np.array([3, 2])
    expected = {
        "energy": by_hand(per_atom, term),
        "forces": by_hand((predictions["forces"] - targets.of("forces"))[:5], term),
        "stress": by_hand((predictions["stress"] - targets.of("stress"))[:2], term),
        "dipole": by_hand((predictions["dipole"] - targets.of("dipole"))[:2], term),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-13)
    np.testing.assert_allclose(
        weighted_sum(values, terms), term.weight * sum(expected.values()), rtol=1e-13
    )


def test_a_missing_label_counts_neither_in_the_sum_nor_in_the_number():
    predictions, targets = batch()
    targets.of("energy")[0] = np.nan
    targets.of("forces")[1:3] = np.nan
    values = loss_terms(predictions, targets, GRAPH, {"energy": MSE, "forces": MAE})
    error = predictions["forces"] - targets.of("forces")
    np.testing.assert_allclose(
        values["energy"],
        ((predictions["energy"][1] - targets.of("energy")[1]) / 2) ** 2,
        rtol=1e-13,
    )
    np.testing.assert_allclose(values["forces"], np.abs(error[[0, 3, 4]]).mean(), rtol=1e-13)


def test_a_batch_without_any_label_has_zero_loss():
    predictions, targets = batch()
    targets.of("stress")[:] = np.nan
    assert loss_terms(predictions, targets, GRAPH, {"stress": MSE})["stress"] == 0


@pytest.mark.parametrize("term", [MSE, MAE, HUBER], ids=lambda term: term.kind)
def test_missing_labels_leave_no_nan_in_the_gradient(term):
    predictions, targets = batch()
    targets.of("energy")[1] = np.nan
    targets.of("forces")[2] = np.nan

    def loss(predictions: dict) -> jax.Array:
        terms = {"energy": term, "forces": term}
        return weighted_sum(loss_terms(predictions, targets, GRAPH, terms), terms)

    gradient = jax.grad(loss)(jax.tree.map(jnp.asarray, predictions))
    for name in ("energy", "forces"):
        assert np.isfinite(gradient[name]).all()
    assert gradient["energy"][1] == 0
    assert (gradient["forces"][2] == 0).all()
    assert (gradient["forces"][5:] == 0).all()
    assert (gradient["forces"][0] != 0).all()


def test_numpy_and_jax_share_the_penalty():
    errors = np.linspace(-2, 2, 41)
    for term in (MSE, MAE, HUBER):
        values = penalty(term)(errors)
        assert isinstance(values, np.ndarray)
        np.testing.assert_allclose(penalty(term)(jnp.asarray(errors)), values, rtol=1e-15)


def test_terms_of_zero_weight_or_none_are_not_computed():
    config = LossConfig(energy=LossTerm(weight=0), forces=MSE, stress=None, dipole=MAE)
    assert active_terms(config) == {"forces": MSE, "dipole": MAE}


@pytest.mark.parametrize("term", [MSE, MAE, HUBER], ids=lambda term: term.kind)
def test_a_weight_multiplies_the_penalty_and_leaves_the_number_of_labels(term):
    predictions, targets = batch()
    weights = {name: np.array([3.0, 0.5, 0.0]) for name in ("energy", "forces", "stress", "dipole")}
    weighted = dataclasses.replace(targets, weights=weights)
    names = ("energy", "forces", "stress", "dipole")
    found = loss_terms(predictions, weighted, GRAPH, dict.fromkeys(names, term))
    error = {
        name: np.asarray(predictions[name] - targets.of(name)).reshape(len(predictions[name]), -1)
        for name in names
    }
    error["energy"][:2] /= np.array([[3], [2]])
    for name in names:
        rows = error[name][:5] if name == "forces" else error[name][:2]
        of_row = np.array([3.0, 3.0, 3.0, 0.5, 0.5]) if name == "forces" else np.array([3.0, 0.5])
        expected = np.mean([w * by_hand(row, term) for w, row in zip(of_row, rows, strict=True)])
        np.testing.assert_allclose(found[name], expected, rtol=1e-13, err_msg=name)


def test_a_label_of_weight_zero_is_none():
    predictions, targets = batch()
    off = dataclasses.replace(targets, weights={"energy": np.array([1.0, 0.0, 0.0])})
    targets.of("energy")[1] = np.nan
    terms: dict[str, LossTerm] = {"energy": MSE, "forces": MAE}
    found, expected = (loss_terms(predictions, t, GRAPH, terms) for t in (off, targets))
    for name in terms:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-14)


def test_alike_weights_multiply_the_loss_by_as_much():
    predictions, targets = batch()
    double = dataclasses.replace(targets, weights={"forces": np.full(3, 2.0)})
    once, twice = (loss_terms(predictions, t, GRAPH, {"forces": MSE}) for t in (targets, double))
    np.testing.assert_allclose(twice["forces"], 2 * once["forces"], rtol=1e-14)


def test_terms_of_shards_sum_to_those_of_the_batch():
    predictions, targets = batch()
    targets.of("energy")[0] = np.nan
    weighted = dataclasses.replace(targets, weights={"forces": np.array([2.0, 0.5, 0.0])})
    terms = {"energy": MSE, "forces": HUBER, "stress": MAE}
    counts = label_counts(weighted, GRAPH, terms)
    whole = loss_terms(predictions, weighted, GRAPH, terms)
    shards = [only(GRAPH, jnp.array(own)) for own in ([True, False, False], [False, True, True])]
    parts = [loss_terms(predictions, weighted, shard, terms, counts) for shard in shards]
    for name, value in whole.items():
        np.testing.assert_allclose(parts[0][name] + parts[1][name], value, rtol=1e-13)
