"""What `tensornet-jax uncertainty` has to do with any potential."""

from typing import TYPE_CHECKING

import ase.io
import numpy as np

from tensornet_jax.potential.model_file import load_model
from tests.seams.variants import distorted_molecules, put_wrong_labels

if TYPE_CHECKING:
    from tests.seams.setting import Setting


def uncertainty(setting: "Setting") -> None:
    """A potential is given standard deviations, and says for the rest what it said before.

    Two structures are packed together everywhere, so that few programs are compiled.
    """
    frames = distorted_molecules(setting.potential, 8)
    put_wrong_labels(frames, setting.expected(frames))
    ase.io.write(setting.folder / "errors.xyz", frames, format="extxyz")
    files = ("model.safetensors", "errors.xyz", "sure.safetensors")
    setting.succeed("uncertainty", *files, "--force", "--batch-size", 2, *setting.head)
    sure, names = load_model(setting.folder / "sure.safetensors"), ("energy", "forces")
    pair = frames[:2]
    results = sure.evaluate(pair, (*names, "energy_std", "forces_std"), batch_size=2)
    for found, expected in zip(results, setting.expected(pair), strict=True):
        for name in names:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-10, atol=1e-10)
            assert (np.asarray(found[f"{name}_std"]) > 0).all()
