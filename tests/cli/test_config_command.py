import json

import pytest

from tensornet_jax.models import MODELS

MINIMAL = "directory: runs/a\ndata:\n  train: a.xyz\n"


def test_template_can_be_written_once_and_validates(cli, tmp_path):
    assert cli("config", "template", "-o", "run.yaml").exit_code == 0
    again = cli("config", "template", "-o", "run.yaml")
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert cli("config", "template").stdout == (tmp_path / "run.yaml").read_text(encoding="utf-8")
    missing = cli("config", "validate", "run.yaml")
    assert missing.exit_code == 2
    assert "no such file: train.xyz" in missing.stderr
    (tmp_path / "train.xyz").touch()
    assert cli("config", "validate", "run.yaml").stdout == "run.yaml is valid\n"


def test_template_of_a_loop_validates(cli, tmp_path):
    assert cli("config", "template", "--active", "-o", "active.yaml").exit_code == 0
    for name in ("train.xyz", "start.xyz"):
        (tmp_path / name).touch()
    result = cli("config", "validate", "--active", "active.yaml")
    assert result.stdout == "active.yaml is valid\n", result.stderr
    assert "explore" in json.loads(cli("config", "schema", "--active").stdout)["required"]
    assert "give one of them" in cli("config", "schema", "--active", "--md").stderr


def test_validate_shows_the_resolved_config_with_overrides(cli, tmp_path):
    (tmp_path / "run.yaml").write_text(MINIMAL)
    (tmp_path / "a.xyz").touch()
    result = cli("config", "validate", "run.yaml", "--show", "--set", "training.epochs=7")
    assert result.exit_code == 0
    assert "epochs: 7\n" in result.stdout
    (tmp_path / "resolved.yaml").write_text(result.stdout)
    assert cli("config", "validate", "resolved.yaml", "--show").stdout == result.stdout


def test_a_glob_is_a_file_when_something_matches(cli, tmp_path):
    (tmp_path / "run.yaml").write_text(MINIMAL.replace("a.xyz", "part_*.xyz"))
    assert cli("config", "validate", "run.yaml").exit_code == 2
    (tmp_path / "part_1.xyz").touch()
    assert cli("config", "validate", "run.yaml").exit_code == 0


def test_schema_is_json(cli):
    schema = json.loads(cli("config", "schema").stdout)
    assert schema["required"] == ["directory", "data"]


@pytest.mark.parametrize("command", [("config", "validate"), ("train",)])
def test_config_errors_are_one_clean_message(cli, tmp_path, command):
    (tmp_path / "run.yaml").write_text(MINIMAL + "optimizer:\n  learning_rte: 1e-3\n")
    result = cli(*command, "run.yaml")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: run.yaml:5: optimizer.learning_rte: unknown key")
    assert "did you mean 'learning_rate'" in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_where_it_was_raised(cli):
    result = cli("config", "validate", "absent.yaml", "--debug")
    assert isinstance(result.exception, ValueError)
    assert "no such file" in str(result.exception)


@pytest.mark.parametrize("model", MODELS)
def test_template_of_every_model_validates(cli, tmp_path, model):
    assert cli("config", "template", "--model", model, "-o", "run.yaml").exit_code == 0
    assert f"name: {model}\n" in (tmp_path / "run.yaml").read_text(encoding="utf-8")
    (tmp_path / "train.xyz").touch()
    assert cli("config", "validate", "run.yaml").exit_code == 0


def test_template_of_an_unknown_model_is_refused(cli):
    result = cli("config", "template", "--model", "maze")
    assert result.exit_code == 2
    assert "did you mean 'mace'" in result.stderr


def test_validate_reads_the_model_that_a_run_starts_from(cli, tmp_path, model):
    (tmp_path / "a.xyz").touch()
    (tmp_path / "run.yaml").write_text(f"{MINIMAL}start: {{model: {model}}}\n")
    shown = cli("config", "validate", "run.yaml", "--show")
    assert shown.exit_code == 0, shown.stderr
    for text in ("num_channels: 8\n", "cutoff: 3.0\n", "sha256: "):
        assert text in shown.stdout
    disagreeing = cli("config", "validate", "run.yaml", "--set", "model.name=mace")
    assert disagreeing.exit_code == 2
    assert "model.name is 'mace'" in disagreeing.stderr
    absent = cli("config", "validate", "run.yaml", "--set", "start.model=absent.safetensors")
    assert "no such file: absent.safetensors" in absent.stderr


def test_template_tells_how_to_start_from_a_model_and_to_replay(cli):
    text = cli("config", "template").stdout
    for line in ("# or start:\n#   # model file", "  # or replay:\n", "#   new_elements: forbid"):
        assert line in text
    assert "sha256" not in text
