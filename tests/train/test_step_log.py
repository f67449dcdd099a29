"""Steps that are not finite are skipped, counted and bounded."""

import csv
import math
from pathlib import Path

import ase.io
import numpy as np
import pytest

from tensornet_jax.train.failure import TrainingError
from tensornet_jax.train.run import train
from tests.train.small import clusters


def spoiled(tmp_path: Path, count: int) -> str:
    """Write clusters, `count` of which have forces that overflow when squared in float32."""
    made = clusters(24)
    for atoms in made[:count]:
        atoms.arrays["REF_forces"] = np.where(np.arange(3) == 0, 1e25, atoms.arrays["REF_forces"])
    path = str(tmp_path / "spoiled.xyz")
    ase.io.write(path, made)
    return path


def test_a_step_that_is_not_finite_is_skipped_and_its_structures_are_named(
    run_config, tmp_path, recorder, monkeypatch
):
    monkeypatch.setattr("tensornet_jax.train.data.facts.energy_scale", lambda *_: 1.0)
    validation = str(tmp_path / "data.xyz")
    data = {"train": spoiled(tmp_path, 1), "validation": validation}
    result = train(run_config(data=data, training={"epochs": 3}), reporter=recorder)
    assert result.facts.skipped == 3
    assert [report.skipped for report in recorder.steps].count(True) == 3
    with (result.directory / "skipped_steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for row in rows:
        names = [Path(name).name for name in row["structures"].split()]
        assert "spoiled.xyz:0" in names
        assert len(names) <= 5
    assert all(math.isfinite(row["loss"]) for row in recorder.train_rows)


def test_too_many_skipped_steps_end_the_run_with_a_remedy(run_config, tmp_path, monkeypatch):
    monkeypatch.setattr("tensornet_jax.train.data.facts.energy_scale", lambda *_: 1.0)
    data = {"train": spoiled(tmp_path, 24), "validation": str(tmp_path / "data.xyz")}
    config = run_config(data=data, training={"epochs": 50, "max_skipped_steps": 3})
    with pytest.raises(TrainingError, match=r"^4 steps.*max_skipped_steps = 3.*skipped_steps\.csv"):
        train(config)
