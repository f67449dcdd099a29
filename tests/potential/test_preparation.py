"""What a structure must not ask of a model."""

import numpy as np
import pytest

from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.preparation import check_visible, prepare_structure
from tests.builders import ELEMENTS, ethanol


def test_charge_has_to_be_a_number():
    atoms = ethanol()
    atoms.info["charge"] = np.nan
    with pytest.raises(ValueError, match="charge"):
        prepare_structure(TensorNetConfig(), ELEMENTS.numbers, atoms)


def test_a_spin_that_nothing_depends_on_is_an_error_that_names_the_structure():
    config = TensorNetConfig()
    check_visible(config, 0.0, None)
    check_visible(config, None, None)
    with pytest.raises(ValueError, match=r"spin 3 \(structure 2\).*depends on the spin"):
        check_visible(config, None, 3, " (structure 2)")
