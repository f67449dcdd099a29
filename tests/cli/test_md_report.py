"""What `tensornet-jax md` says at the end is about all of a run."""

from pathlib import Path

import numpy as np
import pytest

from tensornet_jax.cli.md_report import Log, energy_drift, summary
from tensornet_jax.md import NVE, Langevin


def test_drift_is_the_slope_per_atom():
    times = np.linspace(0, 10, 50)
    assert energy_drift(times, -1e4 + 3e-3 * times, 9) == pytest.approx(1 / 3, rel=1e-6)


def test_the_summary_and_the_plot_cover_what_earlier_parts_of_a_run_have_written(md, molecules):
    settings = {"interval": 5, "replicas": 2, "timestep": 0.25}
    assert md(molecules, steps=10, **settings).exit_code == 0
    result = md(molecules, steps=20, **settings)
    assert "going on from step 10" in result.stdout
    log = Log.read(Path("md.csv"))
    assert log.times.tolist() == pytest.approx([0, 1.25e-3, 2.5e-3, 3.75e-3, 5e-3])
    assert log.total.shape == log.potential.shape == log.temperatures.shape == (5, 2)
    assert (log.total > log.potential).all()
    for line in summary(log, 3, NVE()):
        assert line in result.stdout
    assert "0.005 ps, temperature" in result.stdout
    again = md(molecules, steps=20, **settings)
    assert "all 20 steps are done" in again.stdout
    assert summary(log, 3, NVE())[1] in again.stdout
    assert len(summary(log, 3, Langevin())) == 1
