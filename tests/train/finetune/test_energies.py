"""What energies are counted from when a trained model goes on with other data."""

import ase
import numpy as np
import pytest

from tensornet_jax.potential.model_file import load_model
from tensornet_jax.train.data.datasets import DataError
from tensornet_jax.train.run import train
from tests.train.small import ZEROS, Recorder, clusters, shifted, write


def test_energies_of_another_zero_are_fitted_to_what_the_model_predicts(tuned, tmp_path, recorder):
    data = {"train": write(tmp_path / "other.xyz", shifted(clusters(24), ZEROS))}
    same, other = Recorder(), Recorder()
    one, two = train(tuned("one"), reporter=same), train(tuned("two", data=data), reporter=other)
    for first, second in zip(same.validation_rows, other.validation_rows, strict=True):
        assert second["energy_per_atom_mae"] == pytest.approx(
            first["energy_per_atom_mae"], rel=1e-3
        )
    assert same.validation_rows[0]["energy_per_atom_mae"] < 0.2
    # Every composition has its sum; O and two H always occur together.
    for symbols in ("OHH", "OHHC", "OHHCC"):
        numbers = ase.Atoms(symbols).numbers
        sums = [
            sum(
                r.potential.elements.reference_energies[r.potential.elements.numbers.index(z)]
                for z in numbers
            )
            for r in (one, two)
        ]
        assert sums[1] - sums[0] == pytest.approx(sum(ZEROS[s] for s in ase.Atoms(symbols).symbols))
    assert any("changed by least squares on what it leaves" in line for line in other.audited)


def test_energies_of_another_zero_are_refused_where_the_models_are_to_be_kept(tuned, tmp_path):
    data = {"train": write(tmp_path / "other.xyz", shifted(clusters(24), ZEROS))}
    with pytest.raises(DataError, match=r"eV/atom from the .*start\.reference_energies: refit"):
        train(tuned(start={"reference_energies": "keep"}, data=data))


def test_a_small_difference_of_zeros_is_told(tuned, tmp_path, recorder):
    moved = shifted(clusters(24), dict.fromkeys(ZEROS, 2.0))
    data = {"train": write(tmp_path / "other.xyz", moved)}
    train(tuned(start={"reference_energies": "keep"}, data=data), reporter=recorder)
    assert any("eV/atom from the starting model's on average" in m for m in recorder.messages)


def test_kept_energies_are_those_of_the_file(tuned, trained):
    result = train(tuned(start={"reference_energies": "keep"}))
    np.testing.assert_array_equal(
        result.potential.elements.reference_energies,
        load_model(trained).elements.reference_energies,
    )


def test_isolated_atoms_of_the_new_level_of_theory_are_taken(tuned, trained, recorder):
    given = {"O": -1000.5, "H": -999.5}
    result = train(tuned(data={"reference_energies": given}), reporter=recorder)
    found, own = result.potential.elements, load_model(trained).elements
    energies = dict(zip(found.symbols, found.reference_energies, strict=True))
    assert energies == {**given, "C": own.reference_energies[own.symbols.index("C")]}
    assert any("energy is given for C" in text for text in recorder.messages)


@pytest.mark.parametrize(
    ("given", "message"),
    [("none", "energies of bonding"), ({"S": -1.0}, "name none of its elements, H, C, O")],
)
def test_reference_energies_that_mean_nothing_are_refused(tuned, given, message):
    with pytest.raises(ValueError, match=message):
        train(tuned(data={"reference_energies": given}))
