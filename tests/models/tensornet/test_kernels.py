import pytest

from tensornet_jax.potential.compress import compress
from tests.builders import small_potential
from tests.models.with_kernels import check_with_kernels

SIZE = {"num_channels": 16, "num_layers": 1, "num_radial": 4, "cutoff": 3.0}
SLOW = pytest.mark.slow


@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=SLOW)])
@pytest.mark.parametrize("group", ["O(3)", "SO(3)"])
def test_a_model_as_trained(group, trained):
    check_with_kernels(small_potential(**SIZE, group=group), trained=trained)


@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=SLOW)])
def test_a_compressed_model(trained):
    check_with_kernels(compress(small_potential(**SIZE), 1e-3), trained=trained)


def test_a_model_of_more_elements_than_are_summed_one_by_one(monkeypatch):
    monkeypatch.setattr("tensornet_jax.models.tensornet.embedding.MOST_SPECIES", 1)
    check_with_kernels(small_potential(**SIZE), trained=False)
