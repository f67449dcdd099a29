"""Trackers get what the logs get, and are only needed by those who ask for them."""

import sys
import types

import pytest

from tensornet_jax.train.run import train


@pytest.mark.parametrize(
    ("logging", "extra"),
    [({"tensorboard": True}, "tensorboard"), ({"wandb": "project"}, "wandb")],
)
def test_a_missing_tracker_names_its_extra_before_anything_is_read(
    run_config, monkeypatch, logging, extra
):
    for name in ("tensorboardX", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"tensornet_jax\[{extra}\]"):
        train(run_config(logging=logging))


def test_trackers_get_the_rows_of_the_logs(run_config, monkeypatch, recorder):
    written, logged = [], []

    class Writer:
        def __init__(self, directory, purge_step):
            self.directory, self.purge_step = directory, purge_step

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def close(self):
            written.append("closed")

    class Run:
        id = "abc"

        def log(self, values, step):
            logged.append((values, step))

        def finish(self):
            logged.append("finished")

    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Writer))
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **_: Run()))
    config = run_config(logging={"tensorboard": True, "wandb": "p"}, training={"epochs": 2})
    train(config, reporter=recorder)
    last = recorder.validation_rows[-1]
    assert ("validation/loss", last["loss"], last["step"]) in written
    assert written[-1] == "closed"
    assert logged[0][0]["train/loss"] == recorder.train_rows[0]["loss"]
    assert logged[-1] == "finished"
