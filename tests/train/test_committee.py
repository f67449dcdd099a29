"""Members of a committee are trained side by side as each would be alone."""

import numpy as np
import pytest

from tensornet_jax.data.loader import batches
from tensornet_jax.models.parameter_paths import by_path
from tensornet_jax.potential.members import members
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.runtime.devices import ONE_DEVICE
from tensornet_jax.runtime.precision import precision_scope
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.data.batches import TrainingBatches
from tensornet_jax.train.optimization.optimization import Optimization
from tensornet_jax.train.optimization.tables import tables_by_name
from tensornet_jax.train.preparation import PreparedRun, prepare
from tensornet_jax.train.run import train
from tensornet_jax.train.run_directory import RunDirectory
from tests.train.small import Recorder, find_row, same_bits

COMMITTEE = {"epochs": 3, "batch_size": 5, "committee": 3}


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


def test_each_member_has_the_weights_that_it_would_have_alone(committee, run_config, tmp_path):
    result = train(committee)
    config = ResolvedRun.of(committee).completed()
    directory = RunDirectory(tmp_path / "prepared")
    directory.path.mkdir()
    with precision_scope("float64"):
        prepared = prepare(config, directory, False, Recorder())
        for index, member in enumerate(members(result.potential)):
            expected = alone(config, prepared, index)
            found = by_path(member.variables["params"])
            assert found.keys() == expected.keys()
            for path, leaf in expected.items():
                np.testing.assert_allclose(found[path], leaf, rtol=1e-6, atol=1e-8, err_msg=path)


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
