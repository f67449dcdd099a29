import numpy as np
import pytest

from tensornet_jax.models.escn.config import ESCNConfig
from tensornet_jax.potential.potential import ElementTable, create_potential
from tests.models.with_kernels import check_with_kernels


@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_energy_forces_and_the_gradient_of_a_loss_of_forces_are_the_same(trained):
    config = ESCNConfig(
        cutoff=3.0,
        num_channels=4,
        hidden_channels=4,
        l_max=1,
        num_layers=1,
        m_max=1,
        radial_widths=(4,),
        readout_width=4,
        group="SO(3)",
    )
    elements = ElementTable((1, 8), np.zeros(2))
    potential = create_potential(config, elements, seed=0, dtype="float64")
    check_with_kernels(potential, trained=trained)
