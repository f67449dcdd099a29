import io
import math

from rich.console import Console

from tensornet_jax.cli.progress import TerminalReporter
from tensornet_jax.train.reporting.reporter import RunStart, StepReport

START = RunStart(
    directory="runs/[H]",
    num_train=40,
    num_validation=5,
    num_parameters=12345,
    start_step=10,
    steps_per_epoch=10,
    num_steps=100,
    batch_size=4,
    terms=("energy", "forces"),
    device="cpu",
)
ROW = {
    "epoch": 2.0,
    "step": 20,
    "loss": 0.125,
    "energy_per_atom_mae": 0.001,
    "energy_per_atom_rmse": 0.002,
    "forces_mae": 0.03,
    "forces_rmse": 0.04,
    "best": 1.0,
}


def step(number, loss=1.0):
    return StepReport(
        step=number,
        epoch=number / 10,
        structures=4,
        loss=loss,
        gradient_norm=1.0,
        learning_rate=1e-3,
        skipped=not math.isfinite(loss),
    )


def output_of(terminal):
    stream = io.StringIO()
    reporter = TerminalReporter(
        Console(file=stream, force_terminal=terminal, width=160, soft_wrap=True, no_color=True)
    )
    reporter.audit(["elements H", "forces 3"])
    reporter.start(START)
    for number in range(11, 21):
        reporter.step(step(number))
    reporter.step(step(21, math.nan))
    reporter.validation_row(ROW)
    reporter.message("learning rate [lowered]")
    reporter.close()
    return stream.getvalue()


def test_a_log_file_holds_lines_and_no_bar():
    text = output_of(terminal=False)
    assert "12,345 parameters" in text
    assert "run directory: runs/[H]" in text
    assert (
        "epoch 2: validation loss 0.125; MAE / RMSE energy per atom 1 / 2 meV/atom, "
        "forces 30 / 40 meV/Å" in text
    )
    assert text.count("\n*") == 0
    assert " *\n" in text
    assert "learning rate [lowered]" in text
    assert "\x1b" not in text


def test_a_terminal_shows_step_rate_and_a_loss_that_skipped_steps_leave_alone():
    text = output_of(terminal=True)
    assert "21/100" in text
    assert "structures/s" in text
    assert "loss 1 " in text
    assert "nan" not in text
