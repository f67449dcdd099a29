"""Every command with potentials that predict more than energies, or those of two levels."""

import pytest

from tests.seams.commands import COMMANDS, check
from tests.seams.variants import FEW

KINDS = (
    "tensors",
    "mace with tensors",
    "torchmd-net's dipole",
    "tensors alone",
    "two levels of theory",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("setting", KINDS, indirect=True)
def test_a_command_gives_what_the_potential_gives(setting, command):
    check(setting, command)


@pytest.mark.parametrize("command", ["predict", "uncertainty", "md of molecule"])
@pytest.mark.parametrize("setting", FEW, indirect=True)
def test_a_command_knows_how_sure_a_committee_is_of_each_head(setting, command):
    assert "forces_std" in setting.common
    check(setting, command)
