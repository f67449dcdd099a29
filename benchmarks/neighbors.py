"""Time the neighbor lists of the device and of the host against matscipy, vesin and jax-md.

python benchmarks/neighbors.py [FOLDER] [--atoms 10 100 ...] [--shapes cubic ...] [--only NAME ...]

Peers take part where they are installed: pip install vesin jax-md. All lists must find as many
edges before they are timed. What is asked for replaces what the folder's results have of it, so
that large sizes can be run one at a time.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matscipy.neighbours import neighbour_list

from tensornet_jax.benchmark.machine import describe_machine, installed_versions, machine_name
from tensornet_jax.benchmark.measure import alternate, compile_work
from tensornet_jax.graph.cell_capacity import cell_list_capacity
from tensornet_jax.graph.cell_list import DevicePairs, device_pairs
from tensornet_jax.graph.edges import slot_table
from tensornet_jax.graph.neighbors import neighbor_pairs

RESULTS = Path(__file__).parent / "results"
CUTOFF = 5.0
VOLUME_PER_ATOM = 10.0
ATOMS = (10, 30, 100, 300, 1000, 10_000, 100_000)
SHAPES = {
    "cubic": np.eye(3),
    "skewed": np.array([[1.0, 0.0, 0.0], [0.3, 1.0, 0.0], [-0.2, 0.4, 1.0]]),
    "cluster": np.eye(3),
}
OURS = ("device", "device in a loop", "host")
PEERS = {"matscipy": "matscipy", "vesin": "vesin", "jax-md": "jax_md"}
# jax-md holds the positions of all candidates at once: tens of gigabytes for a million atoms.
MOST_ATOMS_OF_JAX_MD = 100_000
LISTS_IN_A_LOOP = 5
# float32 may put a pair on the other side of the cutoff.
EDGES_AT_THE_CUTOFF = 1e-5


@dataclass(frozen=True)
class Case:
    """Atoms at 0.1 Å⁻³, at random about the sites of a lattice and in random order.

    positions: (N, 3) Å.
    cell: (3, 3) Å.
    periodic: in all directions, or in none.
    """

    positions: np.ndarray
    cell: np.ndarray
    periodic: bool

    @property
    def pbc(self) -> tuple[bool, bool, bool]:
        """The same for each direction."""
        return (self.periodic, self.periodic, self.periodic)


@dataclass(frozen=True)
class Contender:
    """What is timed.

    Attributes:
        run: makes the list.
        count: number of its edges.
        facts: what else is known of it.
        lists: how many lists `run` makes one after the other.
    """

    run: Callable[[], Any]
    count: Callable[[Any], int]
    facts: dict[str, Any]
    lists: int = 1


class NotTimedError(Exception):
    """Why a contender does not take part."""


def make_case(atoms: int, shape: str) -> Case:
    """Return the structure of a size and a shape; always the same one."""
    rng = np.random.default_rng(atoms)
    cell = SHAPES[shape] * np.cbrt(VOLUME_PER_ATOM * atoms / abs(np.linalg.det(SHAPES[shape])))
    side = int(np.ceil(np.cbrt(atoms)))
    sites = np.array(np.unravel_index(rng.permutation(side**3)[:atoms], (side,) * 3)).T
    fractions = (sites + 0.5 + rng.uniform(-0.25, 0.25, (atoms, 3))) / side
    return Case(fractions @ cell, cell, shape != "cluster")


def device(case: Case) -> Contender:
    """Our list on the device, as a graph has it: edges both ways, shifts, slots."""
    return _on_device(case, 0)


def device_in_a_loop(case: Case) -> Contender:
    """The same made again and again by one compiled loop, as in molecular dynamics.

    Its arrays stay where they are; those of a single call are new memory each time, which the
    system has to hand out page by page.
    """
    return _on_device(case, LISTS_IN_A_LOOP)


def _on_device(case: Case, lists: int) -> Contender:
    capacity = cell_list_capacity(case.positions, case.cell, case.pbc, CUTOFF)
    padded = jnp.asarray(np.vstack([case.positions, np.zeros(3)]), jnp.float32)
    real = jnp.arange(len(padded)) < len(case.positions)

    def once(positions: jax.Array, real: jax.Array, cell: jax.Array) -> DevicePairs:
        return device_pairs(positions, real, cell, case.pbc, CUTOFF, capacity)

    def again(positions: jax.Array, real: jax.Array, cell: jax.Array) -> DevicePairs:
        def step(_: Any, found: DevicePairs) -> DevicePairs:
            # Nothing moves, but the compiler cannot know.
            moved = positions + jnp.where(found.overflow, 1.0, 0.0)
            return once(moved, real, cell)

        empty = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(once, positions, real, cell)
        )
        return jax.lax.fori_loop(0, lists, step, empty)

    cell = jnp.asarray(case.cell, jnp.float32)
    work = compile_work(again if lists else once, padded, real, cell)

    def count(found: DevicePairs) -> int:
        if found.overflow:
            raise ValueError(f"{capacity} overflows: {found.needed}")
        return int(found.edge_mask.sum())

    facts = {
        "compile_s": work.compile_s,
        "temporary_bytes": work.temporary_bytes,
        "held_bytes": work.held_bytes,
        "candidates": capacity.candidates,
        "capacity": capacity._asdict(),
    }
    return Contender(work, count, facts, max(lists, 1))


def host(case: Case) -> Contender:
    """Our list on the host with reverse edges, padding and slots, copied to the device."""
    capacity = cell_list_capacity(case.positions, case.cell, case.pbc, CUTOFF)
    last = len(case.positions)

    def run() -> list[jax.Array]:
        pairs = neighbor_pairs(case.positions, case.cell, case.pbc, CUTOFF)
        rest = (0, capacity.pairs - len(pairs))
        first = np.pad(pairs.first, rest, constant_values=last)
        second = np.pad(pairs.second, rest, constant_values=last)
        shifts = np.pad(pairs.shifts, (rest, (0, 0)))
        mask = np.tile(np.arange(capacity.pairs) < len(pairs), 2)
        receivers = np.concatenate([first, second])
        return jax.device_put(
            [
                receivers,
                np.concatenate([second, first]),
                np.concatenate([shifts, -shifts]),
                mask,
                slot_table(receivers, mask, last + 1, capacity.slots),
            ]
        )

    return Contender(run, lambda found: int(found[3].sum()), {})


def matscipy(case: Case) -> Contender:
    """Edges both ways with their shifts, float64."""
    # Without a cell it needs a box.
    cell, origin = case.cell, np.zeros(3)
    if not case.periodic:
        origin = case.positions.min(axis=0)
        cell = np.diag(np.ptp(case.positions, axis=0) + 1e-3)
    run = partial(
        neighbour_list,
        "ijS",
        positions=case.positions - origin,
        cell=cell,
        pbc=case.pbc,
        cutoff=CUTOFF,
    )
    return Contender(run, lambda found: len(found[0]), {})


def vesin(case: Case) -> Contender:
    """Edges both ways with their shifts, float64, with as many threads as it takes."""
    calculator = import_module("vesin").NeighborList(cutoff=CUTOFF, full_list=True)
    run = partial(
        calculator.compute,
        points=case.positions,
        box=case.cell,
        periodic=case.periodic,
        quantities="ijS",
    )
    return Contender(run, lambda found: len(found[0]), {})


def jax_md(case: Case) -> Contender:
    """Its dense table of neighbors by cell list, float32; without shifts and reverse edges."""
    if not case.periodic:
        raise NotTimedError("has no cell list without a box")
    if len(case.positions) > MOST_ATOMS_OF_JAX_MD:
        raise NotTimedError("needs more memory than there is")
    partition, space = import_module("jax_md.partition"), import_module("jax_md.space")
    fractional = not np.array_equal(case.cell, np.diag(np.diag(case.cell)))
    if fractional:
        box = jnp.asarray(case.cell.T, jnp.float32)
        displacement, _ = space.periodic_general(box, fractional_coordinates=True)
        positions = jnp.asarray(case.positions @ np.linalg.inv(case.cell) % 1, jnp.float32)
    else:
        box = jnp.asarray(np.diag(case.cell), jnp.float32)
        displacement, _ = space.periodic(box)
        positions = jnp.asarray(case.positions, jnp.float32)
    functions = partition.neighbor_list(
        displacement, box, CUTOFF, dr_threshold=0.0, fractional_coordinates=fractional
    )
    first = functions.allocate(positions)
    # It keeps its list while no atom has moved: move the atoms that it remembers.
    first = first.set(reference_position=first.reference_position + 1e-3)
    work = compile_work(lambda positions, old: old.update(positions), positions, first)

    def count(found: Any) -> int:
        if found.did_buffer_overflow:
            raise NotTimedError("overflows the capacity that it chose itself")
        return int((found.idx < len(case.positions)).sum())

    facts = {"compile_s": work.compile_s, "temporary_bytes": work.temporary_bytes}
    return Contender(work, count, facts)


MAKERS: dict[str, Callable[[Case], Contender]] = {
    "device": device,
    "device in a loop": device_in_a_loop,
    "host": host,
    "matscipy": matscipy,
    "vesin": vesin,
    "jax-md": jax_md,
}


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


def medians(records: Iterable[dict[str, Any]], shape: str) -> dict[str, dict[int, float]]:
    """Return the medians in ms of each contender by the number of atoms."""
    found: dict[str, dict[int, float]] = {name: {} for name in MAKERS}
    for record in records:
        if record["shape"] == shape and "median_s" in record:
            found[record["contender"]][record["atoms"]] = 1e3 * record["median_s"]
    return found


def faster_from(times: dict[str, dict[int, float]]) -> int | None:
    """Return the smallest size from which on the device list beats the host list at every size."""
    threshold = None
    for atoms in sorted(times["device"].keys() & times["host"].keys(), reverse=True):
        if times["device"][atoms] >= times["host"][atoms]:
            break
        threshold = atoms
    return threshold


def report(results: dict[str, Any]) -> str:
    """Return times, the threshold, scaling and memory as Markdown."""
    machine, versions, records = (results[key] for key in ("machine", "versions", "records"))
    lines = [
        "# Neighbor lists",
        "",
        f"Cutoff {CUTOFF} Å, 0.1 atoms/Å³ in random order, medians in ms of contenders in turn, on "
        f"{machine['processor'] or machine['device']}, {machine['threads']} threads, "
        + ", ".join(f"{name} {versions[name]}" for name in ("jax", *PEERS))
        + ". `device`: `graph/cell_list.py`, float32, with shifts, reverse edges and slots, "
        "capacities with their default headroom. `device in a loop`: one of several lists made in "
        "a compiled loop, as in molecular dynamics, where memory is not handed out anew for every "
        "list. `host`: the same from `graph/neighbors.py`, copied to the device. matscipy and "
        "vesin give edges both ways with shifts, jax-md a table of neighbors without. Every list "
        "was checked to have the same number of edges. The last column: how many lists have to be "
        "made before `device` has saved, against `host`, what compiling it took.",
        "",
        "![times](times.png)",
    ]
    compiling = {
        (record["shape"], record["atoms"]): record["compile_s"]
        for record in records
        if record["contender"] == "device" and "median_s" in record
    }
    for shape in SHAPES:
        times = medians(records, shape)
        sizes = sorted({atoms for each in times.values() for atoms in each})
        if not sizes:
            continue
        lines += [
            "",
            f"## {shape.capitalize()}{', open' if shape == 'cluster' else ', periodic'}",
            "",
            "| atoms | " + " | ".join(MAKERS) + " | matscipy / device | vesin / device "
            "| lists that pay for compiling |",
            "|---:|" + "---:|" * (len(MAKERS) + 3),
        ]
        for atoms in sizes:
            row = [f"{atoms:,}"]
            row += [f"{times[n][atoms]:.3g}" if atoms in times[n] else "" for n in MAKERS]
            for name in ("matscipy", "vesin"):
                both = atoms in times[name] and atoms in times["device"]
                row.append(f"{times[name][atoms] / times['device'][atoms]:.2g}" if both else "")
            saved = times["host"].get(atoms, 0) - times["device"].get(atoms, np.inf)
            row.append(f"{1e3 * compiling[shape, atoms] / saved:,.0f}" if saved > 0 else "")
            lines.append("| " + " | ".join(row) + " |")
        threshold = faster_from(times)
        if threshold is not None:
            lines += ["", f"Once compiled, `device` beats `host` from {threshold} atoms on."]
        in_a_loop = times["device in a loop"]
        large = [atoms for atoms in sorted(in_a_loop) if atoms >= 10_000]
        for low, high in itertools.pairwise(large):
            slope = np.log(in_a_loop[high] / in_a_loop[low]) / np.log(high / low)
            lines += ["", f"In a loop, from {low:,} to {high:,} atoms: N^{slope:.2f}."]
    lines += ["", "## Memory and compiling of the device list", ""]
    lines += [
        "| atoms | shape | distances tested / atom | bytes / atom: held, temporary | compile, s |",
        "|---:|---|---:|---:|---:|",
    ]
    for record in records:
        if record["contender"] == "device" and "median_s" in record and record["atoms"] >= 1000:
            held, temporary = (
                round(record[key] / record["atoms"]) for key in ("held_bytes", "temporary_bytes")
            )
            lines.append(
                f"| {record['atoms']:,} | {record['shape']} | "
                f"{record['candidates'] / record['atoms']:.0f} | {held}, {temporary} | "
                f"{record['compile_s']:.1f} |"
            )
    reasons = sorted(
        f"{r['contender']}, {r['shape']}, {r['atoms']:,} atoms: {r['not_timed']}."
        for r in records
        if "not_timed" in r
    )
    if reasons:
        lines += ["", "## Not timed", "", *(f"- {reason}" for reason in reasons)]
    return "\n".join(lines) + "\n"


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw times against atoms on logarithmic axes."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(
        1, len(SHAPES), figsize=(13, 4), sharey=True, layout="constrained"
    )
    for panel, shape in zip(panels, SHAPES, strict=True):
        for name, times in medians(results["records"], shape).items():
            if times:
                sizes = sorted(times)
                style = "o-" if name in OURS else "s--"
                panel.loglog(sizes, [times[n] for n in sizes], style, label=name, markersize=4)
        panel.set_title(f"{shape}{', open' if shape == 'cluster' else ', periodic'}")
        panel.set_xlabel("atoms")
        panel.grid(alpha=0.3)
        panel.legend()
    panels[0].set_ylabel("time (ms)")
    figure.savefig(path, dpi=150)
    plt.close(figure)


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
    folder = arguments.folder or RESULTS / machine_name() / "neighbours"
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
        "benchmark": "neighbours",
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
