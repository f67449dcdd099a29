"""A commented YAML file with every setting of a configuration section."""

import io
import textwrap
from collections.abc import Iterator, Mapping
from typing import get_args

from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from tensornet_jax.config import NOT_SET_BY_USERS, TOLD_IN_WORDS, Config

INDENT = "  "
WIDTH = 92


def config_template(schema: type[Config], given: Mapping[str, object] | None = None) -> str:
    """Return YAML with all defaults but what is given, each under a comment on what it is.

    Required fields take the first of their `examples`. A section that may be chosen among several
    or left out is followed by the other choices as comments: in one line, or at length where a
    setting has no default.
    """
    return "\n".join(_section(_example(schema, given or {}), "")) + "\n"


def _example(schema: type[Config], given: Mapping[str, object]) -> Config:
    required = {name: f for name, f in schema.model_fields.items() if f.is_required()}
    return schema.model_validate(
        {
            name: field.examples[0] if field.examples else _example(sections_of(field)[0], {})
            for name, field in required.items()
        }
        | dict(given)
    )


def _section(section: Config, indent: str) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        if (field.json_schema_extra or {}) == NOT_SET_BY_USERS:
            continue
        value = getattr(section, name)
        if isinstance(value, tuple) and len(value) == 1 and isinstance(value[0], Config):
            # A list of sections of which one is enough takes it as it is.
            (value,) = value
        if not indent:
            yield ""
        if field.description:
            width = WIDTH - len(indent)
            yield from (f"{indent}# {line}" for line in textwrap.wrap(field.description, width))
        if isinstance(value, Config):
            yield f"{indent}{name}:"
            yield from _section(value, indent + INDENT)
        else:
            yield f"{indent}{name}: {inline_yaml(section.model_dump(mode='json')[name])}"
        told = field.json_schema_extra == TOLD_IN_WORDS
        others = [] if told else [s for s in sections_of(field) if not isinstance(value, s)]
        for other in others:
            yield from _choice(name, _example(other, {}), indent, in_list=isinstance(value, tuple))


def _choice(name: str, section: Config, indent: str, *, in_list: bool) -> Iterator[str]:
    fields = type(section).model_fields
    if not any(field.is_required() for field in fields.values()):
        hidden = {
            key for key, field in fields.items() if field.json_schema_extra == NOT_SET_BY_USERS
        }
        content = section.model_dump(mode="json", exclude=hidden)
        yield f"{indent}# or {name}: {inline_yaml([content] if in_list else content)}"
        return
    yield f"{indent}# or {name}:"
    yield from (f"{indent}# {line}".rstrip() for line in _section(section, INDENT))


def sections_of(field: FieldInfo) -> list[type[Config]]:
    """Return the sections a field's annotation allows: itself, or the members of a union."""
    found, pending = [], [field.annotation]
    while pending:
        annotation = pending.pop(0)
        if isinstance(annotation, type) and issubclass(annotation, Config):
            found.extend(annotation.choices())
        pending.extend(get_args(annotation))
    return found


def inline_yaml(value: object) -> str:
    """Return a value as YAML in one line."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = True
    yaml.width = 10_000
    yaml.sort_base_mapping_type_on_output = False  # pyright: ignore[reportAttributeAccessIssue]
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue().removesuffix("...\n").rstrip("\n")
