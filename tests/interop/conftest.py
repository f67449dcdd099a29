"""Reference cases for the tests of importers."""

import pytest

from tests.interop.reference_cases import Reference


@pytest.fixture
def reference(shared_data):
    """Return a function from a name to a case of torchmd-net's; skips where absent."""
    return lambda name: Reference(shared_data(f"reference_tensornet/{name}.npz"))
