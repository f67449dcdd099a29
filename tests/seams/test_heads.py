"""Every command with potentials that predict more than energies, or those of two levels."""

import pytest

from tests.seams.commands import COMMANDS, check

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
