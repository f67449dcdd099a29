"""Several devices take the steps of one, whatever their number, and in whatever pieces."""

import signal
from pathlib import Path

import numpy as np
import pytest

from tests.text import squeezed
from tests.train.devices.pieces import Piece
from tests.train.devices.starting import assert_agree, make_run, output_of, result_of, start

REPLAY = (
    "start={{model: {one}/run/model.safetensors}}",
    "data.replay={{train: {one}/data.xyz, validation: 4, batch_size: 3, weight: 0.5}}",
    "model=null",
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Return a folder with runs on 1, 2 and 8 devices, in pieces, and with a replay set."""
    folder = tmp_path_factory.mktemp("devices")
    names = ("one", "two", "eight", "pieces", "replay_one", "replay_eight")
    runs = {name: str(make_run(folder / name)) for name in names}
    replay = tuple(text.format(one=runs["one"]) for text in REPLAY)
    interrupt = int(signal.SIGINT)
    pieces = [
        Piece(runs["one"], 1),
        Piece(runs["two"], 2),
        Piece(runs["eight"], "all"),
        Piece(runs["pieces"], 8, interrupt, after=4),
        Piece(runs["pieces"], 2, interrupt, after=8),
        Piece(runs["pieces"], 1),
        Piece(runs["replay_one"], 1, overrides=replay),
        Piece(runs["replay_eight"], 8, overrides=replay),
    ]
    output = output_of(start(pieces, folder / "cache", devices=8))
    assert "leaves some of 8 devices without a structure" in output
    return folder


@pytest.mark.parametrize("name", ["two", "eight"])
def test_steps_and_errors_are_those_of_one_device(folders, name):
    assert len(result_of(folders / name)["losses"]) == 12
    assert_agree(folders / name, folders / "one", 1e-12)


def test_a_run_goes_on_with_other_numbers_of_devices(folders):
    assert len(result_of(folders / "pieces")["losses"]) in (3, 4)
    assert_agree(folders / "pieces", folders / "one", 1e-12)


def test_replayed_structures_keep_a_mean_of_their_own(folders):
    assert_agree(folders / "replay_eight", folders / "replay_one", 1e-12)


def test_the_report_says_what_padding_the_division_costs(folders):
    shares = {name: result_of(folders / name)["padding"] for name in ("one", "eight")}
    assert (shares["one"] < shares["eight"]).all()
    report = squeezed((folders / "eight" / "run" / "report" / "report.md").read_text())
    assert f"| padding | {shares['eight'][0]:.1%} of atoms" in report
    assert "| device | 8 × cpu |" in report


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
def test_fifty_steps_agree(tmp_path, dtype, tolerance):
    runs = {n: make_run(tmp_path / str(n), dtype, epochs=17) for n in (1, 2, 4, 8)}
    pieces = [Piece(str(folder), n) for n, folder in runs.items()]
    output_of(start(pieces, tmp_path / "cache", devices=8))
    for n in (2, 4, 8):
        assert_agree(runs[n], runs[1], tolerance)
    assert np.isfinite(result_of(runs[8])["losses"]).all()
