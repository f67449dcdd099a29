"""Time the SO(2) convolution against the equal Clebsch–Gordan product, to L = 8.

python benchmarks/edge_convolution.py [FOLDER] [--edges 1000] [--channels 16]

Both are the same map of features, path weights and edge vectors; that they agree is checked before
they are timed. Frames, harmonics and the change of weights are part of what is timed.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from jax import Array
from results_file import machine_line

from tensornet_jax.benchmark.machine import describe_machine, installed_versions, machine_name
from tensornet_jax.benchmark.measure import alternate, compile_work
from tensornet_jax.ops.harmonics.solid_harmonics import solid_harmonics
from tensornet_jax.ops.rotations.edge_frames import edge_frames
from tensornet_jax.ops.so2.convolution import edge_convolution, so2_weights_from_clebsch_gordan
from tensornet_jax.ops.tensor_products import ClebschGordan

RESULTS = Path(__file__).parent / "results"
DEGREES = range(1, 9)


def contenders(l_max: int) -> dict[str, Any]:
    """Return both convolutions as functions of features, edge vectors and path weights."""
    product = ClebschGordan(l_max, l_max, l_max, "component")

    def clebsch_gordan(features: Array, vectors: Array, weights: Array) -> Array:
        directions = vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)
        harmonics = solid_harmonics(directions, l_max, "component")
        return product(features, harmonics[:, None], weights)

    def so2(features: Array, vectors: Array, weights: Array) -> Array:
        frames = edge_frames(vectors[:, None], l_max)
        return edge_convolution(
            features, frames, so2_weights_from_clebsch_gordan(weights, l_max, l_max, l_max)
        )

    return {"clebsch_gordan": clebsch_gordan, "so2": so2}


def with_gradient(function: Any) -> Any:
    """Return the function with the gradients of its sum of squares."""
    return jax.value_and_grad(lambda *inputs: jnp.sum(function(*inputs) ** 2), (0, 1, 2))


def run(edges: int, channels: int) -> dict[str, Any]:
    """Check and time both at every L."""
    records = []
    for l_max in DEGREES:
        keys = jax.random.split(jax.random.key(l_max), 3)
        functions = contenders(l_max)
        num_paths = len(ClebschGordan(l_max, l_max, l_max).paths)
        arguments = (
            jax.random.normal(keys[0], (edges, channels, (l_max + 1) ** 2)),
            jax.random.normal(keys[1], (edges, 3)),
            jax.random.normal(keys[2], (num_paths,)),
        )
        found, expected = (
            np.asarray(jax.jit(functions[name])(*arguments)) for name in ("so2", "clebsch_gordan")
        )
        error = float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))
        if error > 1e-4:
            raise ValueError(f"the convolutions differ by {error:.1e} at L = {l_max}")
        named = [
            (name, direction, compile_work(make(function), *arguments))
            for direction, make in (("forward", lambda f: f), ("forward_backward", with_gradient))
            for name, function in functions.items()
        ]
        timings = alternate([work for _, _, work in named], seconds=1.0)
        for (name, direction, work), timing in zip(named, timings, strict=True):
            record = {"l_max": l_max, "contender": name, "direction": direction, "error": error}
            records.append(record | {"compile_s": work.compile_s} | asdict(timing))
            print(f"L = {l_max} {direction} {name}: {1e3 * timing.median_s:.2f} ms", flush=True)
    return {
        "benchmark": "edge_convolution",
        "machine": describe_machine(),
        "versions": installed_versions(),
        "edges": edges,
        "channels": channels,
        "records": records,
    }


def times_of(results: dict[str, Any], contender: str, direction: str) -> np.ndarray:
    """Return the medians in ms for all L."""
    return np.array(
        [
            1e3 * record["median_s"]
            for record in results["records"]
            if (record["contender"], record["direction"]) == (contender, direction)
        ]
    )


def slope(times: np.ndarray) -> float:
    """Return the exponent of L + 1 from L = 4 on."""
    degrees = np.array(DEGREES)
    return float(np.polyfit(np.log(degrees[3:] + 1), np.log(times[3:]), 1)[0])


def table(results: dict[str, Any]) -> str:
    """Return times, ratios and slopes as Markdown."""
    lines = [
        "# SO(2) convolution against the Clebsch–Gordan product",
        "",
        f"The same map of {results['edges']} edges with {results['channels']} channels, all "
        f"degrees to L in features, filter and output, float32, medians in ms on "
        f"{machine_line(results)}. Slope: exponent of L + 1 from L = 4 on.",
        "",
        "![times](times.png)",
        "",
        "| | " + " | ".join(f"L={l_max}" for l_max in DEGREES) + " | slope |",
        "|---|" + "---:|" * (len(DEGREES) + 1),
    ]
    for direction in ("forward", "forward_backward"):
        both = {}
        for contender in ("clebsch_gordan", "so2"):
            both[contender] = times = times_of(results, contender, direction)
            cells = " | ".join(f"{time:.3g}" for time in times)
            label = f"{contender}, {direction.replace('_', ' + ')}"
            lines.append(f"| {label} | {cells} | {slope(times):.1f} |")
        cells = " | ".join(f"{r:.2f}" for r in both["clebsch_gordan"] / both["so2"])
        lines.append(f"| so2 times as fast | {cells} | |")
    return "\n".join(lines) + "\n"


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw times against L + 1 on logarithmic axes."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharex=True, layout="constrained")
    degrees = np.array(DEGREES)
    for panel, direction in zip(panels, ("forward", "forward_backward"), strict=True):
        for contender in ("clebsch_gordan", "so2"):
            times = times_of(results, contender, direction)
            label = f"{contender}: slope {slope(times):.1f}"
            panel.loglog(degrees + 1, times, "o-", label=label)
        panel.set_title(direction.replace("_", " + "))
        panel.set_xticks(degrees + 1, [str(l_max) for l_max in degrees], minor=False)
        panel.minorticks_off()
        panel.set_xlabel("L")
        panel.set_ylabel("time (ms)")
        panel.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Run and write results.json, README.md and times.png."""
    parser = argparse.ArgumentParser(description="Time SO(2) and Clebsch–Gordan convolutions.")
    parser.add_argument("folder", nargs="?", type=Path, help="default: results/MACHINE/...")
    parser.add_argument("--edges", type=int, default=1000)
    parser.add_argument("--channels", type=int, default=16)
    arguments = parser.parse_args()
    folder = arguments.folder or RESULTS / machine_name() / "edge_convolution"
    results = run(arguments.edges, arguments.channels)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(table(results), encoding="utf-8")
    plot(results, folder / "times.png")
    print(table(results))


if __name__ == "__main__":
    main()
