"""Time a newcomer's path: from a clone to predictions of a potential trained on an own file.

python benchmarks/first_prediction.py FILE [--interpreter python3.12] [--folder FOLDER]

What is committed is cloned, installed by pip from its registry into a new environment, and trained
by the commands and the configuration that docs/tutorial.md prints under "Your own data", with
nothing cached: neither packages nor compiled programs. FILE is what ASE reads, with energies and
forces. Every interpreter has a record of its own.
"""

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from results_file import add_records, machine_line, results_folder

from tensornet_jax.runtime.markdown import markdown_table

BENCHMARK = "first_prediction"
ROOT = Path(__file__).parents[1]
CONFIGURATION = re.compile(r"```yaml\n(directory: runs/my-molecule\n.*?)```", re.DOTALL)
TRAINED = Path("runs/my-molecule")


def main() -> None:
    """Run every step, and write the seconds each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="structures with energies and forces")
    parser.add_argument("--interpreter", default="python3.12")
    parser.add_argument("--folder", type=Path, help=f"default: results/MACHINE/{BENCHMARK}")
    given = parser.parse_args()
    interpreter = shutil.which(given.interpreter)
    if interpreter is None:
        raise SystemExit(f"--interpreter {given.interpreter}: there is none")
    folder = results_folder(BENCHMARK, given.folder)
    with tempfile.TemporaryDirectory() as temporary:
        record = path_of(Path(temporary), given.file, interpreter)
    results = add_records(folder, BENCHMARK, [record], ("python", "file"), {})
    page = "\n".join(report(results)) + "\n"
    (folder / "README.md").write_text(page, encoding="utf-8")
    print(page)


def path_of(work: Path, file: Path, interpreter: str) -> dict[str, Any]:
    """Return the seconds of every step from a clone to predictions, and what training reached.

    Args:
        work: an empty folder.
        file: of structures.
        interpreter: that makes the environment.

    Raises:
        subprocess.CalledProcessError: a step failed.
    """
    clone, environment = work / "clone", work / "environment"
    program = str(environment / "bin/tensornet-jax")
    model = str(TRAINED / "model.safetensors")
    steps = {
        "git clone": ["git", "clone", "--quiet", str(ROOT), str(clone)],
        "python -m venv": [interpreter, "-m", "venv", str(environment)],
        "pip install .": [str(environment / "bin/python"), "-m", "pip", "install", "--quiet", "."],
        "tensornet-jax inspect": [program, "inspect", "train.xyz"],
        "tensornet-jax config validate": [program, "config", "validate", "my.yaml"],
        "tensornet-jax train": [program, "train", "my.yaml"],
        "tensornet-jax predict": [program, "predict", model, "train.xyz", "predicted.xyz"],
    }
    # What a machine has that never ran this: no caches of pip, compiled programs or bytecode.
    hidden = ("PYTHON", "JAX_", "XLA_")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    bare = inherited | {"HOME": str(work), "XDG_CACHE_HOME": str(work / "cache")}
    seconds: dict[str, float] = {}
    for name, line in steps.items():
        print(name, flush=True)
        begun = perf_counter()
        subprocess.run(line, check=True, cwd=clone if clone.exists() else work, env=bare)
        seconds[name] = perf_counter() - begun
        if name == "git clone":
            shutil.copyfile(file, clone / "train.xyz")
            tutorial = (clone / "docs/tutorial.md").read_text(encoding="utf-8")
            found = CONFIGURATION.search(tutorial)
            assert found is not None, "docs/tutorial.md: no configuration for own data"
            (clone / "my.yaml").write_text(found[1], encoding="utf-8")
    asked = [interpreter, "-c", "import platform; print(platform.python_version())"]
    python = subprocess.run(asked, check=True, capture_output=True, text=True, env=bare).stdout
    errors = (clone / TRAINED / "report/errors.csv").read_text(encoding="utf-8").splitlines()
    return {
        "python": python.strip(),
        "file": file.name,
        "seconds": seconds,
        "errors": errors,
    }


def report(results: dict[str, Any]) -> list[str]:
    """Return the seconds of every step as the lines of a page."""
    records = results["records"]
    names = list(dict.fromkeys(name for r in records for name in r["seconds"]))
    rows = [
        (name, *(f"{r['seconds'].get(name, float('nan')):.1f}" for r in records)) for name in names
    ]
    totals = (f"{sum(r['seconds'].values()):.0f}" for r in records)
    header = ("s", *(f"Python {r['python']}, {r['file']}" for r in records))
    lines = [
        "# From a clone to the first prediction",
        "",
        "Nothing was cached, neither packages nor compiled programs; the configuration is that of "
        f"[the tutorial](../../../../docs/tutorial.md#your-own-data). {machine_line(results)}.",
        "",
        *markdown_table(header, [*rows, ("together", *totals)], numbers=range(1, len(header))),
    ]
    for r in records:
        lines += ["", f"Errors of Python {r['python']}:", "", "```", *r["errors"], "```"]
    return lines


if __name__ == "__main__":
    main()
