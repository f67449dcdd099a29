import numpy as np
import pytest

from tensornet_jax.models.mace.config import MACEConfig
from tensornet_jax.potential.potential import ElementTable, create_potential
from tests.models.with_kernels import check_with_kernels


@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_energy_forces_and_the_gradient_of_a_loss_are_those_of_the_plain_forms(trained):
    config = MACEConfig(num_channels=16, l_max=1, correlation=2, radial_widths=(8,))
    elements = ElementTable((1, 8), np.zeros(2))
    potential = create_potential(config, elements, seed=0, dtype="float64")
    check_with_kernels(potential, trained=trained)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"parametrization": "mace", "neighbor_normalization": "density"},
        {"parametrization": "mace", "interaction": "gated"},
    ],
    ids=["density", "gated"],
)
def test_so_are_those_of_mace_torchs_models(options):
    config = MACEConfig(num_channels=16, l_max=1, correlation=2, radial_widths=(8,), **options)
    elements = ElementTable((1, 8), np.zeros(2))
    potential = create_potential(config, elements, seed=0, dtype="float64")
    check_with_kernels(potential, trained=False)
