"""What is built of the repository: whole, without waste, and for the Pythons that are promised."""

import fnmatch
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tensornet_jax.version import __version__

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SDIST = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]
# What hatchling puts into every source distribution, and what belongs to a checkout alone.
ALWAYS = {"pyproject.toml", ".gitignore", "PKG-INFO"}
CHECKOUT = {".git"}
MEGABYTE = 1_000_000


def ignored(name: str) -> bool:
    patterns = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    return any(fnmatch.fnmatch(name, pattern.strip("/")) for pattern in patterns)


def test_the_source_distribution_has_all_that_tests_read():
    for entry in ROOT.iterdir():
        if not ignored(entry.name) and entry.name not in ALWAYS | CHECKOUT:
            assert f"/{entry.name}" in SDIST["include"], f"{entry.name} is not in the sdist"


def test_what_the_source_distribution_includes_exists():
    for name in SDIST["include"]:
        assert (ROOT / name.strip("/")).exists(), name


def test_type_checkers_of_users_see_the_annotations():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert (ROOT / "tensornet_jax" / "py.typed").is_file()
    assert not ignored("py.typed")
    assert wheel == {"packages": ["tensornet_jax"]}
    assert "/tensornet_jax" in SDIST["include"]


def test_large_results_of_benchmarks_stay_out():
    for path in (ROOT / "benchmarks").rglob("*"):
        if path.is_file() and path.stat().st_size > MEGABYTE:
            assert f"/{path.relative_to(ROOT).as_posix()}" in SDIST["exclude"]


def test_data_for_tests_are_small_and_say_where_they_are_from():
    folder = ROOT / "tests" / "data_files"
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    for path in files:
        assert path.stat().st_size < 0.3 * MEGABYTE, path
        assert not any(ignored(part) for part in path.relative_to(ROOT).parts), path
        home = next(parent for parent in path.parents if (parent / "README.md").exists())
        parts = path.relative_to(home).parts
        names = (path.name,) if len(parts) == 1 else (f"{parts[0]}/", f"{parts[-2]}/*{path.suffix}")
        described = (home / "README.md").read_text(encoding="utf-8")
        assert path.name == "README.md" or any(f"`{name}`" in described for name in names), path
    assert sum(path.stat().st_size for path in files) < 5 * MEGABYTE


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_pythons_that_scripts_look_for_are_those_that_are_promised(version):
    environment = (ROOT / "scripts" / "environment").read_text(encoding="utf-8")
    assert f"python{version}" in environment
    assert f"Programming Language :: Python :: {version}" in PROJECT["project"]["classifiers"]


def test_the_oldest_python_is_the_same_for_all_tools():
    tools, oldest = PROJECT["tool"], "3.11"
    assert PROJECT["project"]["requires-python"] == f">={oldest}"
    assert tools["pyright"]["pythonVersion"] == oldest
    assert tools["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"


def yaml(name: str) -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8"))


def test_one_version_is_told_everywhere():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version, date = re.findall(r"^## (\S+) \((\S+)\)$", changes, re.M)[0]
    cited = yaml("CITATION.cff")
    assert (version, date) == (cited["version"], str(cited["date-released"]))
    assert version == __version__


def test_public_checks_are_those_of_the_scripts():
    folder = ROOT / ".github" / "workflows"
    workflows = {path.stem: yaml(f".github/workflows/{path.name}") for path in folder.iterdir()}
    jobs = [job for workflow in workflows.values() for job in workflow["jobs"].values()]
    called = {step["run"].split()[0] for job in jobs for step in job["steps"] if "run" in step}
    assert called == {"scripts/test", "scripts/docs", "scripts/package"}
    assert all((ROOT / name).stat().st_mode & 0o100 for name in called)
    pythons = workflows["tests"]["jobs"]["tests"]["strategy"]["matrix"]["python"]
    promised = PROJECT["project"]["classifiers"]
    assert [f"Programming Language :: Python :: {each}" for each in pythons] == [
        each for each in promised if "Python ::" in each
    ]


def test_the_linter_is_the_same_before_a_commit_and_in_the_checks():
    (local,) = yaml(".pre-commit-config.yaml")["repos"]
    asked = {name for hook in local["hooks"] for name in hook["additional_dependencies"]}
    tools = PROJECT["project"]["optional-dependencies"]["test"]
    same = {name for name in asked if name.startswith(("ruff", "import-linter"))}
    assert len(same) == 2
    assert same <= set(tools)


def test_every_extra_is_on_the_page_about_installing():
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    for name in PROJECT["project"]["optional-dependencies"]:
        assert f"'.[{name}]'" in page, name
