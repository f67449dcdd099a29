"""Choices of a potential against the same made in numpy of what `evaluate` says."""

import numpy as np
import pytest

from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.uncertainty.deviations import COLLECTION
from tensornet_jax.potential.uncertainty.estimate import with_spread
from tensornet_jax.potential.uncertainty.structure_features import features_per_atom
from tensornet_jax.selection.choosing import select
from tensornet_jax.selection.config import SelectionConfig
from tensornet_jax.selection.criteria import farthest, greatest_determinant
from tensornet_jax.selection.points import points_of
from tensornet_jax.selection.soundness import ABSURD, KNOWN, REPEATED
from tests.builders import small_potential
from tests.labelling import labelled
from tests.potential.uncertainty.sets import molecules, sure_potential


def settings(**options) -> SelectionConfig:
    return SelectionConfig.model_validate({"count": 4, "largest_force": 1e3, **options})


@pytest.fixture(scope="module")
def candidates():
    return labelled(molecules(10, seed=4))


@pytest.fixture(scope="module")
def potential() -> Potential:
    return sure_potential()


def covariance_points(potential: Potential, frames) -> np.ndarray:
    """Return features per atom, whitened by the covariance of the weights, one by one."""
    rows = [next(features_per_atom(potential, [atoms], 1))[1][0] for atoms in frames]
    return np.stack(rows) @ np.asarray(potential.variables[COLLECTION]["factor"])


@pytest.mark.parametrize("of", ["forces", "energy"])
def test_the_least_sure_structures_are_those_of_the_largest_deviation(potential, candidates, of):
    found = select(potential, candidates, settings(by="deviation", of=of))
    frames = [each.atoms for each in candidates]
    sizes = []
    for atoms, says in zip(frames, potential.evaluate(frames, (f"{of}_std",)), strict=True):
        if of == "forces":
            sizes.append(float(np.max(np.sqrt(np.sum(says["forces_std"] ** 2, axis=1)))))
        else:
            sizes.append(says["energy_std"] / len(atoms))
    order = sorted(range(len(sizes)), key=lambda k: -sizes[k])[:4]
    assert [each.index for each in found.chosen] == order
    np.testing.assert_allclose([c.score for c in found.chosen], [sizes[k] for k in order], 1e-9)
    assert found.unit == ("eV/Å" if of == "forces" else "eV/atom")
    assert f"{sizes[order[0]]:.4g} eV" in found.chosen[0].reason


def test_lengths_of_points_are_deviations_of_energies_per_atom(potential, candidates):
    frames = [each.atoms for each in candidates]
    found = np.linalg.norm(points_of(potential)(frames), axis=1)
    says = potential.evaluate(frames, ("energy_std",))
    expected = [each["energy_std"] / len(a) for a, each in zip(frames, says, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_determinant_is_that_of_the_covariance_of_the_training_set(potential, candidates):
    found = select(potential, candidates, settings(by="determinant"))
    points = covariance_points(potential, [each.atoms for each in candidates])
    expected = greatest_determinant(points, 4)
    assert [each.index for each in found.chosen] == expected.indices
    np.testing.assert_allclose([each.score for each in found.chosen], expected.scores, 1e-8)


def test_distances_count_from_labelled_structures_too(potential, candidates):
    known = labelled(molecules(3, seed=9), "known.xyz")
    found = select(potential, candidates, settings(by="distance"), known)
    scale = potential.energy_scale * float(potential.variables[COLLECTION]["scales"]["energy"])
    sets = ([each.atoms for each in group] for group in (candidates, known))
    rows, before = (scale * covariance_points(potential, frames) for frames in sets)
    expected = farthest(rows, 4, before)
    assert [each.index for each in found.chosen] == expected.indices
    np.testing.assert_allclose([each.score for each in found.chosen], expected.scores, 1e-8)
    assert all("labelled or chosen" in each.reason for each in found.chosen)


def test_repetitions_and_absurd_forces_are_counted_and_not_chosen(potential, candidates):
    frames = [each.atoms for each in candidates]
    again = labelled([*frames, frames[2], frames[5]])
    largest = [
        np.linalg.norm(each["forces"], axis=1).max()
        for each in potential.evaluate(frames[1:], ("forces",))
    ]
    limit = float(np.sort(largest)[-2:].mean())
    known = labelled([frames[0]], "known.xyz")
    found = select(potential, again, settings(count=50, largest_force=limit), known)
    assert found.counts() == {REPEATED: 2, KNOWN: 1, ABSURD: 1}
    assert found.left_out[1 + int(np.argmax(largest))].kind == ABSURD
    chosen = {each.index for each in found.chosen}
    assert not chosen & set(found.left_out)
    assert len(chosen) + len(found.left_out) == 12


def test_what_is_chosen_has_reasons_and_no_labels(potential, candidates):
    found = select(potential, candidates, settings(by="deviation"))
    for rank, each in enumerate(found.structures(candidates)):
        info = each.atoms.info
        assert info["selected_rank"] == rank
        assert info["selected_because"] == found.chosen[rank].reason
        assert info["selected_from"] == f"file.xyz:{found.chosen[rank].index}"
        assert not each.labels
    assert "selected_rank" not in candidates[found.chosen[0].index].atoms.info


def test_without_an_uncertainty_there_are_distances_alone(candidates):
    plain = small_potential(num_layers=1)
    found = select(plain, candidates, settings(by="distance"))
    assert len(found.chosen) == 4
    assert "mean of the candidates" in found.chosen[0].reason
    for by in ("deviation", "determinant"):
        with pytest.raises(ValueError, match="tensornet-jax uncertainty MODEL DATA OUTPUT"):
            select(plain, candidates, settings(by=by))


def test_a_committee_chooses_by_its_members(candidates):
    committee = with_spread(small_potential(num_layers=0, committee=3))
    frames = [each.atoms for each in candidates]
    says = committee.evaluate(frames, ("energy_std",))
    lengths = np.linalg.norm(points_of(committee)(frames), axis=1)
    expected = [each["energy_std"] / len(a) for a, each in zip(frames, says, strict=True)]
    np.testing.assert_allclose(lengths, expected, rtol=1e-8)
    found = select(committee, candidates, settings(by="determinant"))
    assert found.chosen[0].index == int(np.argmax(lengths))


def test_nothing_to_choose_among_gives_nothing(potential):
    for by in ("deviation", "distance", "determinant"):
        assert select(potential, [], settings(by=by)).chosen == ()
