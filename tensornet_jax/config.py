"""Configuration: immutable sections read from YAML 1.2, with errors that name file, line and key.

A mistyped key or a quoted number must stop a run before it starts, so every section forbids
unknown keys and converts nothing but an integer to a float and a list to a tuple.
"""

import difflib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

import pydantic
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
)
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

KeyPath = tuple[str | int, ...]

# Sections within sections; the loader works by recursion.
DEEPEST = 32
# Marks a field that commands write and nobody sets by hand: `config template` leaves it out.
NOT_SET_BY_USERS: JsonDict = {"set_by": "tensornet_jax"}
# Marks a field whose description says enough: `config template` does not show its other sections.
TOLD_IN_WORDS: JsonDict = {"template": "in words"}


class ConfigError(ValueError):
    """A configuration that cannot be used; the text lists every problem with its place."""


class Config(pydantic.BaseModel):
    """An immutable section of a configuration file; an unknown key is an error.

    Sequences are declared as tuples, so that a validated section cannot be changed; a list given
    for one is taken over as a tuple. Types are strict: text is never read as a number, a boolean
    never as an integer. NaN and infinity are refused.
    """

    model_config = pydantic.ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        protected_namespaces=(),
    )

    @classmethod
    def choices(cls) -> "tuple[type[Config], ...]":
        """Return the sections that may stand where this one is declared: itself, or a registry."""
        return (cls,)

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _explain_errors(
        cls, value: object, handler: pydantic.ModelWrapValidatorHandler[Self]
    ) -> Self:
        try:
            return handler(_lists_to_tuples(value))
        except pydantic.ValidationError as error:
            known = tuple(cls.model_fields)
            details = [_explained(detail, known) for detail in error.errors()]
            raise pydantic.ValidationError.from_exception_data(error.title, details) from None


SchemaT = TypeVar("SchemaT", bound=Config)


def load_config(path: str | Path, schema: type[SchemaT], overrides: Sequence[str] = ()) -> SchemaT:
    """Read a YAML 1.2 file, apply overrides, and return the validated `schema`.

    Args:
        path: the file.
        schema: the Config class that the file's top level must satisfy.
        overrides: `key.sub=value` each, the value in YAML; later ones win.

    Raises:
        ConfigError: the file cannot be read, is not YAML, has a key twice, or does not validate.
            Every problem is listed as `file:line: dotted.key: what is wrong; remedy`.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file (current directory {Path.cwd()})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error.reason}): save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_config(text, schema, overrides, source=str(path))


def parse_config(
    text: str, schema: type[SchemaT], overrides: Sequence[str] = (), source: str = "<text>"
) -> SchemaT:
    """Validate YAML text as `schema`; see `load_config`. `source` is the name errors give it."""
    data, lines = _read_yaml(text, source)
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise ConfigError(f"{source}:1: a mapping of keys to values is needed, not {_shown(data)}")
    origins = {path: f"{source}:{line}" for path, line in lines.items()}
    for override in overrides:
        path = _apply_override(data, override)
        origins[path] = f"--set {override}"
    try:
        return schema.model_validate(data)
    except pydantic.ValidationError as error:
        problems: dict[str, list[str]] = {}
        for detail in error.errors():
            path = _path_in(data, detail["loc"], keep_last=detail["type"] == "missing")
            key = ".".join(map(str, path))
            place = ": ".join(filter(None, (_origin(path, origins, source), key)))
            text = _explanation(detail, tuple(schema.model_fields))
            problems.setdefault(place, []).append(text)
    raise ConfigError(
        "\n".join(f"{place}: {', or '.join(texts)}" for place, texts in problems.items())
    )


def dump_config(config: Config) -> str:
    """Return the YAML text of a section, defaults included; it loads to an equal object."""
    stream = io.StringIO()
    yaml = _yaml()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # pyright: ignore[reportAttributeAccessIssue]
    yaml.dump(config.model_dump(mode="json"), stream)
    return stream.getvalue()


def config_schema(schema: type[Config]) -> JsonSchemaValue:
    """Return the JSON schema of a section, for editors that check YAML while it is typed."""
    return schema.model_json_schema()


def unknown_name(name: object, known: Sequence[str], what: str) -> str:
    """Return the text of an error about `name`, with the nearest of the `known` names."""
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {what} {name!r}; {hint}Known: {', '.join(known)}"


def problem_at(path: KeyPath, text: str) -> pydantic.ValidationError:
    """Return the error for a validator to raise about the key at `path` below its own section."""
    kind = PydanticCustomError("inconsistent", "{explanation}", {"explanation": text})
    detail = InitErrorDetails(type=kind, loc=path, input=None)
    return pydantic.ValidationError.from_exception_data("configuration", [detail])


# --- reading ---------------------------------------------------------------------------------


def _yaml() -> YAML:
    # The pure safe loader is the one that follows YAML 1.2 (`1e-3` is a number, `No` is text) and
    # constructs nothing but plain data.
    return YAML(typ="safe", pure=True)


def _read_yaml(text: str, source: str) -> tuple[object, dict[KeyPath, int]]:
    """Return the plain data and the line, from 1, of every key and list item."""
    try:
        depth = 0
        for event in _yaml().parse(text):
            line = event.start_mark.line + 1
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > DEEPEST:
                raise ConfigError(f"{source}:{line}: nested too deeply to be a configuration")
            if isinstance(event, AliasEvent):
                # A few lines of nested aliases expand to gigabytes, and no section needs one.
                raise ConfigError(f"{source}:{line}: aliases are not accepted: write the value out")
            if isinstance(event, DocumentStartEvent) and event.version not in (None, (1, 2)):
                # Under 1.1 `No` is a boolean and `1e-3` is text.
                raise ConfigError(f"{source}:{line}: YAML 1.2 is needed: remove the %YAML line")
        lines: dict[KeyPath, int] = {}
        problems = list(_duplicates(_yaml().compose(text), (), lines, source))
        if problems:
            raise ConfigError("\n".join(problems))
        return _yaml().load(text), lines
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{source}:{line}: not valid YAML: {error.problem}") from None
    except YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from None


def _duplicates(
    node: Node | None, path: KeyPath, lines: dict[KeyPath, int], source: str
) -> Iterator[str]:
    """Note the line of everything below `node` in `lines`; yield a text for each repeated key."""
    if isinstance(node, MappingNode):
        for key_node, value_node in node.value:
            here = (*path, key_node.value) if isinstance(key_node.value, str) else path
            line = key_node.start_mark.line + 1
            if here in lines and here != path:
                yield (
                    f"{source}:{line}: {'.'.join(map(str, here))}: given twice, first on line "
                    f"{lines[here]}; keep one"
                )
            lines.setdefault(here, line)
            yield from _duplicates(value_node, here, lines, source)
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            yield from _duplicates(item, (*path, index), lines, source)


def _apply_override(data: dict[str, object], override: str) -> KeyPath:
    """Set one `key.sub=value` in `data` and return its path."""
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise ConfigError(f"--set {override}: write key.sub=value")
    value, _ = _read_yaml(text, f"--set {override}")
    section = data
    for depth, name in enumerate(path[:-1], start=1):
        below = section.get(name)
        if below is None:
            below = section[name] = {}
        if not isinstance(below, dict):
            raise ConfigError(
                f"--set {override}: {'.'.join(path[:depth])} is {_shown(below)}, which has no "
                "keys below it"
            )
        section = below
    section[path[-1]] = value
    return path


# --- explaining ------------------------------------------------------------------------------

_NEEDED = {
    "float_type": "a number",
    "finite_number": "a finite number",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a section of keys and values",
    "model_type": "a section of keys and values",
    "model_attributes_type": "a section of keys and values",
}


def _lists_to_tuples(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _lists_to_tuples(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_lists_to_tuples(item) for item in value)
    return value


def _explained(detail: ErrorDetails, known: Sequence[str]) -> InitErrorDetails:
    """Return pydantic's error with its text replaced by `_explanation`."""
    context = {"explanation": _explanation(detail, known)}
    return InitErrorDetails(
        # The type is one of pydantic's own literals, which its stubs do not say.
        type=PydanticCustomError(
            detail["type"],  # pyright: ignore[reportArgumentType]
            "{explanation}",
            context,
        ),
        loc=detail["loc"],
        input=detail["input"],
    )


