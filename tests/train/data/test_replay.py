"""A replay set is counted from its own atoms, or labelled by the starting model."""

from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest

from tensornet_jax.data.references import ReferenceEnergies
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.data.datasets import DataError
from tensornet_jax.train.data.parts import ReplayParts
from tensornet_jax.train.data.replay import counted_from
from tensornet_jax.train.run import train
from tests.labelling import labelled
from tests.text import squeezed
from tests.train.small import Recorder, clusters, replayed, write

MAKE = Callable[..., RunConfig]


def test_free_energies_are_counted_from_the_same_atoms_as_energies():
    atoms = ase.Atoms("OH", [[0, 0, 0], [0, 0, 1]], info={"energy": -5.0, "free_energy": -5.5})
    unlabelled = ase.Atoms("OH", [[0, 0, 0], [0, 0, 1]])
    old, new = (
        ReferenceEnergies((1, 8), np.array(energies), "given", 2)
        for energies in ([-1.0, -2.0], [-10.0, -200.0])
    )
    parts = counted_from(ReplayParts(labelled([atoms, unlabelled]), [], []), old, new)
    assert parts.train[0].energy == pytest.approx(-5.0 + 3.0 - 210.0)
    assert parts.train[0].free_energy == pytest.approx(-5.5 + 3.0 - 210.0)
    assert np.isnan(parts.train[1].energy)


def test_both_sets_are_counted_from_their_own_atoms(tuned, old, recorder):
    """A shift of the replay energies by their own isolated atoms leaves nothing to learn."""
    on_disk = Path(old).read_bytes()
    config = tuned(data=replayed(old, reference_energies="least_squares", weight=2.0))
    result = train(config, reporter=recorder)
    assert recorder.started[0].num_replay == 12
    first = recorder.validation_rows[0]
    assert first["replay_energy_per_atom_mae"] < 0.2
    for row in recorder.validation_rows:
        assert row["loss"] == pytest.approx(
            row["loss_energy"] + 10 * row["loss_forces"] + 2 * row["loss_replay"], rel=1e-9
        )
    assert all(row["loss_replay"] > 0 for row in recorder.train_rows)
    report = (result.directory / "report" / "report.md").read_text()
    assert "| replay | forces |" in squeezed(report)
    # Errors of the final model are counted in the same way.
    (row,) = [
        row
        for row in result.rows
        if (row.data_set, row.property, row.config_type) == ("replay", "energy_per_atom", "all")
    ]
    assert Path(old).read_bytes() == on_disk
    best = min(recorder.validation_rows, key=lambda row: row["loss"])
    assert row.mae == pytest.approx(best["replay_energy_per_atom_mae"], rel=1e-3)


@pytest.fixture
def contradiction(tuned, tmp_path) -> MAKE:
    """Return a function that makes runs on data without bonds, replaying the model's own."""
    geometries = [ase.Atoms(a.symbols, a.positions) for a in clusters(16, seed=7)]
    path = write(tmp_path / "geometries.xyz", geometries)
    new = clusters(24)
    for atoms in new:
        atoms.arrays["REF_forces"][:] = np.eye(len(atoms), 3) * 1e-3
    data = {"train": write(tmp_path / "broken.xyz", new)}

    def make(name: str, weight: float, epochs: int) -> RunConfig:
        replay = replayed(path, targets="model", weight=weight)
        sections = {"loss": {"energy": None}, "training": {"epochs": epochs}}
        return tuned(name, data=data | replay, **sections)

    return make


def test_predictions_of_the_starting_model_can_be_the_targets(contradiction, recorder):
    train(contradiction("run", 1.0, 1), reporter=recorder)
    first, last = recorder.validation_rows
    assert first["loss_replay"] < 1e-8
    assert first["loss_forces"] > 0.1
    assert last["loss_replay"] > 1e-4


@pytest.mark.slow
def test_replay_keeps_a_model_from_forgetting(contradiction, recorder):
    """The more it counts, the less is forgotten."""
    forgotten = []
    for weight in (100.0, 0.01):
        reporter = Recorder()
        train(contradiction(f"{weight}", weight, 4), reporter=reporter)
        forgotten.append(reporter.validation_rows[-1]["loss_replay"])
    assert forgotten[0] < 0.3 * forgotten[1]


def test_replay_energies_of_another_zero_are_refused_unless_fitted(tuned, old):
    with pytest.raises(DataError, match=r"replay set.*data\.replay\.reference_energies"):
        train(tuned(data=replayed(old)))
