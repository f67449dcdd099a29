"""A whole loop, run once, and what makes further ones quick."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from tensornet_jax.active.loop import run
from tensornet_jax.train.reporting import report
from tensornet_jax.train.reporting.reliability_plot import Reliability
from tests.active.small import loop, write_files


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Share compiled programs between loops, as the command line does, and draw nothing."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    former = {name: jax.config.values[name] for name in names}
    reset_cache()
    for name, value in zip(names, (str(tmp_path_factory.mktemp("compiled")), 0.0), strict=True):
        jax.config.update(name, value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "plot_parity", lambda *_: None)
        patch.setattr(report, "plot_learning_curves", lambda *_: None)
        patch.setattr(Reliability, "picture", b"")
        yield
    for name, value in former.items():
        jax.config.update(name, value)
    reset_cache()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder to be in, with the files that a loop reads."""
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def whole(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a loop that ran in one piece."""
    place = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        write_files(place)
        run(loop())
    return place / "loop"
