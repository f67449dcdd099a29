"""Fenced blocks of the documentation, and how each kind is run."""

import ast
import contextlib
import io
import re
import shlex
import textwrap
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import typer.main
from ruamel.yaml import YAML
from typer.core import TyperGroup
from typer.testing import CliRunner

from tensornet_jax.active.config import ActiveConfig
from tensornet_jax.cli import app
from tensornet_jax.config import load_config
from tensornet_jax.md.config import MDConfig
from tensornet_jax.train.config.run import RunConfig

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\S*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S
)
_REMARK = re.compile(r"<!-- (not run|only parsed|part of): ((?:(?!-->).)*) -->\s*\Z", re.S)
_SHELL = ("tensornet-jax ", "scripts/", "pip ", "python ", "mpiexec ")

# What a fragment of a configuration is part of; a page says so where it is not the whole.
_WHOLE: dict[str, Any] = {
    "directory": "runs/fragment",
    "data": {"train": "train.xyz"},
    "model": {"name": "tensornet"},
}


@dataclass(frozen=True)
class Block:
    """One fenced block, and what an HTML comment right before it says.

    `<!-- not run: why -->` leaves a block of Python alone but for what it imports;
    `<!-- only parsed: why -->` checks that commands and options exist;
    `<!-- part of: model -->` says where a fragment of YAML belongs.
    """

    page: Path
    line: int
    language: str
    text: str
    remark: str = ""
    reason: str = ""

    @property
    def name(self) -> str:
        """Where it is, for the names of tests."""
        return f"{self.page.name}:{self.line}:{self.language}"


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        body = textwrap.dedent(match["text"])
        language = match["language"] or ("bash" if body.lstrip("$ ").startswith(_SHELL) else "text")
        remark = _REMARK.search(text[: match.start()])
        line = text[: match.start()].count("\n") + 1
        kind, reason = ("", "") if remark is None else (remark[1], remark[2].strip())
        found.append(Block(page, line, language, body, kind, reason))
    return found


@dataclass
class Runner:
    """Runs the blocks of one page in order, in one folder and one namespace.

    Args:
        page: the page.
        folder: the directory to be in.
        names: what python blocks use without having made it, each made when it is first named.
        options: what is appended to a command, by its beginning.
    """

    page: Path
    folder: Path
    names: Mapping[str, Callable[[], Any]]
    options: Mapping[str, tuple[str, ...]]
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})
    errors: dict[int, BaseException | None] = field(default_factory=dict)

    def run(self, wanted: Block) -> None:
        """Run a block, and before it those of its page that have not run yet."""
        for block in blocks_of(self.page):
            if block.line <= wanted.line and block.line not in self.errors:
                self.errors[block.line] = None
                try:
                    self._run(block)
                except BaseException as error:  # told by the test of that block
                    self.errors[block.line] = error
        error = self.errors[wanted.line]
        if error is not None:
            raise error

    def _run(self, block: Block) -> None:
        if block.language == "python":
            self._python(block)
        elif block.language == "yaml":
            check_yaml(block, self.folder)
        elif block.language == "lammps":
            (self.folder / "in.lammps").write_text(block.text, encoding="utf-8")
        elif block.language in ("bash", "console", "sh"):
            for command, output in commands_of(block.text):
                run_command(command, output, self.options, parse_only=bool(block.remark))
        elif block.language != "text":
            raise AssertionError(f"{block.name}: write python, yaml, bash, lammps or text")

    def _python(self, block: Block) -> None:
        code = compile(block.text, block.name, "exec")
        if block.remark:
            check_imports(block.text)
            return
        for name, make in self.names.items():
            if name not in self.namespace and re.search(rf"\b{name}\b", block.text):
                self.namespace[name] = make()
        with contextlib.redirect_stdout(None):
            exec(code, self.namespace)


def check_imports(source: str) -> None:
    """Raise where a block imports from this package what is not there."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tensornet_jax"):
            module = import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


def check_yaml(block: Block, folder: Path) -> None:
    """Raise where a configuration, or the whole with this fragment in it, does not validate."""
    path = folder / f"block_{block.line}.yaml"
    path.write_text(block.text, encoding="utf-8")
    if block.remark == "not run":
        return
    text = block.text
    if block.remark == "part of":
        for key in reversed(block.reason.split(".")):
            text = f"{key}:\n{textwrap.indent(text, '  ')}"
    if re.search(r"^explore:", text, re.M):
        load_config(path, ActiveConfig)
        return
    if re.search(r"^structure:", text, re.M):
        load_config(path, MDConfig)
        return
    keys = set(re.findall(r"^(\w+):", text, re.M))
    whole = _WHOLE
    if "start" in keys or re.search(r"^ *replay:", text, re.M):
        # With a start the model's settings are those of the file.
        whole = {key: value for key, value in _WHOLE.items() if key != "model"}
        whole["start"] = {"model": "universal.safetensors"}
    path.write_text(merged(text, whole), encoding="utf-8")
    load_config(path, RunConfig)


def merged(text: str, whole: Mapping[str, Any]) -> str:
    """Return YAML with the sections and keys of `whole` that the text lacks."""
    yaml = YAML()
    document = yaml.load(text)

    def fill(section: Any, defaults: Mapping[str, Any]) -> None:
        for key, value in defaults.items():
            if key not in section:
                section[key] = value
            elif isinstance(value, Mapping) and isinstance(section[key], Mapping):
                fill(section[key], value)

    fill(document, whole)
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def commands_of(text: str) -> list[tuple[list[str], str | None]]:
    """Return the words of every command, and the file its output goes to."""
    commands = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words:
            output = None
            if ">" in words:
                words, output = words[: words.index(">")], words[-1]
            commands.append((words, output))
    return commands


def run_command(
    words: list[str],
    output: str | None,
    options: Mapping[str, tuple[str, ...]],
    parse_only: bool = False,
) -> None:
    """Run a command of ours; of others check that what they name exists."""
    if words[0] == "mpiexec":
        words = words[words.index("tensornet-jax") :]
    if words[0] == "tensornet-jax":
        if parse_only:
            parse_command(words[1:])
            return
        extra = next((more for start, more in options.items() if _begins(words[1:], start)), ())
        result = CliRunner().invoke(app, [*words[1:], *extra])
        assert result.exit_code == 0, f"{' '.join(words)}: {result.output}{result.exception!r}"
        if output is not None:
            Path(output).write_text(result.stdout, encoding="utf-8")
    elif words[:2] == ["pip", "install"]:
        check_extras(words[2:])
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), f"there is no {words[1]}"
    else:
        assert (ROOT / words[0]).is_file(), f"{words[0]}: neither a command nor a script of ours"


def _begins(words: list[str], start: str) -> bool:
    return words[: len(start.split())] == start.split()


def parse_command(words: list[str]) -> None:
    """Raise where there is no such command, or it has no such option."""
    command: Any = typer.main.get_command(app)
    while isinstance(command, TyperGroup):
        context = command.context_class(command)
        _, command, words = command.resolve_command(context, words)
    command.make_context(command.name, list(words))


def check_extras(words: list[str]) -> None:
    """Raise where an extra of this package that is installed is none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(r"(?:\.|tensornet_jax)\[([\w,]+)\]", " ".join(words)):
        unknown = set(extras.split(",")) - project["optional-dependencies"].keys()
        assert not unknown, f"there is no extra {unknown}"
