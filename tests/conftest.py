"""Fixtures every test may use."""

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision inside one test only, so that no test relies on a global setting."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def shared_data():
    """Return a function from a name to its path below ../shared/data; skips where absent."""

    def path(name: str) -> Path:
        found = SHARED_DATA / name
        if not found.exists():
            pytest.skip(f"reference data {name} is not at ../shared/data")
        return found

    return path
