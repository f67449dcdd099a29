from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from tensornet_jax import compilation_cache
from tensornet_jax.calculator import TensorNetCalculator
from tensornet_jax.compilation_cache import enable_compilation_cache
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
    TensorNetCalculator(potential, compilation_cache=False)
    assert jax.config.values["jax_compilation_cache_dir"] is None
    TensorNetCalculator(potential)
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
