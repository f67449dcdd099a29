import numpy as np

from tensornet_jax.models.tensornet2.config import TensorNet2Config
from tensornet_jax.potential.potential import ElementTable, create_potential
from tests.models.with_kernels import check_with_kernels


def test_energy_and_forces_are_those_of_the_plain_forms():
    config = TensorNet2Config(num_channels=16, num_layers=1, num_radial=4, cutoff=3.0)
    elements = ElementTable((1, 8), np.zeros(2))
    potential = create_potential(config, elements, seed=0, dtype="float64")
    check_with_kernels(potential, trained=False)
