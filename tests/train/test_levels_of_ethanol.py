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
COUNT, TESTED, EPOCHS, BATCH = 60, 100, 60, 5
# Two runs with other random numbers differ by some percent.
MARGIN = 1.1


def trained(folder: Path, sections: list[dict[str, Any]], tests: dict[str, Any]) -> TrainingResult:
    settings = {
        "directory": str(folder),
        "data": {"train": sections, "validation": "none", "test": tests},
        "model": {"name": "tensornet", "num_channels": 24, "num_layers": 1, "num_radial": 16},
        "optimizer": {"learning_rate": 3e-3, "ema_decay": 0.95},
        "training": {"epochs": EPOCHS, "batch_size": BATCH},
    }
    return train(RunConfig.model_validate(settings))


@pytest.mark.slow
def test_a_head_is_not_worse_beside_another_than_alone_in_half_of_the_run(shared_data, tmp_path):
    sections, tests = [], {}
    for head, name, test, factor in (
        ("pbe", "rmd17_ethanol_pbe/train.xyz", "rmd17_ethanol_pbe/test_MD.xyz", 1.0),
        ("xtb", "ethanol_gfn2/train.xyz", "ethanol_gfn2/test.xyz", HARTREE),
    ):
        labels = {"units": {"energy": "Hartree" if factor != 1.0 else "eV"}}
        labels["units"]["length"] = "Å"
        paths = []
        for part, count in ((name, COUNT), (test, TESTED)):
            frames = ase.io.read(shared_data(part), f":{count}")
            paths.append(str(tmp_path / part.replace("/", "_")))
            for atoms in frames:
                assert atoms.calc is not None or "energy" in atoms.info
                energy = atoms.info.pop("energy", None) or atoms.get_potential_energy()
                forces = atoms.arrays.pop("forces", None)
                forces = atoms.get_forces() if forces is None else forces
                atoms.calc = None
                atoms.info["REF_energy"] = energy / factor
                atoms.arrays["REF_forces"] = forces / factor
            ase.io.write(paths[-1], frames)
        sections.append({"file": paths[0], "head": head, "labels": labels})
        tests[f"of {head}"] = {"file": paths[1], "head": head, "labels": labels}
    both = trained(tmp_path / "both", sections, tests)
    for section in sections:
        head = section["head"]
        own = f"of {head}"
        # As many epochs on half of the structures are half of the steps.
        alone = trained(tmp_path / head, [section], {own: tests[own]})
        for name in ("energy", "forces"):
            beside = find_row(both.rows, f"{own} ({head})", name).rmse
            assert beside < MARGIN * find_row(alone.rows, own, name).rmse, (head, name)
