"""Where labels come from, and what else a file holds, is told before training."""

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from tensornet_jax.data.auditing.audit import audit
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.canonical import labelled_structure
from tensornet_jax.data.labels.labels import LabelConfig


def water(
    index: int, forces: Any = "REF_forces", labels: Any = None, **info: Any
) -> LabelledStructure:
    atoms = Atoms("OH2", np.random.default_rng(index).normal(size=(3, 3)))
    pull = np.random.default_rng(index).normal(size=(3, 3))
    if forces:
        atoms.arrays[forces] = pull - pull.mean(axis=0)
    atoms.info.update(info)
    return labelled_structure(atoms, labels or LabelConfig(), f"file.xyz:{index}")


def told(data, words, among="warnings", labels=None):
    texts = getattr(audit(data, labels=labels), among)
    return [text for text in texts if words in text]


@pytest.mark.parametrize("key", ["REF_charges", "REF_polar", "ENERGY", "mace_energy", "Dipole"])
def test_a_key_that_looks_like_a_label_and_is_not_read_is_told(key):
    data = [water(i, REF_energy=-1.0 - i, **{key: np.array([1.0, 2.0, 3.0])}) for i in range(2)]
    (text,) = told(data, "look like labels and are not read")
    assert f"{key} (in 2 structures)" in text


@pytest.mark.parametrize(
    "key", ["predicted_energy", "kinetic_energy", "band_gap", "config_type", "energy_cutoff"]
)
def test_other_keys_are_not_taken_for_labels(key):
    assert not told([water(0, REF_energy=-1.0, **{key: 3.0})], key)


def test_keys_of_a_property_whose_place_is_stated_are_not_told():
    labels = LabelConfig(energy="U")
    data = [water(i, labels=labels, U=-1.0 - i, my_energy=3.0) for i in range(2)]
    assert not told(data, "my_energy", labels=labels)


@pytest.mark.parametrize(
    ("key", "words"),
    [("Charge", "data.labels.charge"), ("net_charge", "data.labels.charge"), ("mult", "a spin")],
)
def test_a_charge_or_spin_under_another_name_is_told(key, words):
    (text,) = told([water(0, REF_energy=-1.0, **{key: 1})], key)
    assert words in text


@pytest.mark.parametrize("key", ["energy_sigma", "force_sigma", "force_mask", "energy_weight"])
def test_weights_of_a_kind_that_is_not_honored_are_told(key):
    (text,) = told([water(0, REF_energy=-1.0, **{key: 0.1})], key)
    assert "not honored" in text


def test_labels_of_one_property_from_two_keys_are_told_with_counts():
    data = [water(0, REF_energy=-1.0), water(1, forces="forces", energy=-2.0)]
    (text,) = told(data, "energy is read from")
    assert "REF_energy in 1 structures and energy in 1 structures" in text


def test_two_keys_of_one_property_that_contradict_each_other_are_an_error():
    data = [
        water(0, REF_energy=-1.0, energy=-7.0),
        water(1, forces="forces", energy=-2.0),
    ]
    (text,) = told(data, "energy is read from", "errors")
    assert "they differ (file.xyz:0)" in text


def test_energy_and_forces_of_two_origins_are_told_and_an_error_where_they_contradict():
    data = [water(i, forces="forces", REF_energy=-1.0 - i) for i in range(2)]
    (text,) = told(data, "their energy from REF_energy and forces from forces")
    assert text.startswith("2 structures")
    data = [water(i, forces="forces", REF_energy=-1.0 - i, energy=-9.0) for i in range(2)]
    (text,) = told(data, "beside energy, which is another energy", "errors")
    labels = LabelConfig(energy="REF_energy", forces="forces")
    data = [water(i, "forces", labels, REF_energy=-1.0 - i, energy=-9.0) for i in range(2)]
    assert audit(data, labels=labels).errors == []


def smeared(labels=None, difference=0.6) -> list[LabelledStructure]:
    """Frames whose forces are the slope of the free energy, not of the energy."""
    frames = []
    for index in range(8):
        atoms = bulk("Cu", cubic=True)
        atoms.positions[1, 2] += 0.02 * index
        atoms.arrays["forces"] = np.zeros((4, 3))
        atoms.arrays["forces"][:2, 2] = [0.1, -0.1]
        free = -7.5 + 0.1 * 0.02 * index
        atoms.info = {"free_energy": free, "energy": free + difference * (0.1 + 0.02 * index)}
        frames.append(labelled_structure(atoms, labels or LabelConfig(), f"file.xyz:{index}"))
    return frames


def test_a_free_energy_that_fits_the_forces_better_is_told_with_both_slopes():
    result = audit(smeared())
    assert result.force_work is not None
    assert result.free_energy_work is not None
    assert result.force_work.slope == pytest.approx(7.0)
    assert result.free_energy_work.slope == pytest.approx(1.0)
    (text,) = [text for text in result.warnings if "free_energy" in text]
    assert "slope 1 with the free energy and 7 with the energy" in text
    assert "data.labels.energy: free_energy" in text
    assert any(line.startswith("free energy ") for line in result.lines())


def test_a_free_energy_that_is_used_or_the_same_is_not_told():
    used = smeared(LabelConfig(energy="free_energy"))
    assert not told(used, "free_energy")
    assert not told(smeared(difference=0.0), "free_energy")
    assert np.isnan(smeared(difference=0.0)[0].free_energy)


def test_charges_spins_and_weights_are_shown_with_their_counts():
    data = [
        water(0, REF_energy=-1.0, charge=1, spin=2, config_energy_weight=0),
        water(1, REF_energy=-2.0, total_charge=0, config_forces_weight=10),
        water(2, REF_energy=-3.0),
    ]
    result = audit(data)
    assert result.charges == {"0": 1, "+1": 1, "not stated": 1}
    assert result.spins == {"2": 1, "not stated": 2}
    assert result.weights == {"energy": (0.0, 1.0, 1), "forces": (1.0, 10.0, 0)}
    text = "\n".join(result.lines())
    assert "0 to 1; 1 switched off by weight 0" in text
    assert "0 1, +1 1, not stated 1" in text
