"""Nothing is left out of the matrix."""

from tensornet_jax.cli import app
from tensornet_jax.models import MODELS
from tests.seams import test_derived, test_heads, test_networks, test_physics
from tests.seams.commands import COMMANDS, REFUSALS
from tests.seams.variants import VARIANTS

# They read neither models nor structures, or are tested where they belong with what they read.
ELSEWHERE = {"active", "spectrum", "models", "fetch", "config", "convert", "benchmark"}


def test_every_kind_of_potential_meets_every_command():
    modules = (test_networks, test_heads, test_physics, test_derived)
    assert [kind for module in modules for kind in module.KINDS] == list(VARIANTS)
    assert set(test_networks.KINDS) == set(MODELS)


def test_every_command_that_takes_models_or_structures_is_there():
    names = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    names |= {group.name for group in app.registered_groups}
    assert {name.split()[0] for name in COMMANDS} == names - ELSEWHERE


def test_what_is_refused_is_in_the_matrix():
    assert all(command in COMMANDS and kind in VARIANTS for command, kind in REFUSALS)
