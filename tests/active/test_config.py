"""What of a configuration cannot be is told with its key and the remedy."""

from collections.abc import Mapping

import pydantic
import pytest

from tensornet_jax.active.config import ActiveConfig
from tensornet_jax.config import dump_config, parse_config
from tests.active.small import loop, settings


def test_a_configuration_is_read_back_as_it_was_written():
    config = loop()
    assert parse_config(dump_config(config), ActiveConfig) == config


def test_one_section_of_dynamics_is_a_list_of_one():
    (stage,) = loop().explore
    assert stage.volumes == (1.0,)
    two = [settings()["explore"], {**settings()["explore"], "volumes": [0.9, 1.1]}]
    assert [len(each.volumes) for each in loop(explore=two).explore] == [1, 2]


def test_files_are_those_of_training_and_dynamics():
    assert set(loop().files()) == {"first.xyz", "start.xyz"}


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        ({"train.directory": "run"}, "directory", "that of the round: leave it out"),
        ({"train.data.validation": "none"}, "validation", "calibrated on a validation set"),
        ({"train.data.test": {"more": 2}}, "test", "give a file for tests"),
        (
            {"train.data.train": {"file": "first.xyz", "head": "dft"}},
            "train",
            "one level of theory",
        ),
        ({"explore.model": "model.safetensors"}, "model", "that of the round: leave it out"),
        ({"explore.output": "md"}, "output", "that of the round: leave it out"),
        ({"explore.resume": False}, "resume", "leave it out"),
        ({"explore.plot": True}, "plot", "not drawn"),
        ({"explore.stop": None, "explore.mark": None}, "stop", "forces_std: 0.3"),
        ({"explore.volumes": [1.0, 1.0]}, "volumes", "twice"),
        ({"explore.volumes": [0.0]}, "volumes", "greater than 0"),
        ({"train.training.committee": 2}, "go_on", "set it to false"),
        ({"label": {"name": "person"}}, "label", "'calculator', 'command', 'wait'"),
        ({"label.calculator": "os.system"}, "calculator", "none of the calculators"),
        ({"label": {"name": "command", "command": "x {input}"}}, "command", "must name {output}"),
        ({"label": {"name": "command", "command": "'x"}}, "command", "split into words"),
        ({"select.by": "chance"}, "by", "determinant"),
        ({"rounds": 0}, "rounds", "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_told_with_its_key(changes: Mapping[str, object], key, said):
    with pytest.raises(pydantic.ValidationError) as raised:
        loop(**changes)
    details = raised.value.errors()
    assert any(key in each["loc"] for each in details), details
    assert any(said in each["msg"] for each in details), details


def test_committees_begin_anew_in_each_round():
    config = loop(go_on=False, **{"train.training.committee": 2})
    assert config.train.training.committee == 2
