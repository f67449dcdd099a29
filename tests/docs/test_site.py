"""The site is built without a warning, and its reference has every command and every setting."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
import typer.main

from scripts.documentation.commands import commands_page, leaves
from scripts.documentation.house import floors, house_svg
from scripts.documentation.settings import settings_page
from tensornet_jax.cli import app
from tensornet_jax.config import config_schema
from tensornet_jax.md.config import MDConfig
from tensornet_jax.train.config.run import RunConfig
from tests.docs.pages import ROOT

NEEDED = ("mkdocs", "material", "mkdocs_awesome_nav", "mkdocstrings_handlers")

# Sections that commands write into model files.
MADE = ("Compression",)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site as `scripts/docs` does."""
    for package in NEEDED:
        if find_spec(package) is None:
            pytest.skip("the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_pages_load_nothing_from_elsewhere(site):
    loads = re.compile(
        r"<(?:script|img|iframe)[^>]*\ssrc=\"(https?:[^\"]*)|<link[^>]*stylesheet[^>]*\shref=\"(https?:[^\"]*)"
    )
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        assert not loads.findall(page.read_text(encoding="utf-8")), page


def test_every_page_has_its_place_in_the_navigation(site):
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f'href="{page.stem}.html"' in home, f"{page.name} is missing in docs/.nav.yml"


def test_every_command_and_option_is_in_the_reference():
    page = commands_page()
    commands = list(leaves(typer.main.get_command(app), ()))
    assert len(commands) > 15
    for words, command in commands:
        section = re.split(r"^## ", page, flags=re.M)
        (own,) = [text for text in section if text.startswith(f"{' '.join(words)}\n")]
        for parameter in command.params:
            is_argument = parameter.param_type_name == "argument"
            for name in [parameter.metavar] if is_argument else parameter.opts:
                assert name == "--help" or name in own, f"{words}: {name}"


def test_every_command_is_in_the_table_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = "\n".join(re.findall(r"^\| `tensornet-jax .*$", readme, re.M))
    for words, _ in leaves(typer.main.get_command(app), ()):
        assert f"tensornet-jax {words[0]}" in table, words
        assert all(word in table for word in words), words


@pytest.mark.parametrize("schema", [RunConfig, MDConfig])
def test_every_setting_is_in_the_reference(schema):
    page = settings_page()
    names = set(_keys(config_schema(schema)))
    assert len(names) > 15
    for name in names:
        assert re.search(rf"^\| `{re.escape(name)}` +\|", page, re.MULTILINE), name


def _keys(schema: Any) -> Iterator[str]:
    """Yield the keys that a JSON schema allows users to set."""
    sections = {name: each for name, each in schema["$defs"].items() if name not in MADE}
    for section in (schema, *sections.values()):
        for name, described in section.get("properties", {}).items():
            if "set_by" not in described:
                yield name


def test_the_picture_has_every_room():
    rooms = {path.stem for path in (ROOT / "tensornet_jax").iterdir() if path.suffix == ".py"}
    rooms |= {path.parent.name for path in (ROOT / "tensornet_jax").glob("*/__init__.py")}
    drawn = {room for floor in floors(ROOT) for room in floor}
    assert drawn == rooms - {"__init__"}
    assert all(f">{room}</text>" in house_svg(ROOT) for room in drawn)
