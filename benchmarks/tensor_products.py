"""Measure the committed sweep: every tensor product and its peers, to L = 8.

python benchmarks/tensor_products.py [--quick] [FOLDER]

Peers take part where they are installed: pip install "tensornet_jax[benchmark]".
"""

import argparse
from pathlib import Path

from tensornet_jax.benchmark.cases import standard_cases
from tensornet_jax.benchmark.contenders import our_contenders
from tensornet_jax.benchmark.machine import machine_name
from tensornet_jax.benchmark.peers import peer_contenders
from tensornet_jax.benchmark.report import fastest_lines, write_results
from tensornet_jax.benchmark.tensor_products import run

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the sweep and write its results."""
    parser = argparse.ArgumentParser(description="Measure the committed sweep.")
    parser.add_argument("folder", nargs="?", type=Path, help="default: results/MACHINE")
    parser.add_argument("--quick", action="store_true", help="a few cases only")
    arguments = parser.parse_args()
    folder = arguments.folder or RESULTS / machine_name() / "tensor_products"
    contenders = our_contenders() + peer_contenders()
    results = run(
        standard_cases(arguments.quick), contenders, report=lambda line: print(line, flush=True)
    )
    print("\n".join(fastest_lines(results)))
    for path in write_results(folder, results):
        print(f"written: {path}")


if __name__ == "__main__":
    main()
