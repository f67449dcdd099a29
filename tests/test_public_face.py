"""What importing the package gives, what it costs, and which room may know which."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tensornet_jax

PACKAGE = Path(tensornet_jax.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def room_of(module: str) -> str:
    return module.split(".")[0]


def imports_of(path: Path) -> set[str]:
    """Return the dotted names of everything a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path) -> set[str]:
    prefix = "tensornet_jax."
    return {name.removeprefix(prefix) for name in imports_of(path) if name.startswith(prefix)}


def loads(name: str, library: str) -> bool:
    return name == library or name.startswith(f"{library}.")


def in_new_process(code: str, **environment: str):
    """Run code that prints JSON in a Python that has imported nothing yet."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import json, sys\n{code}"],
        cwd=PACKAGE.parent,
        env=keep | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- the public face -----------------------------------------------------------------------------


def test_public_names_are_the_calculator_and_what_loads_a_model():
    names = ["Calculator", "TensorNetCalculator", "__version__", "load_model"]
    assert sorted(tensornet_jax.__all__) == names
    for name in tensornet_jax.__all__:
        assert getattr(tensornet_jax, name) is not None


def test_public_names_are_the_objects_of_their_modules():
    from tensornet_jax import Calculator, TensorNetCalculator, __version__, load_model
    from tensornet_jax.calculator.ase_calculator import Calculator as Own
    from tensornet_jax.potential.model_file import load_model as load
    from tensornet_jax.version import __version__ as version

    assert Calculator is TensorNetCalculator is Own
    assert (load_model, __version__) == (load, version)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'tensornet_jax' has no attribute 'train_model'"):
        tensornet_jax.train_model  # noqa: B018


def test_importing_the_package_loads_neither_jax_nor_flax_nor_matplotlib():
    heavy = in_new_process(
        "import tensornet_jax\n"
        "names = ('jax', 'jaxlib', 'flax', 'matplotlib', 'ase', 'numpy')\n"
        "print(json.dumps([name for name in names if name in sys.modules]))"
    )
    assert heavy == []


def test_reading_data_and_configs_loads_no_jax():
    modules = ["units", "config", *(m for m in MODULES if room_of(m) == "data")]
    modules = [m.removesuffix(".__init__") for m in modules if m != "data.loader"]
    assert "data.readers" in modules
    heavy = in_new_process(
        f"for name in {modules}:\n"
        "    __import__(f'tensornet_jax.{name}')\n"
        "names = ('jax', 'flax', 'matplotlib', 'grain')\n"
        "print(json.dumps([name for name in names if name in sys.modules]))"
    )
    assert heavy == []


@pytest.mark.parametrize("name", ["tensornet", "tensornet2", "mace", "escn"])
def test_checking_a_training_run_with_its_model_loads_no_jax(name):
    priors = "[{name: zbl}, {name: coulomb}]"
    heavy = in_new_process(
        "from tensornet_jax.config import config_schema, parse_config\n"
        "from tensornet_jax.train.config.resolved import ResolvedRun\n"
        "from tensornet_jax.train.config.run import RunConfig\n"
        "text = 'directory: run\\ndata: {train: a.xyz}\\n'\n"
        f"text += 'model: {{name: {name}, tensors: [polarizability], priors: {priors}}}'\n"
        "run = ResolvedRun.of(parse_config(text, RunConfig)).completed()\n"
        f"assert run.model.name == '{name}' and run.model.long_range is not None\n"
        "assert config_schema(RunConfig)\n"
        "names = ('jax', 'flax', 'matplotlib', 'grain')\n"
        "print(json.dumps([name for name in names if name in sys.modules]))"
    )
    assert heavy == []


@pytest.mark.parametrize("x64", ["0", "1"])
def test_importing_everything_leaves_the_settings_of_jax_alone(x64):
    modules = [m.removesuffix(".__init__") for m in MODULES if m != "__init__"]
    modules = [m for m in modules if room_of(m) != "cli"]
    settings = in_new_process(
        f"for name in {modules}:\n"
        "    __import__(f'tensornet_jax.{name}')\n"
        "from jax import config\n"
        "names = ('jax_enable_x64', 'jax_default_matmul_precision', 'jax_debug_nans',"
        " 'jax_compilation_cache_dir')\n"
        "print(json.dumps([config.values[name] for name in names]))",
        JAX_ENABLE_X64=x64,
    )
    assert settings == [x64 == "1", None, False, None]


def test_using_the_package_sets_no_environment_variable():
    changed = in_new_process(
        "import os; before = dict(os.environ)\n"
        "from tensornet_jax import TensorNetCalculator, load_model\n"
        "print(json.dumps(sorted(set(os.environ.items()) ^ set(before.items()))))",
    )
    assert changed == []


# --- what only some rooms may do -------------------------------------------------------------


def test_only_the_command_line_prints():
    for module, path in MODULES.items():
        if room_of(module) == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{module}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "input", "breakpoint"), where
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("stdout", "stderr"), where
        assert not any(loads(name, "rich") for name in imports_of(path)), module


def test_e3nn_jax_is_imported_in_one_place():
    """Which keeps its warning on Python 3.13 away from users who make errors of warnings."""
    for module, path in MODULES.items():
        used = {name for name in imports_of(path) if loads(name, "e3nn_jax")}
        assert not used or module == "runtime.quiet_imports", f"{module} imports {used}"
    assert (
        in_new_process(
            "from tensornet_jax.runtime.quiet_imports import e3nn_jax\n"
            "print(json.dumps(e3nn_jax.__name__))"
        )
        == "e3nn_jax"
    )
