"""Fixtures every test may use."""

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SMALL_REFERENCES = Path(__file__).parent / "data_files"

# Linux gives a process 65,530 memory mappings, and compiled functions take several each: a worker
# that keeps all it ever compiled dies without a word near the end of the suite.
MOST_MAPPINGS = 30_000


# Shells have what they start in the background ignore Ctrl-C, and so do the children of that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def compiled_functions_are_dropped_before_there_are_too_many() -> Iterator[None]:
    """Forget, between tests, what was compiled."""
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and len(mappings.read_bytes().splitlines()) > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision inside one test only, so that no test relies on a global setting."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def small_reference():
    """Return a function from a name to its path in tests/data_files."""
    return SMALL_REFERENCES.joinpath


@pytest.fixture(scope="session")
def shared_data():
    """Return a function from a name to its path below ../shared/data; skips where absent.

    For whole data sets and published potentials alone: what guards the code's own behavior reads
    `small_reference`.
    """

    def path(name: str) -> Path:
        found = SHARED_DATA / name
        if not found.exists():
            pytest.skip(f"reference data {name} is not at ../shared/data")
        return found

    return path
