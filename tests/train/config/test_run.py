"""The configuration of a training run: its defaults, and errors under the key that is wrong."""

import pytest

from tensornet_jax.config import ConfigError, config_schema, dump_config, parse_config
from tensornet_jax.models import MODELS
from tensornet_jax.train.config.optimizer import CosineSchedule, PlateauSchedule
from tensornet_jax.train.config.run import RunConfig

MINIMAL = "directory: runs/a\ndata:\n  train: a.xyz\n"


def error_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, RunConfig, source="c.yaml")
    return str(caught.value)


def test_the_minimal_run_has_all_defaults():
    config = parse_config(MINIMAL, RunConfig)
    assert config.data.train == ("a.xyz",)
    assert config.model == MODELS["tensornet"][0]()
    assert config.loss.energy is not None
    assert config.loss.forces is not None
    assert config.loss.stress is None
    assert isinstance(config.optimizer.schedule, CosineSchedule)


def test_dump_loads_to_an_equal_object():
    config = parse_config(
        MINIMAL
        + "  validation: [b.xyz, c.xyz]\n  test: {300K: t.xyz, held-out: 5}\n"
        + "  reference_energies: {H: -13.6, isolated: x}\n".replace(", isolated: x", "")
        + "model: {name: tensornet, heads: [energy, dipole], cutoff: 4.5}\n"
        + "loss: {forces: {kind: huber, delta: 1e-5}, dipole: {}}\n"
        + "optimizer: {schedule: {name: plateau}, epsilon: 1e-12, clip_norm: null}\n",
        RunConfig,
    )
    text = dump_config(config)
    assert parse_config(text, RunConfig) == config
    assert text.index("directory") < text.index("data:") < text.index("model:")


def test_schema_describes_every_section_and_the_models():
    schema = config_schema(RunConfig)
    assert set(schema["properties"]) == set(RunConfig.model_fields)
    assert "num_channels" in str(schema)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "model: {name: tensonet}",
            "model.name: unknown model 'tensonet'; did you mean 'tensornet'",
        ),
        ("model: {name: [a]}", "model.name: unknown model"),
        ("model: {cutoff: 5.0}", "model: a section with a name is needed: tensornet"),
        ("model: {name: tensornet, cutof: 5}", "model.cutof: unknown key 'cutof'; did you mean"),
        ("loss: {energy: null, forces: {weight: 0}}", "loss: no term is left"),
        ("loss: {energy: {kind: huber}}", "loss.energy: huber needs delta"),
        ("loss: {energy: {delta: 0.1}}", "loss.energy: delta has no meaning for mse"),
        ("loss: {dipole: {}}", "loss.dipole: needs the dipole head: add dipole to model.heads"),
        ("loss: {energy: {kind: rmse}}", "the text 'rmse' is not one of 'mse', 'mae' or 'huber'"),
        ("optimizer: {name: adam, weight_decay: 0.1}", "optimizer: adam has no weight decay"),
        ("optimizer: {betas: [0.9, 1]}", "optimizer.betas: both betas lie in [0, 1)"),
        ("optimizer: {schedule: {name: cosin}}", "optimizer.schedule: name 'cosin' is not one of"),
        (
            "optimizer: {schedule: {name: cosine, patience: 3}}",
            "optimizer.schedule.patience: unknown key",
        ),
        (
            "training: {epochs: 3}\noptimizer: {schedule: {name: cosine, warmup_epochs: 3}}",
            "c.yaml:5: optimizer.schedule.warmup_epochs: 3 must be less than training.epochs, 3",
        ),
        (
            "training: {epochs: 3, validate_every: 5}",
            "training.validate_every: 5 must not exceed training.epochs, 3",
        ),
        ("training: {batch_size: 0}", "training.batch_size: must be greater than 0"),
        ("dtype: float16", "dtype: the text 'float16' is not one of"),
        ("directory: again", "directory: given twice"),
    ],
)
def test_what_makes_no_sense_is_refused_under_its_key(text, told):
    assert told in error_of(MINIMAL + text)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("train: []", "data.train: one file or a list"),
        ("train: [a, 3]", "data.train.1: a path"),
        ("train: a\n  validation: 0", "data.validation: hold out at least 1"),
        ("train: a\n  validation: 1.0", "data.validation: a fraction lies between 0 and 1"),
        ("train: a\n  validation: true", "data.validation: a number of structures"),
        ("train: a\n  validation: 0.5\n  test: {x: 0.5}", "data: validation and test hold out"),
        ("train: a\n  test: {x: -1}", "data.test.x: hold out at least 1"),
        ("train: a\n  test: {../x: b}", "data.test.../x: is part of a file name"),
        ("train: a\n  test: {validation: b}", "data.test.validation: is the name of another set"),
        ("train: a\n  reference_energies: lstsq", "unknown kind of reference energies 'lstsq'"),
        ("train: a\n  reference_energies: {Hx: 1}", "'Hx' is not the symbol of an element"),
        ("train: a\n  reference_energies: {H: x}", "the energy of H must be a number"),
        ("validation: 3", "data.train: missing"),
    ],
)
def test_data_sections_that_make_no_sense_are_refused(data, told):
    assert told in error_of(f"directory: r\ndata:\n  {data}\n")


def test_files_lists_every_input():
    data = parse_config(
        "directory: r\ndata: {train: [a, b], validation: c, test: {x: d, y: 7}, "
        "reference_energies: {isolated_atoms: e}}",
        RunConfig,
    ).data
    assert data.files() == ("a", "b", "c", "d", "e")
    assert data.held_out() == {"y": 7}


def test_schedules_are_told_apart_by_name():
    text = MINIMAL + "optimizer: {schedule: {name: plateau, patience: 3}}"
    schedule = parse_config(text, RunConfig).optimizer.schedule
    assert schedule == PlateauSchedule(patience=3)
