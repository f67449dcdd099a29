"""Reading configurations: the right value, or an error with line, key and remedy."""

from pathlib import Path
from typing import Annotated, Literal

import pydantic
import pytest
from pydantic import Field

from tensornet_jax.config import (
    Config,
    ConfigError,
    load_config,
    parse_config,
)
from tensornet_jax.train.config.run import RunConfig

MINIMAL = "directory: runs/a\ndata:\n  train: a.xyz\n"


class Inner(Config):
    rate: float = Field(default=0.1, gt=0, description="rate, 1/fs")
    count: int = 1
    flag: bool = False
    label: str = "x"
    pair: tuple[float, float] = (0.0, 1.0)


class Round(Config):
    name: Literal["round"] = "round"
    radius: float = 1.0


class Square(Config):
    name: Literal["square"] = "square"
    side: float = 1.0


class Outer(Config):
    inner: Inner = Inner()
    shape: Annotated[Round | Square, Field(discriminator="name")] = Round()


def error_of(text, schema: type[Config] = RunConfig, overrides=()):
    with pytest.raises(ConfigError) as caught:
        parse_config(text, schema, overrides, source="c.yaml")
    return str(caught.value)


# --- YAML 1.2 ---


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E5", 1e5), ("-2", None), (".5", 0.5), ("1.e-3", 1e-3), ("3", 3.0)],
)
def test_exponents_without_a_point_are_numbers(text, value):
    if value is None:
        assert "greater than 0" in error_of(f"rate: {text}", Inner)
    else:
        rate = parse_config(f"rate: {text}", Inner).rate
        assert rate == value
        assert type(rate) is float


def test_a_quoted_number_is_an_error_with_its_line():
    text = error_of("count: 2\nrate: '1e-3'", Inner)
    assert text == "c.yaml:2: rate: a number is needed, not the text '1e-3': remove the quotes"


@pytest.mark.parametrize("word", ["No", "yes", "on", "off", "y"])
def test_words_that_yaml_once_read_as_booleans_are_text(word):
    assert parse_config(f"label: {word}", Inner).label == word
    assert "true or false is needed" in error_of(f"flag: {word}", Inner)


def test_nobelium_is_an_element():
    config = parse_config(MINIMAL + "  reference_energies: {No: -1.5, H: -13}", RunConfig)
    assert config.data.reference_energies == {"No": -1.5, "H": -13}


def test_a_file_that_asks_for_yaml_1_1_is_refused():
    assert "c.yaml:2: YAML 1.2" in error_of("%YAML 1.1\n---\nflag: no", Inner)


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("count: true", "an integer"),
        ("count: 1e3", "an integer"),
        ("rate: true", "a number"),
        ("flag: 1", "true or false"),
        ("label: 3", "text"),
        ("rate:", "a number"),
        ("rate: .inf", "a finite number"),
        ("rate: .nan", "a finite number"),
        ("pair: 3", "a list"),
        ("pair: [1, x]", "a number"),
        ("rate: [1]", "a number"),
    ],
)
def test_types_are_not_converted(text, needed):
    message = error_of(text, Inner)
    assert needed in message
    assert message.startswith("c.yaml:1: ")


def test_duplicate_key_names_both_lines():
    text = error_of("inner:\n  rate: 1.0\n  count: 2\n  rate: 2.0\n", Outer)
    assert text == "c.yaml:4: inner.rate: given twice, first on line 2; keep one"


def test_unknown_key_suggests_the_nearest():
    text = error_of("inner:\n  raet: 1.0\n", Outer)
    assert text.startswith("c.yaml:2: inner.raet: unknown key 'raet'; did you mean 'rate'?")


def test_every_problem_is_listed_with_its_own_line():
    text = error_of(
        "inner:\n  rate: x\n  flag: 2\nshap: 3\nshape:\n  name: square\n  radius: 1\n", Outer
    )
    places = [line.split(": ")[:2] for line in text.splitlines()]
    assert sorted(places) == [
        ["c.yaml:2", "inner.rate"],
        ["c.yaml:3", "inner.flag"],
        ["c.yaml:4", "shap"],
        ["c.yaml:7", "shape.radius"],
    ]


def test_line_of_a_list_item_is_found():
    assert error_of("pair:\n  - 1\n  - x\n", Inner).startswith("c.yaml:3: pair.1: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &x [1]\nb: *x", "c.yaml:2: aliases are not accepted"),
        ("rate: !!python/object/apply:os.system [ls]", "c.yaml:1: not valid YAML"),
        ("rate: 1\n\tcount: 2", "c.yaml:2: not valid YAML"),
        ("rate: 1\n---\nrate: 2", "c.yaml:2: not valid YAML"),
        ("- rate", "c.yaml:1: a mapping"),
        ("1: 2", "1: Keys should be strings"),
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
    ],
)
def test_files_that_are_no_configuration_are_refused(text, told):
    assert told in error_of(text, Inner)


def test_an_alias_bomb_is_refused_at_once():
    lines = ["a0: &a0 [x, x]"] + [f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]" for k in range(1, 40)]
    assert "aliases" in error_of("\n".join(lines), Inner)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such file"):
        load_config(tmp_path / "absent.yaml", Inner)
    (tmp_path / "latin.yaml").write_bytes("label: Å".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "latin.yaml", Inner)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, Inner)


def test_errors_of_a_file_begin_with_its_path(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("\nrate: x\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, Inner)
    assert str(caught.value).startswith(f"{path}:2: rate: ")


# --- sections ---


def test_a_section_cannot_be_changed():
    config = parse_config("inner: {pair: [1, 2]}", Outer)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.inner.rate = 2.0
    assert config.inner.pair == (1.0, 2.0)
    hash(config)


def test_errors_in_python_are_as_plain_as_in_yaml():
    with pytest.raises(ValueError, match="unknown key 'raet'; did you mean 'rate'"):
        Inner(raet=2.0)  # pyright: ignore[reportCallIssue]


# --- overrides ---


def test_overrides_are_yaml_and_the_last_one_wins():
    config = parse_config(
        "inner: {rate: 2.0}",
        Outer,
        ["inner.rate=1e-4", "inner.flag=true", "shape={name: square, side: 3}", "inner.rate=1e-5"],
    )
    assert config.inner == Inner(rate=1e-5, flag=True)
    assert config.shape == Square(side=3.0)


def test_an_override_makes_the_sections_above_it():
    assert parse_config("", Outer, ["inner.count=3"]).inner.count == 3
    assert parse_config("inner:", Outer, ["inner.count=3"]).inner.count == 3


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("inner.raet=1", "--set inner.raet=1: inner.raet: unknown key 'raet'; did you mean 'rate'"),
        ("inner.rate='1'", "--set inner.rate='1': inner.rate: a number is needed"),
        ("inner.rate.x=1", "inner.rate is 2.0, which has no keys below it"),
        ("inner.rate", "write key.sub=value"),
        ("=3", "write key.sub=value"),
        ("inner.rate=[", "not valid YAML"),
    ],
)
def test_a_wrong_override_is_named_as_such(override, told):
    text = error_of("inner: {rate: 2.0}", Outer, [override])
    assert told in text
    assert text.startswith("--set ")


def test_no_unsafe_loader_is_used():
    source = Path(__file__).resolve().parents[1] / "tensornet_jax"
    for path in source.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "yaml.load(" not in text
        assert "import yaml" not in text
