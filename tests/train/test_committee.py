"""Members of a committee are trained side by side as each would be alone."""

from pathlib import Path

import numpy as np
import pytest

from tensornet_jax.data.loader import batches
from tensornet_jax.models import MODELS
from tensornet_jax.models.parameter_paths import by_path
from tensornet_jax.potential.heads import with_head
from tensornet_jax.potential.members import members
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.runtime.devices import ONE_DEVICE
from tensornet_jax.runtime.precision import precision_scope
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.data.batches import TrainingBatches
from tensornet_jax.train.optimization.optimization import Optimization
from tensornet_jax.train.optimization.tables import tables_by_name
from tensornet_jax.train.preparation import PreparedRun, prepare
from tensornet_jax.train.reporting.result import TrainingResult
from tensornet_jax.train.run import train
from tensornet_jax.train.run_directory import RunDirectory
from tests.train.levels import PairFeatures, configured, sections_in
from tests.train.small import PairConfig, Recorder, clusters, find_row, same_bits

COMMITTEE = {"epochs": 3, "batch_size": 5, "committee": 3}
# Of another width than the stand-in without heads: shapes of a committee are kept by its settings.
WITH_HEADS = {"training": COMMITTEE, "model": {"name": "pairs", "width": 7}}


@pytest.fixture
def committee(run_config):
    return run_config("committee", training=COMMITTEE, dtype="float64", data={"validation": "none"})


def alone(config: ResolvedRun, prepared: PreparedRun, index: int) -> dict[str, np.ndarray]:
    """Return the averaged weights of one member after a run of its own."""
    member = members(prepared.potential)[index]
    training = config.training.model_copy(update={"committee": None})
    own = config.model_copy(update={"seed": config.seed + 2 * index, "training": training})
    data = TrainingBatches(own, prepared.examples.train, None)
    steps = data.plan.steps_per_epoch
    tables = tables_by_name(member.variables["params"])
    made = Optimization.from_config(own, member, prepared.terms, steps, tables, 1.0)
    state = made.start
    for _, _, shards in batches(data.plan, 0, own.training.epochs * steps, data.collate):
        graph, targets, replayed = ONE_DEVICE.shards(shards)
        state, _ = made.step(state, graph, targets, np.ones(()), replayed, None)
    return {path: np.asarray(leaf) for path, leaf in by_path(state.evaluated).items()}


def assert_members_as_alone(result: TrainingResult, config: ResolvedRun, folder: Path) -> None:
    directory = RunDirectory(folder)
    directory.path.mkdir()
    with precision_scope("float64"):
        prepared = prepare(config, directory, False, Recorder())
        for index, member in enumerate(members(result.potential)):
            expected = alone(config, prepared, index)
            found = by_path(member.variables["params"])
            assert found.keys() == expected.keys()
            for path, leaf in expected.items():
                np.testing.assert_allclose(found[path], leaf, rtol=1e-6, atol=1e-8, err_msg=path)


def test_each_member_has_the_weights_that_it_would_have_alone(committee, tmp_path):
    config = ResolvedRun.of(committee).completed()
    assert_members_as_alone(train(committee), config, tmp_path / "prepared")


@pytest.fixture
def heads(monkeypatch):
    """Take a model with read-outs for several heads for the stand-in."""
    monkeypatch.setitem(MODELS, "pairs", (PairConfig, PairFeatures))


@pytest.mark.usefixtures("heads", "no_plots")
def test_members_with_heads_have_the_weights_that_each_would_have_alone(tmp_path):
    run = configured(tmp_path, sections_in(tmp_path), "none", **WITH_HEADS)
    result, config = train(run), ResolvedRun.of(run).completed()
    assert result.potential.config.levels == ("strong", "weak")
    assert_members_as_alone(result, config, tmp_path / "prepared")


@pytest.mark.usefixtures("heads", "no_plots")
def test_a_committee_tells_its_errors_and_its_spread_head_by_head(tmp_path):
    run = configured(tmp_path, sections_in(tmp_path), **WITH_HEADS)
    result = train(run)
    rows = {(row.data_set, row.property) for row in result.rows}
    assert {(f"validation ({head})", "energy") for head in ("strong", "weak")} <= rows
    loaded = load_model(result.directory / "model.safetensors")
    frames = clusters(2, 3, periodic=True)
    for head in ("strong", "weak"):
        alone_of_head = with_head(loaded, head)
        found = alone_of_head.evaluate(frames, ("forces", "forces_std"))
        each = [m.evaluate(frames, ("forces",)) for m in members(alone_of_head)]
        for k, values in enumerate(found):
            several = np.array([member[k]["forces"] for member in each])
            spread = several.std(axis=0, ddof=1)
            assert spread.max() > 0
            np.testing.assert_allclose(values["forces_std"], spread, rtol=1e-6, atol=1e-10)


def test_one_file_and_one_report_have_the_mean_and_the_spread(run_config):
    reporter = Recorder()
    result = train(run_config("whole", training=COMMITTEE), reporter=reporter)
    potential = load_model(result.directory / "model.safetensors")
    assert potential.config.committee == 3
    assert "forces_std" in potential.properties
    # One program trains all, and one validates.
    assert result.facts.compilations <= 4
    report = (result.directory / "report" / "report.md").read_text(encoding="utf-8")
    assert "## How sure it is" in report
    assert (result.directory / "report" / "reliability.csv").exists()
    best = min(reporter.validation_rows, key=lambda row: row["loss"])
    row = find_row(result.rows, "validation", "forces")
    np.testing.assert_allclose(row.mae, best["forces_mae"], rtol=1e-4)


def test_a_resumed_committee_is_the_uninterrupted_one(run_config):
    whole = train(run_config("whole", training=COMMITTEE))
    first = {**COMMITTEE, "epochs": 1}
    train(run_config("pieces", training=first))
    pieces = train(run_config("pieces", training=COMMITTEE), resume=True)
    for name in ("params", "uncertainty"):
        found = (each.potential.variables[name] for each in (whole, pieces))
        assert same_bits(*found)


def test_what_a_committee_cannot_be_made_of_is_refused(run_config, trained, tmp_path):
    for sections, told in (
        ({"start": {"model": str(trained)}, "model": None}, "members differ by their random weig"),
        ({"training": {**COMMITTEE, "devices": 2}}, "a committee is trained on one device"),
    ):
        with pytest.raises(ValueError, match=told):
            run_config("refused", **{"training": COMMITTEE, **sections})
    with pytest.raises(ValueError, match=r"set training\.committee instead"):
        run_config("refused", model={"name": "pairs", "committee": 2})
