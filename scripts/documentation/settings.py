"""The page of all settings of a YAML file, from the classes that validate it."""

from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from scripts.documentation.markdown import heading, one_line, table
from tensornet_jax.active.config import ActiveConfig
from tensornet_jax.cli.template import inline_yaml, sections_of
from tensornet_jax.config import NOT_SET_BY_USERS, Config
from tensornet_jax.md.config import MDConfig
from tensornet_jax.models import MODELS
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.train.config.run import RunConfig

PLAIN: Mapping[object, str] = {
    float: "number",
    int: "integer",
    str: "text",
    bool: "`true`, `false`",
    type(None): "`null`",
}
BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def settings_page() -> str:
    """Return Markdown with a table for every section of a configuration."""
    lines = [
        "# Settings",
        "",
        "Every key of the three kinds of YAML files. `tensornet-jax config template` writes them "
        "with their defaults, `tensornet-jax config validate` checks a file, and `tensornet-jax "
        "config schema` gives a JSON schema to editors. A key that does not exist, or a value of "
        "another type, causes an error with the line. On the command line keys of sections are "
        "written with dots: `--set training.epochs=100`.",
        "",
    ]
    for title, schema, intro in (
        ("Training", RunConfig, "`tensornet-jax train CONFIG`: [guide](../training.md)."),
        ("Dynamics", MDConfig, "`tensornet-jax md CONFIG`: [guide](../molecular_dynamics.md)."),
        ("Loops", ActiveConfig, "`tensornet-jax active CONFIG`: [guide](../active.md)."),
    ):
        lines += [heading(2, title), "", intro, ""]
        for path, section in _sections(schema, ""):
            lines += _section(title.lower(), path, section)
    return "\n".join(lines)


def _sections(schema: type[Config], path: str) -> list[tuple[str, type[Config]]]:
    """Return a section and all below it, each once, under the shortest key it stands under."""
    found: dict[type[Config], tuple[tuple[int, ...], str]] = {}
    pending: list[tuple[tuple[int, ...], str, type[Config]]] = [((), path, schema)]
    while pending:
        place, path, section = pending.pop(0)
        if section in found:
            continue
        found[section] = place, path
        for k, (name, field) in enumerate(_fields(section).items()):
            inside = f"{path}.{name}" if path else name
            below = enumerate(_below(field))
            pending += [((*place, k, m), inside, each) for m, each in below]
    return [(path, section) for section, (_, path) in sorted(found.items(), key=_place)]


def _place(item: tuple[type[Config], tuple[tuple[int, ...], str]]) -> tuple[int, ...]:
    return item[1][0]


def _below(field: FieldInfo) -> list[type[Config]]:
    """Return the sections that a field may have, with all models where one is meant."""
    found = sections_of(field)
    models = [config for config, _ in MODELS.values()]
    return [*found, *models] if ModelConfig in found else found


def _fields(section: type[Config]) -> dict[str, FieldInfo]:
    """Return the fields that users set; of a model those that not every model has."""
    common = (
        ModelConfig.model_fields if section in {config for config, _ in MODELS.values()} else ()
    )
    return {
        name: field
        for name, field in section.model_fields.items()
        if field.json_schema_extra != NOT_SET_BY_USERS and (name == "name" or name not in common)
    }


def _section(part: str, path: str, section: type[Config]) -> list[str]:
    fields = _fields(section)
    kind = _name_of(fields)
    title = f"`{path}`" + (f": `{kind}`" if kind else "") if path else "Top level"
    about = " ".join((section.__doc__ or "").split())
    anchor = "-".join(filter(None, (part, path.replace(".", "-"), kind or section.__name__)))
    rows = [
        (f"`{name}`", kind_of(field), _default(field), one_line(field.description or ""))
        for name, field in fields.items()
    ]
    header = ("key", "value", "default", "what")
    return [heading(3, title, anchor.lower()), "", about, "", *table(header, rows), ""]


def _name_of(fields: Mapping[str, FieldInfo]) -> str:
    """Return the name that chooses this section among others, if one does."""
    choices = get_args(fields["name"].annotation) if "name" in fields else ()
    return str(choices[0]) if len(choices) == 1 else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Config):
        name = getattr(value, "name", "")
        return f"`{name}`" if name else "its defaults"
    if isinstance(value, tuple) and any(isinstance(item, Config) for item in value):
        return "its defaults"
    return one_line(f"`{inline_yaml(list(value) if isinstance(value, tuple) else value)}`")


def kind_of(field: FieldInfo) -> str:
    """Return what values a field takes, in words."""
    bounds = [
        f"{sign} {getattr(item, name):g}"
        for item in field.metadata
        for name, sign in BOUNDS.items()
        if getattr(item, name, None) is not None
    ]
    return one_line(", ".join([_kind(field.annotation), *bounds]))


def _kind(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return "section"
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(inner[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_kind(each) for each in inner))
    if origin is tuple:
        members = [_kind(each) for each in inner if each is not Ellipsis]
        return f"list of {' or '.join(dict.fromkeys(members))}"
    if origin is dict:
        return f"names with {_kind(inner[1])} each"
    return PLAIN.get(annotation, "value")
