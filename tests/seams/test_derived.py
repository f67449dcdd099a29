"""Every command with potentials made of another."""

import pytest

from tests.seams.commands import COMMANDS, check

KINDS = (
    "compressed",
    "with uncertainty",
    "converted",
    "converted mace",
    "compressed mace",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("setting", KINDS, indirect=True)
def test_a_command_gives_what_the_potential_gives(setting, command):
    check(setting, command)
