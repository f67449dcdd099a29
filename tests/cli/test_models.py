import shlex

import pytest

from tensornet_jax.data.published.catalogue import load_catalogue

POTENTIALS = load_catalogue().potentials


def test_models_lists_what_knows_all_the_elements(cli):
    everything, narrowed = cli("models"), cli("models", "--elements", "H, I")
    for potential in POTENTIALS:
        assert potential.name in everything.stdout
        assert (potential.name in narrowed.stdout) == ({"H", "I"} <= set(potential.elements))
    result = cli("models", "--elements", "Po")
    assert result.exit_code == 2
    assert "knows all of Po" in result.stderr
    assert "no element Xx" in cli("models", "--elements", "Si,Xx").stderr


@pytest.mark.parametrize("potential", POTENTIALS, ids=lambda potential: potential.name)
def test_what_a_potential_is_and_how_to_get_it(cli, potential):
    shown = cli("models", potential.name).stdout
    for fact in (potential.page, potential.convert, *potential.files, *potential.elements):
        assert fact in shown
    # The command exists, and takes as many files as the catalogue gives it.
    _, group, command, source, target, *options = shlex.split(potential.convert)
    assert cli(group, command, "--help").exit_code == 0
    assert target.endswith(".safetensors")
    result = cli(group, command, source, target, *options)
    assert result.exit_code == 2
    assert source in result.stderr
