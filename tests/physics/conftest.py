from collections.abc import Iterator

import numpy as np
import pytest

from tensornet_jax.potential.potential import ElementTable, Potential
from tests.builders import ELEMENTS, evaluating_in_one_shape, small_potential, with_config


@pytest.fixture(scope="session")
def o3_potential() -> Potential:
    """Return a model with forces of an eV/Å, so that absolute tolerances mean something.

    Without isolated-atom energies: thousands of eV would hide the digits compared here.
    """
    numbers = ELEMENTS.numbers
    potential = small_potential(heads=("energy", "dipole"))
    return potential.replace(
        energy_scale=100.0, elements=ElementTable(numbers, np.zeros(len(numbers)))
    )


@pytest.fixture(scope="session")
def so3_potential(o3_potential) -> Potential:
    return with_config(o3_potential, group="SO(3)")


@pytest.fixture(scope="module")
def one_shape() -> Iterator[None]:
    """Let the tests of all modules share what is compiled for one shape."""
    with evaluating_in_one_shape():
        yield
