"""What the data section accepts: files with own labels, any name for a test, no validation."""

from typing import Any

import pytest

from tensornet_jax.config import ConfigError, dump_config, parse_config
from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.train.config.data import DataConfig
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.config.sources import Reading, readings_of_files

HEAD = "directory: run\nmodel: {name: tensornet}\n"


def parsed(data: str, rest: str = "") -> RunConfig:
    return parse_config(f"{HEAD}data: {data}\n{rest}", RunConfig)


@pytest.mark.parametrize(
    ("data", "files"),
    [
        ("{train: a.xyz}", ("a.xyz",)),
        ("{train: [a.xyz, b.xyz], validation: c.xyz}", ("a.xyz", "b.xyz", "c.xyz")),
        ("{train: {file: a.xyz, labels: {energy: E}}}", ("a.xyz",)),
        ("{train: [a.xyz, {file: [b.xyz, c.xyz]}]}", ("a.xyz", "b.xyz", "c.xyz")),
        ("{train: a.xyz, test: {cold: {file: b.xyz}, hot: [c.xyz], some: 3}}", None),
        ("{train: a.xyz, validation: none}", ("a.xyz",)),
    ],
)
def test_files_and_sections_may_be_mixed_and_are_written_as_they_are_read(data, files):
    config = parsed(data)
    assert config.data.files() == (files or ("a.xyz", "b.xyz", "c.xyz"))
    assert parse_config(dump_config(config), RunConfig) == config


def test_files_are_read_with_their_own_labels_and_the_others_with_those_of_the_section():
    own = {"energy": "E", "units": {"energy": "kcal/mol"}}
    config = DataConfig.model_validate(
        {
            "train": ["a.xyz", {"file": "b.xyz", "labels": own}, {"file": "c.xyz"}, "d.xyz"],
            "labels": {"energy": "dft"},
        }
    )
    groups = readings_of_files(config.train, config.labels)
    assert groups == [
        (("a.xyz", "c.xyz", "d.xyz"), Reading(LabelConfig(energy="dft"))),
        (("b.xyz",), Reading(LabelConfig.model_validate(own))),
    ]


def test_a_file_may_have_labels_of_two_levels_of_theory():
    pbe, scan = ({"labels": {"energy": name}, "head": name} for name in ("pbe", "scan"))
    sections = [{"file": "a.xyz", **pbe}, {"file": "a.xyz", **scan}]
    config = DataConfig.model_validate({"train": sections})
    groups = readings_of_files(config.train, config.labels)
    assert groups == [
        (("a.xyz",), Reading(LabelConfig(energy=head), head)) for head in ("pbe", "scan")
    ]


@pytest.mark.parametrize("name", ["room temperature", "300 K", "Ω≥0 (cold)", "a.b", "$x$", "[1]"])
def test_a_test_may_have_any_name_that_a_file_can_have(name):
    config = DataConfig.model_validate({"train": "a.xyz", "test": {name: "b.xyz"}})
    assert list(config.test) == [name]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{train: a.xyz, test: {a/b: c.xyz}}", "is part of a file name"),
        ("{train: a.xyz, test: {'..': c.xyz}}", "is part of a file name"),
        ("{train: a.xyz, test: {' a': c.xyz}}", "without blanks at the ends"),
        ("{train: a.xyz, test: {Train: c.xyz}}", "is the name of another set"),
        ("{train: a.xyz, test: {a: c.xyz, A: d.xyz}}", "differ in case alone"),
        ("{train: a.xyz, test: {300: c.xyz}}", "put it in quotes"),
        ("{train: [a.xyz, {fil: c.xyz}]}", r"data\.train\.1\.fil: .*did you mean 'file'"),
        ("{train: {file: a.xyz, labels: {enrgy: E}}}", r"data\.train\.labels\.enrgy"),
        ("{train: []}", "one file or a list of files"),
        ("{train: {file: a.xyz, labels: {tensors: {q: Q}}}}", "q: the model has no such tensor"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_key(data, message):
    with pytest.raises(ConfigError, match=message):
        parsed(data)


@pytest.mark.parametrize(
    "rest",
    ["training: {patience: 3}", "optimizer: {schedule: {name: plateau}}"],
)
def test_what_follows_the_validation_loss_needs_one(rest):
    with pytest.raises(ConfigError, match=r"data\.validation"):
        parsed("{train: a.xyz, validation: none}", rest)


def test_labels_of_tensors_reach_every_file():
    model: Any = {"name": "tensornet", "tensors": ["polarizability"]}
    section = {"train": ["a.xyz", {"file": "b.xyz", "labels": {"energy": "E"}}]}
    config = RunConfig.model_validate({"directory": "run", "model": model, "data": section})
    data = ResolvedRun.of(config).completed().data
    groups = readings_of_files(data.train, data.labels)
    assert [list(own.labels.tensors) for _, own in groups] == [["polarizability"]] * 2