def _explanation(detail: ErrorDetails, known: Sequence[str]) -> str:
    """Return pydantic's error in plain words that end in the remedy."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if "explanation" in context:
        return context["explanation"]
    if kind == "extra_forbidden":
        return unknown_name(detail["loc"][-1], known, "key")
    if kind == "missing":
        return "missing; it has no default, so it must be given"
    if kind in _NEEDED:
        quoted = kind.startswith(("float", "int")) and isinstance(value, str) and _is_number(value)
        remedy = ": remove the quotes" if quoted else ""
        remedy = ": put it in quotes" if kind == "string_type" else remedy
        return f"{_NEEDED[kind]} is needed, not {_shown(value)}{remedy}"
    if kind == "literal_error":
        return f"{_shown(value)} is not one of {context['expected']}"
    if kind == "union_tag_invalid":
        return f"name {context['tag']!r} is not one of {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return "name is missing: it says which kind of section this is"
    if kind == "value_error":
        return str(context["error"])
    text = detail["msg"].replace("Input should", "must").replace("Value should", "must")
    return f"{text}, not {_shown(value)}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f"the text {value!r}"
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a section"
    if isinstance(value, list | tuple):
        return "a list"
    return repr(value)


def _path_in(data: object, location: Sequence[str | int], *, keep_last: bool) -> KeyPath:
    """Return `location` without the union labels pydantic puts between the keys of `data`."""
    path: list[str | int] = []
    for depth, part in enumerate(location, start=1):
        items = _items(data)
        if part in items:
            data = items[part]
        elif not (keep_last and depth == len(location)):
            continue
        path.append(part)
    return tuple(path)


def _items(section: object) -> Mapping[object, object]:
    """Return the keys of a mapping, or the places of a list, with what stands there."""
    if isinstance(section, list):
        return dict(enumerate(section))
    return section if isinstance(section, Mapping) else {}


def _origin(path: KeyPath, origins: dict[KeyPath, str], source: str) -> str:
    """Return where `path`, or else the nearest section around it, was written."""
    for end in range(len(path), 0, -1):
        if path[:end] in origins:
            return origins[path[:end]]
    return source
