"""Weights that a file gives to structures and labels are read under the keys in use."""

import pytest

from tensornet_jax.data.labels.weights import Weights, take_weights

NAMES = ("energy", "forces", "stress", "dipole", "shielding")


def weights(*, virial: bool = False, **info: object) -> Weights:
    return take_weights(info, NAMES, "file.xyz:3", virial=virial)


def test_a_structure_without_weights_counts_once():
    assert [weights().of(name) for name in NAMES] == [1.0] * 5


def test_a_labels_weight_multiplies_that_of_its_structure():
    found = weights(config_weight="0.5", config_energy_weight=4, config_shielding_weight=0.0)
    assert found.of("energy") == 2.0
    assert found.of("forces") == 0.5
    assert found.of("shielding") == 0.0


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("config_forces_weight", "forces"),
        ("config_force_weight", "forces"),
        ("config_stress_weight", "stress"),
        ("config_virials_weight", "stress"),
        ("config_virial_weight", "stress"),
        ("config_dipole_weight", "dipole"),
    ],
)
def test_spellings_in_use_are_read(key, name):
    assert take_weights({key: 3.0}, NAMES, "file.xyz:3").of(name) == 3.0


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "much", [1.0, 2.0], None])
def test_a_weight_that_is_none_is_refused_with_file_and_frame(value):
    with pytest.raises(ValueError, match=r"file.xyz:3: config_energy_weight is"):
        weights(config_energy_weight=value)


def test_contradicting_spellings_are_refused():
    with pytest.raises(ValueError, match="config_forces_weight and config_force_weight differ"):
        weights(config_forces_weight=1, config_force_weight=2)


@pytest.mark.parametrize(("virial", "expected"), [(True, 5.0), (False, 0.0)])
def test_stress_read_from_a_virial_has_the_virials_weight(virial, expected):
    info = {
        "config_stress_weight": 0,
        "config_virials_weight": "5",
        "config_weight": 1,
        "config_type": "hot",
    }
    found = take_weights(info, NAMES, "file.xyz:3", virial=virial)
    assert found.of("stress") == expected
    assert found.as_keys() == {"config_weight": 1.0, "config_stress_weight": expected}
    assert info == {"config_type": "hot"}
