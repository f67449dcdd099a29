"""Reference cases for the tests of importers."""

import pytest

from tests.interop.reference_cases import Reference


@pytest.fixture
def reference(small_reference):
    """Return a function from a name to a case of torchmd-net's; skips where absent."""
    return lambda name: Reference(small_reference(f"torchmd_net/{name}.npz"))
