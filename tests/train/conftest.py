"""Configurations of runs that take seconds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ase.io
import jax
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from tensornet_jax.models import MODELS
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.reporting import report
from tensornet_jax.train.reporting.reliability_plot import Reliability
from tensornet_jax.train.reporting.result import TrainingResult
from tensornet_jax.train.run import train
from tests.train.small import (
    SETTINGS,
    ZEROS,
    PairConfig,
    PairModel,
    Recorder,
    clusters,
    shifted,
    write,
)


@pytest.fixture(autouse=True)
def pair_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the stand-in among the models."""
    monkeypatch.setitem(MODELS, "pairs", (PairConfig, PairModel))


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> Path:
    """Return a folder for compiled programs."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def compile_once(compiled: Path) -> Iterator[None]:
    """Share compiled programs between runs, as the command line does."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    former = {name: jax.config.values[name] for name in names}
    reset_cache()
    for name, value in zip(names, (str(compiled), 0.0), strict=True):
        jax.config.update(name, value)
    yield
    for name, value in former.items():
        jax.config.update(name, value)
    reset_cache()


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which takes longer than such a run itself."""
    monkeypatch.setattr(report, "plot_parity", lambda *_: None)
    monkeypatch.setattr(report, "plot_learning_curves", lambda *_: None)
    monkeypatch.setattr(Reliability, "picture", b"")


@pytest.fixture
def recorder() -> Recorder:
    """Return a reporter that remembers."""
    return Recorder()


@pytest.fixture
def run_config(tmp_path: Path, no_plots: None, compile_once: None):
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


@pytest.fixture(scope="session")
def trained(finished_run) -> Path:
    """Return the model file of a finished run."""
    return finished_run[1].directory / "model.safetensors"


@pytest.fixture
def tuned(run_config, trained) -> Callable[..., RunConfig]:
    """Return a function that makes a short run from the trained model."""

    def make(name: str = "tuned", start: dict[str, Any] | None = None, **sections: Any):
        sections.setdefault("training", {"epochs": 2})
        sections.setdefault("model", None)
        return run_config(name, start={"model": str(trained), **(start or {})}, **sections)

    return make


@pytest.fixture
def old(tmp_path) -> str:
    """Return a file of what the starting model knows, with other zeros of energy."""
    return write(tmp_path / "old.xyz", shifted(clusters(16, seed=7), ZEROS))
