"""Fits of reference energies to structures that are not held."""

import numpy as np
import pytest

from tensornet_jax.data import composition_fit
from tensornet_jax.data.composition_fit import CompositionSums, fit_to_composition
from tests.data.sources.many import many


def test_a_fit_in_pieces_is_the_fit_to_all(monkeypatch):
    monkeypatch.setattr(composition_fit, "_BLOCK", 7)
    structures, numbers = many(50), (1, 6, 7, 8)
    sums = CompositionSums()
    for each in structures:
        sums.add(each)
    found = sums.fit(numbers)
    whole = fit_to_composition(numbers, structures, np.array([s.energy for s in structures]))
    assert found.energies == pytest.approx(whole.energies, rel=1e-9)
    assert (found.rank, found.undetermined, found.count) == (
        whole.rank,
        whole.undetermined,
        whole.count,
    )
