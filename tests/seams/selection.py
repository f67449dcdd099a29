"""What `tensornet-jax select` has to do with any potential."""

from typing import TYPE_CHECKING

import ase.io
import numpy as np

from tests.seams.variants import distorted_molecules, structure

if TYPE_CHECKING:
    from tests.seams.setting import Setting


def select(setting: "Setting") -> None:
    """Structures of several sizes are chosen, by deviations where there are some."""
    potential = setting.potential
    frames = [structure(potential, "crystal"), *distorted_molecules(potential, 4)]
    ase.io.write(setting.folder / "candidates.xyz", frames, format="extxyz")
    sure = "energy_std" in potential.properties
    for by in ("distance", *(("deviation", "determinant") if sure else ())):
        files = ("model.safetensors", "candidates.xyz", f"chosen-{by}.xyz")
        options = ("--count", 3, "--by", by, "--closest", 0, "--largest-force", 1e6)
        setting.succeed("select", *files, *options, *setting.head)
        chosen = setting.read(files[-1])
        assert len({atoms.info["selected_from"] for atoms in chosen}) == 3
        if by == "deviation":
            found = potential.evaluate(chosen, ("forces_std",))
            lengths = [np.linalg.norm(each["forces_std"], axis=1).max() for each in found]
            scores = [atoms.info["selected_score"] for atoms in chosen]
            np.testing.assert_allclose(scores, lengths, rtol=1e-6)
            assert scores == sorted(scores, reverse=True)
