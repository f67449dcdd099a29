"""Templates of configurations."""

from tensornet_jax.cli.template import config_template
from tensornet_jax.config import dump_config, parse_config
from tensornet_jax.train.config.run import RunConfig


def test_template_is_valid_and_holds_every_key():
    text = config_template(RunConfig)
    config = parse_config(text, RunConfig)
    assert config == parse_config("directory: runs/example\ndata: {train: train.xyz}", RunConfig)
    for key in dump_config(config).splitlines():
        if key.endswith(":") or ": " in key:
            name = key.strip().split(":")[0]
            # Written by `tensornet-jax compress` and by heads in `data`, never by hand.
            assert (name + ":" in text) is (name not in ("compression", "levels"))
    for described in ("eV/Å", "Å", "epochs", "# or schedule: {name: plateau"):
        assert described in text
