"""What `tensornet-jax uncertainty` has to do with any potential."""

from typing import TYPE_CHECKING

import ase.io
import numpy as np

from tensornet_jax.potential.model_file import load_model
from tests.seams.variants import molecules_with_errors

if TYPE_CHECKING:
    from tests.seams.setting import Setting


def uncertainty(setting: "Setting") -> None:
    """A potential is given standard deviations, and says for the rest what it said before."""
    frames = molecules_with_errors(setting.potential, 8)
    ase.io.write(setting.folder / "errors.xyz", frames, format="extxyz")
    files = ("model.safetensors", "errors.xyz", "sure.safetensors")
    setting.succeed("uncertainty", *files, "--force", *setting.head)
    sure, names = load_model(setting.folder / "sure.safetensors"), ("energy", "forces")
    (found,) = sure.evaluate(frames[0], (*names, "energy_std", "forces_std"))
    (expected,) = setting.expected(frames[:1])
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-10, atol=1e-10)
        assert (np.asarray(found[f"{name}_std"]) > 0).all()
