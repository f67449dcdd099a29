"""Nothing the package reads is ever executed."""

import ast
import pickle
from pathlib import Path

import numpy as np
import pytest

import tensornet_jax
from tensornet_jax import load_model
from tensornet_jax.config import Config, ConfigError, load_config
from tensornet_jax.data.labels.labels import LabelConfig
from tensornet_jax.data.readers import read_structures
from tensornet_jax.data.splits import Split
from tensornet_jax.potential.model_file import ModelFileError, read_header

PACKAGE = Path(tensornet_jax.__file__).parent
SOURCES = sorted(
    path
    for folder in (PACKAGE, PACKAGE.parent / "scripts", PACKAGE.parent / "benchmarks")
    for path in folder.rglob("*.py")
)

# Modules that turn bytes into objects of any class, or text into code.
EXECUTING_MODULES = {
    "_pickle",
    "cPickle",
    "cloudpickle",
    "code",
    "codeop",
    "dill",
    "joblib",
    "marshal",
    "pickle",
    "runpy",
    "shelve",
    "torch",
    "yaml",
}
EXECUTING_CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
EXECUTING_METHODS = {"system", "popen", "from_pickle", "read_pickle", "unpack_checkpoint"}
# Reads weights alone; tests/interop/test_torch_files.py attacks it. The benchmarks run other codes.
MAY_IMPORT_TORCH = (PACKAGE / "interop" / "torch" / "files.py", PACKAGE.parent / "benchmarks")


def violations(source: str, allowed: frozenset[str] = frozenset()) -> list[str]:
    """Return what in a Python source could execute something it has read.

    allowed: modules of EXECUTING_MODULES it may import.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names]
            found += [
                f"line {line}: import of {module}"
                for module in modules
                if module and module.split(".")[0] in EXECUTING_MODULES - allowed
            ]
        if not isinstance(node, ast.Call):
            continue
        keywords = {k.arg: k.value for k in node.keywords}
        if ast.unparse(node.func).endswith("import_module") and node.args:
            named = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
            if str(named).split(".")[0] in EXECUTING_MODULES - allowed:
                found.append(f"line {line}: import of {named}")
        if isinstance(node.func, ast.Name) and node.func.id in EXECUTING_CALLS:
            found.append(f"line {line}: {node.func.id}()")
        if isinstance(node.func, ast.Attribute) and node.func.attr in EXECUTING_METHODS:
            found.append(f"line {line}: .{node.func.attr}()")
        if ast.unparse(node.func) == "torch.load" and not _is(keywords.get("weights_only"), True):
            found.append(f"line {line}: torch.load() not of weights alone")
        for name in ("allow_pickle", "shell"):
            if name in keywords and not _is(keywords[name], False):
                found.append(f"line {line}: {name}=")
        called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
        called = called.id if isinstance(called, ast.Name) else called
        if called == "YAML" and not _is(keywords.get("typ"), "safe"):
            found.append(f"line {line}: YAML() that is not safe")
    return found


def _is(node: ast.AST | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value == value


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import load",
        "import numpy, dill",
        "import yaml",
        "def f():\n    import torch.serialization",
        "numpy.load(path, allow_pickle=True)",
        "numpy.load(path, allow_pickle=flag)",
        "importlib.import_module('torch')",
        "torch.load(path)",
        "torch.load(path, weights_only=flag)",
        "eval(text)",
        "exec(text)",
        "__import__(name)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
        "YAML()",
        "ruamel.yaml.YAML(typ='unsafe')",
    ],
)
def test_scan_finds_what_it_looks_for(source):
    assert violations(source)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_source_can_execute_what_it_reads(path):
    trusted = any(place in (path, *path.parents) for place in MAY_IMPORT_TORCH)
    allowed = frozenset({"torch"} if trusted else ())
    assert violations(path.read_text(encoding="utf-8"), allowed) == []


class Malicious:
    """An object whose unpickling writes a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.write_text, (self.marker, "executed")


@pytest.fixture
def marker(tmp_path):
    """A file that must not exist afterwards."""
    path = tmp_path / "executed"
    pickle.loads(pickle.dumps(Malicious(path)))
    assert path.exists(), "the attack works where a file is unpickled"
    path.unlink()
    yield path
    assert not path.exists()


def test_pickled_model_is_refused(tmp_path, marker):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Malicious(marker)))
    for read in (load_model, read_header):
        with pytest.raises(ModelFileError, match="pickle"):
            read(path)


@pytest.mark.parametrize("suffix", [".npz", ".pckl", ".extxyz", ".traj", ".db", ".h5"])
def test_pickled_structures_are_refused(tmp_path, marker, suffix):
    path = tmp_path / f"data{suffix}"
    if suffix == ".npz":
        attack = np.array([Malicious(marker)], dtype=object)
        np.savez(path, R=attack, z=attack, E=attack, F=attack)
    else:
        # What ASE's trajectories began with when they were pickles.
        magic = b"PickleTrajectory" if suffix == ".traj" else b""
        path.write_bytes(magic + pickle.dumps(Malicious(marker)))
    with pytest.raises(ValueError, match=rf"data\{suffix}"):
        read_structures(path, LabelConfig())


def test_pickled_split_is_refused(tmp_path, marker):
    path = tmp_path / "split.json"
    path.write_bytes(pickle.dumps(Malicious(marker)))
    with pytest.raises(ValueError, match=r"split\.json"):
        Split.load(path, [])


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:pathlib.Path.touch", "!!python/object/new:pathlib.Path"]
)
def test_configuration_that_calls_python_is_refused(tmp_path, marker, tag):
    class Section(Config):
        name: str

    path = tmp_path / "run.yaml"
    path.write_text(f"name: {tag} ['{marker}']\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.yaml:1"):
        load_config(path, Section)
