"""The file a benchmark keeps its records in, so that it can be run in pieces."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensornet_jax.benchmark.machine import describe_machine, installed_versions, machine_name

RESULTS = Path(__file__).parent / "results"


def results_folder(benchmark: str, given: Path | None = None) -> Path:
    """Return the folder of a benchmark on this machine, or the one that was asked for."""
    folder = given or RESULTS / machine_name() / benchmark
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def add_records(
    folder: Path,
    benchmark: str,
    new: Sequence[dict[str, Any]],
    keys: Sequence[str],
    versions: Mapping[str, str | None],
) -> dict[str, Any]:
    """Put records into results.json, in the place of older ones of the same case.

    Args:
        folder: of the benchmark.
        benchmark: its name.
        new: what was measured now.
        keys: entries of a record that say what case it is of.
        versions: of the peers.

    Returns:
        machine and versions of this run, and all records, old cases first.
    """
    file = folder / "results.json"
    old = json.loads(file.read_text(encoding="utf-8"))["records"] if file.exists() else []

    def case(record: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(record[key] for key in keys)

    measured = {case(record) for record in new}
    results = {
        "benchmark": benchmark,
        "machine": describe_machine(),
        "versions": {**installed_versions(), **versions},
        "records": [*(record for record in old if case(record) not in measured), *new],
    }
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def machine_line(results: Mapping[str, Any], *packages: str, cores: str = "") -> str:
    """Return processor, threads and versions, as a sentence of a page has them.

    Args:
        results: with machine and versions, as `add_records` returns them.
        packages: besides jax; those that were not installed are left out.
        cores: what is said in place of the number of threads.
    """
    machine, versions = results["machine"], results["versions"]
    found = [f"{name} {versions[name]}" for name in ("jax", *packages) if versions.get(name)]
    processor = machine["processor"] or machine["device"]
    cores = cores or f"{machine['threads']} threads"
    return f"{processor}, {cores}; {', '.join(found)}"
