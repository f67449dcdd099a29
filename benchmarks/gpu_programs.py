"""Count what the package's programs cost on GPUs, without one: kernels, bytes, memory.

pip install "jax[cuda12]"     # in an environment of its own, of the version of jax in use
python benchmarks/gpu_programs.py [FOLDER] [--devices h100 a100 rtx4090] [--kernels on off]
                                  [--only PATTERN] [--missing] [--list] [--placeholders]

XLA compiles for a GPU that is only described; nothing is run and nothing timed, so the counts are
exact. For the first device all programs are compiled, for the others a few typical ones. What is
asked for replaces what the folder's results have of it, so that it can be run in pieces. With
--placeholders kernels written by hand are not compiled, only what is around them: the same counts
in a fifth of the time.
"""

import argparse
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter

import ase
import jax
from gpu.cases import BATCH, BATCHED, Case, all_cases
from gpu.compiling import MissingCompilerError, as_on_gpu, compile_for, placeholders, prepare
from gpu.cost import Stepwise, cheapest, cost_of, scatters, stepwise
from gpu.devices import DEVICES, LAUNCH, Device
from gpu.programs import program_of
from gpu.report import Record, plot, report
from results_file import RESULTS, add_records
from systems import nine_systems

from tensornet_jax.ops.kernels.choice import use_kernels
from tensornet_jax.runtime.precision import precision_scope

NAME = "gpu-programs"
KEYS = ("device", "kernels", "model", "form", "task", "system")
LARGEST = 5
# Of the name of an operation, its end says most.
NAME_LENGTH = 100


def structures_of(system: str) -> list[ase.Atoms]:
    """Return the structures of a system."""
    systems = nine_systems()
    return [systems["aspirin"]] * BATCH if system == BATCHED else [systems[system]]


def measured(case: Case, device: Device, mode: str, *, with_code: bool) -> Record:
    """Compile a program and count what it costs.

    Args:
        case: which.
        device: for which GPU.
        mode: of kernels, "on" or "off".
        with_code: compile kernels written by hand, not only what is around them.
    """
    kernels = use_kernels("on" if mode == "on" else "off")
    code = nullcontext() if with_code else placeholders()
    with as_on_gpu(), kernels, code, precision_scope("float32"):
        program = program_of(case, structures_of(case.system))
        begun = perf_counter()
        compiled = compile_for(device, program.function, *program.arguments, **program.named)
        seconds = perf_counter() - begun
    text, memory = compiled.as_text(), compiled.memory_analysis()
    assert text is not None
    assert memory is not None
    # Of dynamics, one step with a list that still holds, and one that makes a new list.
    whole, kept = cost_of(text), cost_of(text, cheapest)
    with_list, taken = Stepwise(whole, 1, 0), Stepwise(whole, 1, 0)
    if case.takes_steps:
        with_list, taken = stepwise(whole), stepwise(kept)
    step = taken.step
    floor = memory.argument_size_in_bytes + memory.output_size_in_bytes
    held = floor - memory.alias_size_in_bytes
    return {
        "atoms": program.atoms,
        "edges": program.edges,
        "launches": step.launches,
        "bytes": step.bytes,
        "launches_with_list": with_list.step.launches,
        "bytes_with_list": with_list.step.bytes,
        "steps_in_block": taken.steps,
        "launches_around_steps": taken.around,
        "temporary_bytes": memory.temp_size_in_bytes,
        "held_bytes": held,
        "floor_bytes": floor,
        # All of the program's, since each of them waits for the host.
        "dynamic_loops": whole.dynamic_loops,
        "conditionals": whole.conditionals,
        "scatters": scatters(text),
        "predicted_s": device.seconds(step.launches, step.bytes),
        "predicted_without_graph_s": device.seconds(step.launches, step.bytes, LAUNCH),
        "kinds": dict(step.kinds.most_common()),
        "largest": [
            {"bytes": each.bytes, "launches": each.launches, "name": each.name[-NAME_LENGTH:]}
            for each in step.largest(LARGEST)
        ],
        "compile_s": seconds,
        "with_code": with_code,
        "jax": jax.__version__,
    }


def asked_for(arguments: argparse.Namespace) -> list[tuple[str, str, Case]]:
    """Return device, mode of kernels and case of what is to be compiled."""
    found = []
    for name in arguments.devices:
        for case in all_cases():
            everything = name == next(iter(DEVICES)) or arguments.all
            if (everything or case.is_typical) and re.search(arguments.only, str(case)):
                found += [(name, mode, case) for mode in arguments.kernels]
    return found


def write(folder: Path, new: list[Record]) -> list[Record]:
    """Add records to the folder's, write tables and picture, and return all of them."""
    results = add_records(folder, NAME, new, KEYS, {})
    (folder / "README.md").write_text(report(results), encoding="utf-8")
    plot(results, folder / "gpu_programs.png")
    return results["records"]


def main() -> None:
    """Compile what is asked for and write results.json, README.md and gpu_programs.png."""
    parser = argparse.ArgumentParser(description="Count what programs cost on GPUs.")
    parser.add_argument("folder", nargs="?", type=Path, default=RESULTS / NAME)
    parser.add_argument("--devices", nargs="+", choices=DEVICES, default=list(DEVICES))
    parser.add_argument("--kernels", nargs="+", choices=("on", "off"), default=["on", "off"])
    parser.add_argument("--only", default="", help="regular expression that names must contain")
    parser.add_argument("--all", action="store_true", help="all programs for all devices")
    parser.add_argument("--missing", action="store_true", help="only what the results lack")
    parser.add_argument(
        "--placeholders", action="store_true", help="leave out the code of kernels written by hand"
    )
    parser.add_argument("--list", action="store_true", help="print the names and do nothing")
    arguments = parser.parse_args()
    wanted = asked_for(arguments)
    if arguments.list:
        print("\n".join(f"{name}, kernels {mode}: {case}" for name, mode, case in wanted))
        return
    try:
        prepare(placeholders=arguments.placeholders)
    except MissingCompilerError as error:
        sys.exit(str(error))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    known = {tuple(each[key] for key in KEYS) for each in write(arguments.folder, [])}
    for name, mode, case in wanted:
        identity = {"device": name, "kernels": mode, **vars(case)}
        if arguments.missing and tuple(identity[key] for key in KEYS) in known:
            continue
        with_code = mode == "off" or not arguments.placeholders
        record = identity | measured(case, DEVICES[name], mode, with_code=with_code)
        write(arguments.folder, [record])
        print(
            f"{DEVICES[name].title}, kernels {mode}, {case}: {record['launches']} kernels, "
            f"{record['bytes'] / 1e6:.1f} MB, in {record['compile_s']:.0f} s",
            flush=True,
        )
        jax.clear_caches()


if __name__ == "__main__":
    main()
