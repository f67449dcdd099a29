import numpy as np
import pytest

from tensornet_jax.models.config import Compression
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.potential import ElementTable, create_potential
from tests.builders import small_potential
from tests.models.with_kernels import check_with_kernels

SIZE = {"num_channels": 16, "num_layers": 1, "num_radial": 4, "cutoff": 3.0}
SPLINES = Compression(rank=3, intervals=8)
SLOW = pytest.mark.slow


# Products in SO(3) differ by one kernel, which tests of it alone hold to the plain form.
@pytest.mark.parametrize(
    ("group", "trained"),
    [
        ("O(3)", False),
        pytest.param("SO(3)", False, marks=SLOW),
        pytest.param("O(3)", True, marks=SLOW),
        pytest.param("SO(3)", True, marks=SLOW),
    ],
)
def test_a_model_as_trained(group, trained):
    check_with_kernels(small_potential(**SIZE, group=group), trained=trained)


@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=SLOW)])
def test_a_compressed_model(trained):
    """One with random splines, whose kernels are those of a fitted one."""
    config = TensorNetConfig(**SIZE, compression=SPLINES)
    elements = ElementTable((1, 8), np.zeros(2))
    potential = create_potential(config, elements, seed=0, dtype="float64")
    check_with_kernels(potential, trained=trained)


def test_a_model_of_more_elements_than_are_summed_one_by_one(monkeypatch):
    monkeypatch.setattr("tensornet_jax.models.tensornet.embedding.MOST_SPECIES", 1)
    check_with_kernels(small_potential(**SIZE | {"num_layers": 0}), trained=False)
