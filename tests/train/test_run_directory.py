"""A run directory belongs to one run at a time, and to one configuration."""

from pathlib import Path

import pytest

from tensornet_jax.runtime.locks import InUseError, exclusive
from tensornet_jax.train.run import train
from tensornet_jax.train.run_directory import RunDirectory


def contents(directory: Path) -> dict[str, bytes]:
    found = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def test_a_run_in_a_directory_in_use_is_refused_and_touches_nothing(run_config):
    config = run_config(training={"epochs": 1})
    directory = Path(config.directory)
    with RunDirectory(directory).held() as begun:
        assert not begun
        before = contents(directory)
        with pytest.raises(InUseError, match=r"is in use.*another directory"):
            train(config, resume=True)
        assert contents(directory) == before


def test_a_lock_left_behind_means_nothing(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    for _ in range(2):
        with RunDirectory(tmp_path / "run").held() as begun:
            assert not begun


def test_the_directory_is_free_after_an_error(run_config):
    config = run_config(data={"train": "absent.xyz"})
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match=r"absent\.xyz"):
            train(config)
    with exclusive(Path(config.directory) / ".lock", "it", "wait"):
        pass


@pytest.mark.parametrize("checkpoint", ["12", "12.safetensors"], ids=["orbax", "sealed"])
def test_a_directory_with_checkpoints_holds_a_run(run_config, checkpoint):
    config = run_config()
    directory = RunDirectory(config.directory)
    (directory.checkpoints / checkpoint).mkdir(parents=True)
    directory.record(config, begun=False, resume=False)
    with directory.held() as begun:
        assert begun
    assert not list(directory.path.glob("*.partial"))


def test_a_directory_knows_every_file_of_a_finished_run(finished_run):
    _, result, _ = finished_run
    directory = RunDirectory(result.directory)
    known = {path for path in vars(directory).values() if isinstance(path, Path)}
    known |= set(vars(directory.report).values())
    known |= {directory.report.parity(name) for name in ("train", "validation", "unseen", "drawn")}
    found = {path for path in result.directory.rglob("*") if path.parent.name != "checkpoints"}
    assert found - known <= {result.directory / ".lock"}
