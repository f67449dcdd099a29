"""Configurations of runs that take seconds."""

from pathlib import Path
from typing import Any

import ase.io
import pytest

from tensornet_jax.models import MODELS
from tensornet_jax.train import report
from tensornet_jax.train.config import RunConfig
from tensornet_jax.train.run import TrainingResult, train
from tests.train.small import PairConfig, PairModel, Recorder, clusters

SETTINGS: dict[str, Any] = {
    "seed": 5,
    "model": {"name": "pairs"},
    "optimizer": {"learning_rate": 0.05, "ema_decay": 0.9},
    "training": {"epochs": 4, "batch_size": 5},
}


@pytest.fixture(autouse=True)
def pair_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the stand-in among the models."""
    monkeypatch.setitem(MODELS, "pairs", (PairConfig, PairModel))


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which takes longer than such a run itself."""
    monkeypatch.setattr(report, "plot_parity", lambda *_: None)
    monkeypatch.setattr(report, "plot_learning_curves", lambda *_: None)


@pytest.fixture
def recorder() -> Recorder:
    """Return a reporter that remembers."""
    return Recorder()


@pytest.fixture
def run_config(tmp_path: Path, no_plots: None):
    """Return a function that makes a run of 18 training and 6 validation structures."""
    ase.io.write(tmp_path / "data.xyz", clusters(24))

    def make(name: str = "run", **sections: Any) -> RunConfig:
        data = {"train": str(tmp_path / "data.xyz"), "validation": 6}
        settings = {"directory": str(tmp_path / name), "data": data, **SETTINGS}
        for section, changes in sections.items():
            merged = isinstance(changes, dict) and section in settings
            settings[section] = {**settings[section], **changes} if merged else changes
        return RunConfig.model_validate(settings)

    return make


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> tuple[RunConfig, TrainingResult, Recorder]:
    """Return one finished run with two test sets, for tests that only look at it."""
    folder = tmp_path_factory.mktemp("finished")
    ase.io.write(folder / "data.xyz", clusters(24))
    ase.io.write(folder / "test.xyz", clusters(9, seed=1))
    data = {
        "train": str(folder / "data.xyz"),
        "validation": 6,
        "test": {"unseen": str(folder / "test.xyz"), "drawn": 3},
    }
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "pairs", (PairConfig, PairModel))
        settings = {"directory": str(folder / "run"), "data": data, **SETTINGS}
        config = RunConfig.model_validate(settings)
        return config, train(config, reporter=recorder), recorder
