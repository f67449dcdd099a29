"""What README and documentation tell people to write works, block by block."""

import os
import sys
from typing import Any

import pytest

from tensornet_jax import properties
from tensornet_jax.data.formats.registry import FORMATS
from tensornet_jax.md.engines.registry import ENGINES
from tensornet_jax.md.ensembles.registry import ENSEMBLES
from tensornet_jax.models import MODELS
from tensornet_jax.runtime.quiet_imports import e3nn_jax  # noqa: F401 (pages import it as their readers do)
from tests.docs.files import NAMES, OPTIONS, make_files
from tests.docs.pages import PAGES, Runner, blocks_of, commands_of, parse_command

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
# Those that need another program, a GPU, several processes or minutes. One more is a decision, not
# an accident.
MOST_NOT_RUN = 16
# What blocks may add to, for the tests that come after in the same process.
REGISTRIES: tuple[dict[str, Any], ...] = (MODELS, ENGINES, ENSEMBLES, FORMATS, properties._rows)


@pytest.fixture(scope="module")
def runners(tmp_path_factory):
    """Return a function that gives the runner of a page, made when it is first asked for."""
    found: dict[str, Runner] = {}

    def runner(page) -> Runner:
        if page.name not in found:
            folder = tmp_path_factory.mktemp(page.stem)
            make_files(page.name, folder)
            names = NAMES["*"] | NAMES.get(page.name, {})
            found[page.name] = Runner(page, folder, names, OPTIONS)
        return found[page.name]

    return runner


@pytest.fixture
def as_for_a_reader(monkeypatch, tmp_path):
    """Keep what blocks change of the process to themselves."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "tensornet_jax.runtime.compilation_cache.enable_compilation_cache", lambda: None
    )
    monkeypatch.setitem(os.environ, "COLUMNS", "200")
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    registered = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, rows in zip(REGISTRIES, registered, strict=True):
        registry.clear()
        registry.update(rows)
    for name in set(sys.modules) - before:
        if name == "exported_potential":
            del sys.modules[name]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_the_block_does_what_its_page_says(block, runners, as_for_a_reader, monkeypatch):
    runner = runners(block.page)
    monkeypatch.chdir(runner.folder)
    runner.run(block)


def test_what_is_not_run_says_why_and_is_little():
    unrun = [block for block in BLOCKS if block.remark in ("not run", "only parsed")]
    assert all(len(block.reason) > 5 for block in unrun)
    assert len(unrun) <= MOST_NOT_RUN, [block.name for block in unrun]


def test_commands_are_read_as_a_shell_reads_them():
    text = "$ tensornet-jax train a.yaml \\\n  --set x=1  # why\n\ntensornet-jax models > all\n"
    assert commands_of(text) == [
        (["tensornet-jax", "train", "a.yaml", "--set", "x=1"], None),
        (["tensornet-jax", "models"], "all"),
    ]


@pytest.mark.parametrize(
    "words", [["trian", "a.yaml"], ["train", "a.yaml", "--sett", "x=1"], ["train"]]
)
def test_a_command_or_an_option_that_does_not_exist_is_noticed(words):
    with pytest.raises(Exception, match=r"No such|Missing parameter"):
        parse_command(words)
