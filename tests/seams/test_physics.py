"""Every command with potentials that know some physics."""

import pytest

from tests.seams.commands import COMMANDS, check

KINDS = (
    "charge and spin",
    "priors",
    "fixed charges",
    "predicted charges",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("setting", KINDS, indirect=True)
def test_a_command_gives_what_the_potential_gives(setting, command):
    check(setting, command)
