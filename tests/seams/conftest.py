"""The command line, and the files of a case."""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from tensornet_jax.cli import app
from tests.seams.setting import Setting


@pytest.fixture(autouse=True, scope="module")
def programs_that_compile_quickly() -> Iterator[None]:
    """Compile without optimizing: each program runs a few times, and compiling is most of it."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def setting(request, tmp_path_factory) -> Iterator[Setting]:
    """Return a potential and structures in a folder of their own, and the command line there."""
    folder = tmp_path_factory.mktemp("seams")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(
            "tensornet_jax.runtime.compilation_cache.enable_compilation_cache", lambda: None
        )
        patch.setitem(os.environ, "COLUMNS", "200")
        # Panels are made of each potential's numbers; what a raster makes of them, others test.
        patch.setattr(Figure, "savefig", _touch)

        def cli(*arguments):
            for made in folder.glob("out.*"):
                made.unlink()
            return CliRunner().invoke(app, [str(argument) for argument in arguments])

        yield Setting.made(cli, folder, request.param)


def _touch(_: Figure, place: object, **options: object) -> None:
    """Make an empty file in place of a picture."""
    if isinstance(place, Path):
        place.touch()
