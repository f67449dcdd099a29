"""Cases of mace-torch."""

import pytest

from tests.interop.mace.reference_cases import Reference


@pytest.fixture
def reference(small_reference):
    """Return a function from a name to a case that lies in the repository."""
    return lambda name: Reference(small_reference(f"mace/{name}.npz"))
