"""Time the neighbor lists of the device and of the host against matscipy, vesin and jax-md.

python benchmarks/neighbors.py [FOLDER] [--atoms 10 100 ...] [--shapes cubic ...] [--only NAME ...]

Peers take part where they are installed: pip install vesin jax-md. All lists must find as many
edges before they are timed. What is asked for replaces what the folder's results have of it, so
that large sizes can be run one at a time.
"""

import argparse
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from neighbor_contenders import CUTOFF, MAKERS, PEERS, SHAPES, NotTimedError, make_case
from neighbor_report import plot, report

from tensornet_jax.benchmark.machine import describe_machine, installed_versions, machine_name
from tensornet_jax.benchmark.measure import alternate

RESULTS = Path(__file__).parent / "results"
ATOMS = (10, 30, 100, 300, 1000, 10_000, 100_000)
# float32 may put a pair on the other side of the cutoff.
EDGES_AT_THE_CUTOFF = 1e-5


def run(
    atoms: int, shape: str, names: Sequence[str], edges: int | None = None
) -> list[dict[str, Any]]:
    """Check and time lists of one structure; a record for each, with the reason if not timed.

    Args:
        atoms: size of the structure.
        shape: of its cell.
        names: contenders.
        edges: how many there are; what the first contender finds if not known.
    """
    case = make_case(atoms, shape)
    records, timed = [], []
    for name in names:
        record: dict[str, Any] = {"atoms": atoms, "shape": shape, "contender": name}
        records.append(record)
        try:
            if name in PEERS and find_spec(PEERS[name]) is None:
                raise NotTimedError("is not installed")
            contender = MAKERS[name](case)
            record["edges"] = contender.count(contender.run())
            edges = edges or record["edges"]
            if abs(record["edges"] - edges) > EDGES_AT_THE_CUTOFF * edges:
                raise NotTimedError(f"finds {record['edges']} of {edges} edges")
        except NotTimedError as reason:
            record["not_timed"] = str(reason)
            print(f"{atoms} {shape} {name} {reason}", flush=True)
            continue
        record.update(contender.facts)
        timed.append((record, contender))
    fewest = 7 if atoms <= 10_000 else 3 if atoms <= 100_000 else 1
    timings = alternate(
        [contender.run for _, contender in timed],
        seconds=1.0,
        fewest=fewest,
        warm_up=3 if atoms <= 10_000 else 1,
    )
    for (record, contender), timing in zip(timed, timings, strict=True):
        record.update(asdict(timing))
        for key in ("median_s", "lower_quartile_s", "upper_quartile_s", "minimum_s"):
            record[key] /= contender.lists
        print(
            f"{atoms} {shape} {record['contender']}: {1e3 * record['median_s']:.3g} ms", flush=True
        )
    return records


def merged(old: Iterable[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace the records of the same size, shape and contender, and sort."""

    def key(record: dict[str, Any]) -> tuple[int, int, int]:
        return (
            list(SHAPES).index(record["shape"]),
            record["atoms"],
            list(MAKERS).index(record["contender"]),
        )

    return [record for _, record in sorted({key(r): r for r in [*old, *new]}.items())]


def versions_of_all() -> dict[str, str | None]:
    """Return the versions of our packages and of the peers."""
    versions = installed_versions()
    for name in PEERS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def main() -> None:
    """Run what is asked for and write results.json, README.md and times.png."""
    parser = argparse.ArgumentParser(description="Time neighbor lists.")
    parser.add_argument("folder", nargs="?", type=Path, help="default: results/MACHINE/neighbors")
    parser.add_argument("--atoms", nargs="+", type=int, default=ATOMS)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--only", nargs="+", choices=MAKERS, default=list(MAKERS))
    arguments = parser.parse_args()
    folder = arguments.folder or RESULTS / machine_name() / "neighbors"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "results.json"
    old = json.loads(file.read_text(encoding="utf-8"))["records"] if file.exists() else []
    new = []
    for shape, atoms in itertools.product(arguments.shapes, arguments.atoms):
        known = [
            r["edges"] for r in old if (r["atoms"], r["shape"]) == (atoms, shape) if "edges" in r
        ]
        new += run(atoms, shape, arguments.only, known[0] if known else None)
    results = {
        "benchmark": "neighbors",
        "machine": describe_machine(),
        "versions": versions_of_all(),
        "cutoff": CUTOFF,
        "records": merged(old, new),
    }
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(report(results), encoding="utf-8")
    plot(results, folder / "times.png")


if __name__ == "__main__":
    main()
