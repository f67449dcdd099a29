"""Kinds of structures are told apart by how sure a model is of them."""

import itertools

import ase.build
import numpy as np

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.labels import Labels
from tensornet_jax.train.evaluation.kinds import characteristic, kinds_of, rank_area, render_kinds
from tensornet_jax.train.reporting.reliability_plot import Reliability


def structures(kinds):
    found = []
    for kind in kinds:
        atoms = ase.build.molecule("H2O")
        if kind is not None:
            atoms.info["config_type"] = kind
        found.append(LabelledStructure(atoms, Labels(3)))
    return found


def test_the_area_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    values, chosen = rng.integers(0, 6, 30).astype(float), rng.random(30) < 0.4
    pairs = list(itertools.product(values[chosen], values[~chosen]))
    expected = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs])
    assert abs(rank_area(values, chosen) - expected) < 1e-12
    # The area below the curve, corners of ties cut, is the same number.
    others, own = characteristic(values, chosen)
    assert abs(np.trapezoid(own, others) - expected) < 1e-12
    assert (own[0], others[0], own[-1], others[-1]) == (0, 0, 1, 1)


def test_kinds_come_by_certainty_with_the_median_of_the_least_certain_components():
    kinds = ["bulk", "bulk", "surface", None, "vacancy", "vacancy"]
    largest = [0.1, 0.2, 0.9, 0.15, 0.12, 0.5]
    predictions = [{"forces_std": np.array([[each, 0.01, 0.0]])} for each in largest]
    found = kinds_of("test", structures(kinds), predictions)
    assert [each.config_type for each in found] == ["surface", "vacancy", "bulk"]
    assert [each.count for each in found] == [1, 2, 2]
    assert {each.property for each in found} == {"forces"}
    np.testing.assert_allclose([each.median for each in found], [0.9, 0.31, 0.15])
    assert found[0].area == 1.0
    assert "surface" in render_kinds(found)[2]
    atoms = [each | {"energies_std": np.array([0.3])} for each in predictions]
    both = kinds_of("test", structures(kinds), atoms)
    assert [each.property for each in both] == ["energies"] * 3 + ["forces"] * 3
    # All alike: the kind makes no difference.
    assert {each.area for each in both[:3]} == {0.5}
    # Of the structure as a whole, per atom.
    whole = [each | {"energy_std": np.array(k)} for k, each in enumerate(atoms)]
    three = kinds_of("test", structures(kinds), whole)
    assert [each.property for each in three] == ["energy"] * 3 + ["energies"] * 3 + ["forces"] * 3
    assert [each.config_type for each in three[:3]] == ["vacancy", "surface", "bulk"]
    assert three[0].median == 4.5
    assert "energy per atom" in render_kinds(three)[2]
    assert Reliability("test", {}, found).kinds_picture.startswith(b"\x89PNG")


def test_one_kind_or_no_deviations_of_forces_is_nothing_to_tell():
    two = [{"forces_std": np.ones((3, 3))}] * 2
    assert kinds_of("test", structures(["bulk", "bulk"]), two) == []
    assert (
        kinds_of("test", structures(["bulk", "surface"]), [{"energy_std": np.ones(())}] * 2) == []
    )
