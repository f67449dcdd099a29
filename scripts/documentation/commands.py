"""The page of all commands, from the command line itself."""

from collections.abc import Iterator
from typing import Any

import typer.main

from scripts.documentation.markdown import heading, one_line, table
from tensornet_jax.cli import app

NAME = "tensornet-jax"


def commands_page() -> str:
    """Return Markdown with a section for every command: what it does, arguments and options."""
    lines = [
        "# Commands",
        "",
        f"Every command has `--help`; `{NAME} --version` prints the version. What they "
        "work on is told in the [user guide](../data.md).",
        "",
    ]
    for words, command in leaves(typer.main.get_command(app), ()):
        lines += _section(words, command)
    return "\n".join(lines)


def leaves(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command that does something, with the words that call it."""
    children = getattr(command, "commands", {})
    if not children or getattr(command, "invoke_without_command", False):
        yield words, command
    for name, child in children.items():
        if not child.hidden:
            yield from leaves(child, (*words, name))


def _section(words: tuple[str, ...], command: Any) -> list[str]:
    name = " ".join((NAME, *words))
    context = command.context_class(command, info_name=name)
    usage = " ".join((name, *command.collect_usage_pieces(context)))
    text = " ".join((command.help or "").split())
    lines = [heading(2, " ".join(words)), "", text, "", "```text", usage, "```", ""]
    rows: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            names, told = record
            rows[parameter.param_type_name].append((f"`{one_line(names)}`", one_line(told)))
    for kind, found in rows.items():
        if found:
            lines += [*table((kind, "what"), found), ""]
    return lines
