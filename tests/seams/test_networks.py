"""Every command with each network."""

import pytest

from tests.seams.commands import COMMANDS, check

KINDS = (
    "tensornet",
    "tensornet2",
    "mace",
    "escn",
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("setting", KINDS, indirect=True)
def test_a_command_gives_what_the_potential_gives(setting, command):
    check(setting, command)
