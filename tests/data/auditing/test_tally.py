"""The audit in one pass says what the audit of structures in memory says."""

from dataclasses import fields, replace

import numpy as np
import pytest

from tensornet_jax.data.auditing import tally as module
from tensornet_jax.data.auditing.audit import audit
from tensornet_jax.data.auditing.tally import Moments, Tally, closely, digest_of, shared
from tensornet_jax.data.labels.labels import Labels
from tensornet_jax.data.references import reference_energies
from tests.data.sources.many import many

REFERENCES = "least_squares"


def tallied(structures):
    tally = Tally()
    for each in structures:
        tally.add(each)
    references = reference_energies(REFERENCES, structures)
    close = [structures[k] for k in closely(len(structures))]
    return tally.audit(close, references, None, [each.energy for each in structures])


def test_counts_and_sizes_are_those_of_the_audit():
    structures = many(60)
    found, whole = (
        tallied(structures),
        audit(structures, reference_energies(REFERENCES, structures)),
    )
    texts = {"errors", "warnings", "references"}
    for field in fields(whole):
        ours, theirs = getattr(found, field.name), getattr(whole, field.name)
        if field.name not in texts:
            assert str(ours) == str(theirs) or ours == pytest.approx(theirs, rel=1e-9, nan_ok=True)


def test_rare_faults_are_found_wherever_they_are(monkeypatch):
    monkeypatch.setattr(module, "CLOSE", 20)
    monkeypatch.setattr(module, "RUN", 10)
    structures = many(100)
    size = len(structures[45])
    forces = np.full((size, 3), 60.0)
    structures[45] = replace(structures[45], labels=Labels(size, {"energy": 0.0, "forces": forces}))
    structures[46] = replace(structures[46], labels=Labels(len(structures[46]), {"energy": 1e9}))
    structures.append(structures[47])
    found = tallied(structures)
    told = "\n".join(found.warnings)
    assert "1 structures have an energy of exactly zero" in told
    assert "1 structures have |F| > 50 eV/Å" in told
    assert "1 structures repeat an earlier one" in told
    assert any("above 1e+06 eV per atom: many.xyz:46" in text for text in found.errors)
    assert found.force_max_source == "many.xyz:45"


def test_moments_of_pieces_are_those_of_the_whole():
    values = -1e6 + np.random.default_rng(0).normal(size=(40, 25))
    moments = Moments()
    for piece in values:
        moments.add(piece)
    assert moments.mean_and_deviation[1] == pytest.approx(values.std(), rel=1e-9)


def test_copies_are_known_by_their_digests():
    first, second = many(10), many(10, seed=1)
    digests = [[digest_of(each) for each in own] for own in (first, [*second, first[3]])]
    assert shared(*digests) == 1
