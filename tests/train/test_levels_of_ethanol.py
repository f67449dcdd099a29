"""Two levels of theory of one molecule: what a head learns beside another, and alone."""

from pathlib import Path
from typing import Any

import ase.io
import pytest

from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.reporting.result import TrainingResult
from tensornet_jax.train.run import train
from tests.train.small import find_row

HARTREE = 27.211386245988
TRAINED, TESTED, EPOCHS = 60, 100, 60
# Two runs with other random numbers differ by some percent.
MARGIN = 1.1


def some(source: Path, count: int, hartree: float, written: Path) -> str:
    """Write the first frames of a file with energies and forces in Hartree and Å."""
    frames = ase.io.read(source, f":{count}")
    assert isinstance(frames, list)
    for atoms in frames:
        atoms.info = {"total": atoms.get_potential_energy() / hartree}
        atoms.arrays["push"] = atoms.get_forces() / hartree
        atoms.calc = None
    ase.io.write(written, frames)
    return str(written)


def trained(folder: Path, train_on: list[dict[str, Any]], tests: dict[str, Any]) -> TrainingResult:
    settings = {
        "directory": str(folder),
        "data": {"train": train_on, "validation": "none", "test": tests},
        "model": {"name": "tensornet", "num_channels": 24, "num_layers": 1, "num_radial": 16},
        "optimizer": {"learning_rate": 3e-3, "ema_decay": 0.95},
        "training": {"epochs": EPOCHS, "batch_size": 5},
    }
    return train(RunConfig.model_validate(settings))


@pytest.mark.slow
def test_a_head_is_not_worse_beside_another_than_alone_in_half_of_the_run(shared_data, tmp_path):
    train_on, tests = [], {}
    for head, names, unit in (
        ("pbe", ("rmd17_ethanol_pbe/train.xyz", "rmd17_ethanol_pbe/test_MD.xyz"), "eV"),
        ("xtb", ("ethanol_gfn2/train.xyz", "ethanol_gfn2/test.xyz"), "Hartree"),
    ):
        labels = {"energy": "total", "forces": "push", "units": {"energy": unit}}
        factor = HARTREE if unit == "Hartree" else 1.0
        for name, count in zip(names, (TRAINED, TESTED), strict=True):
            path = some(shared_data(name), count, factor, tmp_path / f"{head}_{count}.xyz")
            section = {"file": path, "head": head, "labels": labels}
            if count == TRAINED:
                train_on.append(section)
            else:
                tests[head] = section
    both = trained(tmp_path / "both", train_on, tests)
    for section in train_on:
        head = section["head"]
        # As many epochs on half of the structures are half of the steps.
        alone = trained(tmp_path / head, [section], {head: tests[head]})
        for name in ("energy", "forces"):
            beside = find_row(both.rows, f"{head} ({head})", name).rmse
            assert beside < MARGIN * find_row(alone.rows, head, name).rmse, (head, name)
