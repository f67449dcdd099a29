import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.runtime import compilation_cache
from tensornet_jax.runtime.compilation_cache import enable_compilation_cache, silence_cache_messages
from tests.builders import small_potential


@pytest.fixture(scope="module")
def potential():
    return small_potential(num_layers=0)


@pytest.fixture
def cache_settings(monkeypatch, tmp_path) -> Iterator[Path]:
    """A user's cache folder that is empty, and JAX's settings put back afterwards."""
    names = ("jax_compilation_cache_dir", "jax_enable_compilation_cache")
    kept = {name: jax.config.values[name] for name in names}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compilation_cache.sys, "platform", "linux")
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path
    for name, value in kept.items():
        jax.config.update(name, value)


def test_compiled_models_are_kept_in_the_users_cache_folder(cache_settings, potential):
    TensorNetCalculator(potential)
    assert jax.config.values["jax_compilation_cache_dir"] is None
    TensorNetCalculator(potential, compilation_cache=True)
    folder = jax.config.values["jax_compilation_cache_dir"]
    assert folder is not None
    assert Path(folder).is_relative_to(cache_settings)
    assert enable_compilation_cache() == Path(folder)


def test_a_cache_the_user_has_configured_is_left_alone(cache_settings):
    jax.config.update("jax_compilation_cache_dir", "/elsewhere")
    assert enable_compilation_cache() == Path("/elsewhere")
    assert jax.config.values["jax_compilation_cache_dir"] == "/elsewhere"
    jax.config.update("jax_enable_compilation_cache", False)
    assert enable_compilation_cache() is None


@pytest.mark.parametrize("place", ["XDG_CACHE_HOME", "HOME"])
def test_without_a_folder_to_write_to_there_is_no_cache(cache_settings, monkeypatch, place):
    """A file stands in for a home that cannot be written to: root may write anywhere."""
    occupied = cache_settings / "file"
    occupied.touch()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv(place, str(occupied / "below"))
    assert enable_compilation_cache() is None
    assert jax.config.values["jax_compilation_cache_dir"] is None
    monkeypatch.delenv("HOME", raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(compilation_cache.Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert enable_compilation_cache() is None


def test_a_home_that_does_not_exist_is_not_made(cache_settings, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(cache_settings / "nobody"))
    assert enable_compilation_cache() is None
    assert not (cache_settings / "nobody").exists()


def test_what_was_not_used_for_longest_is_deleted_when_there_is_too_much(
    cache_settings, monkeypatch
):
    folder = enable_compilation_cache()
    assert folder is not None
    for age, name in enumerate(("new", "old", "oldest")):
        path = folder / name
        path.write_bytes(bytes(1000))
        os.utime(path, (1e9 - age, 1e9 - age))
    for size, left in (("2.5e-6", ["new", "old"]), ("1e-3", ["new", "old"]), ("1e-6", ["new"])):
        monkeypatch.setenv("TENSORNET_JAX_CACHE_GB", size)
        jax.config.update("jax_compilation_cache_dir", None)
        enable_compilation_cache()
        assert sorted(path.name for path in folder.iterdir()) == left
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("TENSORNET_JAX_CACHE_GB", "0")
    assert enable_compilation_cache() is None
    monkeypatch.setenv("TENSORNET_JAX_CACHE_GB", "2 GB")
    with pytest.raises(ValueError, match="TENSORNET_JAX_CACHE_GB is '2 GB'"):
        enable_compilation_cache()


@pytest.mark.parametrize(("before", "after"), [(None, "3"), ("1", "3"), ("0", "0"), ("2", "2")])
def test_jaxs_own_level_of_messages_which_its_children_inherit_is_silenced(
    monkeypatch, before, after
):
    name = "TF_CPP_MIN_LOG_LEVEL"
    environment = {} if before is None else {name: before}
    monkeypatch.setattr(compilation_cache.os, "environ", environment)
    silence_cache_messages()
    assert environment == {name: after}
