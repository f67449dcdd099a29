import os
import subprocess
import sys

import pytest

from tensornet_jax.version import __version__

COMMANDS = ("train", "evaluate", "predict", "relax", "md", "inspect")


def test_version(cli):
    assert cli("--version").stdout == f"tensornet-jax {__version__}\n"


@pytest.mark.parametrize("command", [*COMMANDS, "config", "benchmark"])
def test_help_of_every_command(cli, command):
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert command in result.stdout


def test_help_does_not_pay_for_jax():
    code = (
        "import sys\n"
        "from tensornet_jax.cli import app\n"
        "try:\n    app(['md', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'jax', 'flax', 'optax', 'ase', 'matplotlib', 'orbax'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False
    )
    assert run.returncode == 0, run.stderr


def test_a_missing_file_is_one_line(cli, molecules):
    result = cli("evaluate", "absent.safetensors", molecules)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: absent.safetensors: ")
    assert result.stderr.count("\n") == 1


def test_a_damaged_model_is_one_message(cli, model, molecules, tmp_path):
    content = bytearray(model.read_bytes())
    content[-5] ^= 1
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(content)
    dynamics = f"model: {damaged}\nstructure: {molecules}\noutput: md\n"
    (tmp_path / "md.yaml").write_text(dynamics, encoding="utf-8")
    for command in (
        ("evaluate", damaged, molecules),
        ("predict", damaged, molecules, "out.xyz"),
        ("relax", damaged, molecules, "out.xyz"),
        ("md", "md.yaml"),
        ("inspect", damaged),
    ):
        result = cli(*command)
        assert result.exit_code == 2, command
        assert "damaged" in result.stderr
        assert "Traceback" not in result.stderr


def test_an_unknown_element_is_named(cli, model, tmp_path):
    path = tmp_path / "platinum.xyz"
    path.write_text('1\nProperties=species:S:1:pos:R:3 energy=-1.0 pbc="F F F"\nPt 0.0 0.0 0.0\n')
    result = cli("evaluate", model, path)
    assert result.exit_code == 2
    assert "Pt" in result.stderr


def test_output_is_checked_before_the_work(cli, model, molecules, tmp_path):
    dynamics = f"model: {model}\nstructure: {molecules}\noutput: absent/md\n"
    (tmp_path / "md.yaml").write_text(dynamics, encoding="utf-8")
    for command in (
        ("evaluate", model, molecules, "-o", "absent/table.csv"),
        ("predict", model, molecules, "absent/out.xyz"),
        ("relax", model, molecules, "absent/out.xyz"),
        ("md", "md.yaml"),
    ):
        assert "there is no folder absent" in cli(*command).stderr
    assert "is the input" in cli("predict", model, molecules, molecules).stderr
