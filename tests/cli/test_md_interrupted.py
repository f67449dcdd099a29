"""Whatever ends a run of dynamics, and whoever else starts it, no finished frame is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ase.io
import h5py
import numpy as np
import pytest

from tensornet_jax.runtime.locks import exclusive

COMMAND = "from tensornet_jax.cli import app; app()"
SETTINGS = """
model: {model}
structure: {structure}
output: {output}
engine: {engine}
ensemble: {{name: langevin, temperature: {{start: 250, end: 350}}, friction: 0.02}}
steps: {steps}
interval: {interval}
formats: {formats}
plot: false
"""
PLANS = {
    "device": {"steps": 3000, "interval": 2, "formats": "[extxyz, traj, hdf5]"},
    "ase": {"steps": 1200, "interval": 2, "formats": "[extxyz, hdf5]"},
}


def write_config(folder: Path, model, structure, engine, output):
    path = folder / f"{output}.yaml"
    text = SETTINGS.format(
        model=model, structure=structure, engine=engine, output=output, **PLANS[engine]
    )
    path.write_text(text, encoding="utf-8")
    return path


def start(folder: Path, config: Path, *settings):
    environment = os.environ | {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        # JAX lowers it in the process of the tests, and XLA's messages would fill the pipe.
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return subprocess.Popen(
        [
            *(sys.executable, "-c", COMMAND, "md", config.name),
            *(part for each in settings for part in ("--set", each)),
        ],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows_of(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n") - 1 if path.exists() else 0


def contents(folder: Path, name: str, engine: str):
    """Return frames' steps, and everything that has to be the same to the last bit."""
    frames: Any = ase.io.read(folder / f"{name}.xyz", ":")
    found: dict[str, Any] = {"xyz": (folder / f"{name}.xyz").read_bytes()}
    found["log"] = (folder / f"{name}.csv").read_bytes()
    if engine == "device":
        finals: Any = ase.io.read(folder / f"{name}.traj", ":")
        found["traj"] = np.array([each.positions for each in finals])
    with h5py.File(folder / f"{name}.h5") as file:
        group: Any = file["000"]
        found |= {key: np.asarray(group[key]) for key in group}
    return [each.info["step"] for each in frames], found


@pytest.mark.parametrize("engine", PLANS)
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(
    cli, tmp_path, model, molecules, engine
):
    plan = PLANS[engine]
    assert cli("md", write_config(tmp_path, model, molecules, engine, "whole")).exit_code == 0
    config = write_config(tmp_path, model, molecules, engine, "killed")
    log, random = tmp_path / "killed.csv", np.random.default_rng()
    endings = ((signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGTERM, 143))
    reached = 0
    for number, (ending, code) in enumerate(endings):
        process = start(tmp_path, config, "restart_every=100")
        enough = plan["steps"] // plan["interval"] * (number + 1) // 5
        while process.poll() is None and rows_of(log) < enough:
            time.sleep(0.005)
        time.sleep(0.05 * random.random())
        process.send_signal(ending)
        _, message = process.communicate()
        assert process.returncode == code, message
        # A log of a killed run may end in the middle of a line; nothing before it goes.
        assert rows_of(log) >= max(enough - 1, reached)
        if ending is not signal.SIGKILL:
            assert "the same command goes on from there" in message
            assert f"up to step {plan['interval'] * (rows_of(log) - 1)};" in message
            reached = rows_of(log)
    process = start(tmp_path, config, "restart_every=100")
    _, message = process.communicate()
    assert process.returncode == 0, message
    steps, found = contents(tmp_path, "killed", engine)
    assert steps == list(range(0, plan["steps"] + 1, plan["interval"]))
    _, expected = contents(tmp_path, "whole", engine)
    for name, values in expected.items():
        if engine == "device":
            np.testing.assert_array_equal(found[name], values, err_msg=name)
        elif isinstance(values, np.ndarray):
            # Lists made anew sum in another order, and molecular dynamics is chaotic.
            np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("engine", PLANS)
def test_a_second_run_of_one_output_is_refused_and_touches_nothing(
    cli, tmp_path, model, molecules, engine
):
    config = write_config(tmp_path, model, molecules, engine, "md")
    (tmp_path / "md.xyz").write_text("of the first run", encoding="utf-8")
    with exclusive(tmp_path / "md.lock", "the output md", "wait"):
        for setting in ("seed=1", "resume=false"):
            result = cli("md", config, "--set", setting)
            assert result.exit_code == 2
            assert "the output md is in use: another process is writing to it" in result.stderr
    assert (tmp_path / "md.xyz").read_text(encoding="utf-8") == "of the first run"
    assert not (tmp_path / "md.csv").exists()


def test_engines_do_not_cut_or_overwrite_each_others_files(cli, tmp_path, model, molecules):
    def run(engine, *settings):
        config = write_config(tmp_path, model, molecules, engine, "md")
        sets = ("steps=4", "formats=[extxyz]", *settings)
        return cli("md", config, *(part for each in sets for part in ("--set", each)))

    def frames():
        return (tmp_path / "md.xyz").read_bytes()

    assert run("device").exit_code == 0
    before = frames()
    refused = run("ase")
    assert refused.exit_code == 2
    assert 'its engine is "device", not "ase"' in refused.stderr
    assert "resume: false, which overwrites" in refused.stderr
    assert frames() == before
    assert run("ase", "resume=false").exit_code == 0
    before = frames()
    refused = run("device", "steps=20")
    assert refused.exit_code == 2
    assert 'its engine is "ase", not "device"' in refused.stderr
    assert frames() == before
    (tmp_path / "md.restart").unlink()
    refused = run("ase")
    assert refused.exit_code == 2
    assert "md.xyz exists already, and there is no md.restart to go on from" in refused.stderr
    assert frames() == before


def test_a_run_interrupted_before_its_first_sample_says_so(
    cli, tmp_path, model, molecules, monkeypatch
):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tensornet_jax.md.engines.runners.run_chunk", interrupted)
    result = cli("md", write_config(tmp_path, model, molecules, "device", "md"))
    assert result.exit_code == 130
    assert "no sample has been written; the same command starts from the beginning" in result.stderr
    assert not list(tmp_path.glob("md.[!yl]*"))
