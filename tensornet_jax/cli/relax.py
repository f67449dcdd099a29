"""`tensornet-jax relax`: relax atoms, and the cell if asked, on an engine of choice."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensornet_jax.cli.common import (
    ChargeOption,
    DoublePrecisionOption,
    HeadOption,
    ModelArgument,
    Precision,
    SpinOption,
    check_output,
    open_model,
    read_geometries,
    visible_state,
)
from tensornet_jax.cli.growing_output import (
    ForceOption,
    GrowingOutput,
    ResumeOption,
    held_output,
)
from tensornet_jax.runtime.whole_files import sha256_of

if TYPE_CHECKING:
    from tensornet_jax.data.readers import Refusal
    from tensornet_jax.md.output.relaxation_files import StepPaths
    from tensornet_jax.md.relaxation_settings import Relaxation
    from tensornet_jax.potential.potential import Potential

DEFAULT_ENGINE = "ase"
# Structures that relax at once on the device.
TOGETHER = 32


class Optimizer(StrEnum):
    """Optimizers that need no settings."""

    bfgs = "bfgs"
    lbfgs = "lbfgs"
    fire = "fire"


class CellChange(StrEnum):
    """What of the cell relaxes."""

    full = "full"
    lengths = "lengths"
    isotropic = "isotropic"
    in_plane = "in-plane"


InputArgument = Annotated[
    Path, typer.Argument(metavar="INPUT", help="Structures.", show_default=False)
]
OutputArgument = Annotated[
    Path,
    typer.Argument(
        metavar="OUTPUT",
        help="Relaxed structures; .xyz, .extxyz, .traj, .db, or, for a single structure, any "
        "other format that ASE writes.",
        show_default=False,
    ),
]
ForceLimitOption = Annotated[float, typer.Option(min=0, help="Largest force at the end, eV/Å.")]
CellOption = Annotated[bool, typer.Option("--cell", help="Relax the cell as well.")]
CellChangeOption = Annotated[
    CellChange | None,
    typer.Option(
        help="Relax of the cell: all; the lengths along x, y, z; its size alone; or, for slabs, "
        "what lies in their plane.",
        show_default="full with --cell",
    ),
]
PressureOption = Annotated[
    float, typer.Option(help="Outside pressure, GPa, for a cell that relaxes.")
]
SymmetryOption = Annotated[
    bool, typer.Option("--symmetry", help="Keep the space group of each structure (needs spglib).")
]
TrajectoryOption = Annotated[
    Path | None,
    typer.Option(
        metavar="NAME.traj",
        help="Write every step; of several structures to NAME_0.traj, NAME_1.traj …",
        show_default=False,
    ),
]
LogOption = Annotated[
    Path | None,
    typer.Option(
        metavar="NAME.log",
        help="Write energy and largest force of every step; files as of --trajectory.",
        show_default=False,
    ),
]


EngineOption = Annotated[
    str,
    typer.Option(
        help="ase: ASE's optimizers, one structure after the other; device: many structures at "
        "once in one compiled loop."
    ),
]
OptimizerOption = Annotated[
    Optimizer | None,
    typer.Option(
        help="Algorithm; on the device lbfgs or fire.", show_default="bfgs, device: lbfgs"
    ),
]
TogetherOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        help="Structures that relax at once on the device; they are written together.",
        show_default=f"{TOGETHER}",
    ),
]


def relax(
    model: ModelArgument,
    data: InputArgument,
    output: OutputArgument,
    fmax: ForceLimitOption = 0.01,
    cell: CellOption = False,
    cell_change: CellChangeOption = None,
    pressure: PressureOption = 0.0,
    symmetry: SymmetryOption = False,
    steps: Annotated[int, typer.Option(min=1, help="Largest number of steps.")] = 500,
    engine: EngineOption = DEFAULT_ENGINE,
    optimizer: OptimizerOption = None,
    batch_size: TogetherOption = None,
    trajectory: TrajectoryOption = None,
    log: LogOption = None,
    charge: ChargeOption = None,
    spin: SpinOption = None,
    head: HeadOption = None,
    dtype: DoublePrecisionOption = Precision.float64,
    force: ForceOption = False,
    resume: ResumeOption = False,
) -> None:
    """Relax every structure of INPUT; exit code 1 if one fails.

    Each is in OUTPUT as soon as it, or on the device its batch, is relaxed. One that cannot be
    relaxed is told by file and index, and left out; one that has not converged is written with
    converged=F. Both are exit code 1.
    """
    _check_paths(model, data, output, trajectory, log)

    from tensornet_jax.md.relaxation_settings import Relaxation, check_engine, relaxing_of

    change = "none" if cell_change is None and not cell else (cell_change or CellChange.full).value
    chosen = optimizer.value if optimizer else relaxing_of(engine).optimizers[0]
    how = Relaxation(fmax, steps, chosen, change, pressure, symmetry)
    check_engine(engine, how, together=batch_size is not None)
    with held_output(output, force=force, resume=resume):
        potential = open_model(model, dtype, head)
        potential.config.require_energy()
        refused: list[Refusal] = []
        structures = read_geometries(data, visible_state(potential, charge, spin), refused)
        settings = {"command": "relax", "model": sha256_of(model), "dtype": potential.dtype}
        # Runs of versions without a choice go on.
        settings |= {} if engine == DEFAULT_ENGINE else {"engine": engine}
        settings |= {} if head is None else {"head": head}
        run = GrowingOutput(output, settings | asdict(how), structures, refused, resume=resume)
        paths = _paths(trajectory, log, run.todo, len(structures) + len(refused))
        if not (force or run.goes_on):
            _check_new(paths)
        with run.growing():
            _relax_all(engine, potential, how, run, paths, batch_size or TOGETHER)
        run.finish()


def _relax_all(
    engine: str,
    potential: "Potential",
    how: "Relaxation",
    run: GrowingOutput,
    paths: "dict[int, StepPaths]",
    batch_size: int,
) -> None:
    from tensornet_jax.md.engines.loading import relaxer_of
    from tensornet_jax.md.relaxation_settings import relaxing_of

    typer.echo("structure   steps   energy change (eV)   largest force (eV/Å)")
    todo = {index: run.structures[index].to_atoms(notes=False) for index in run.todo}
    relaxer = relaxer_of(relaxing_of(engine))
    for index, result in relaxer(potential, todo, how, paths, batch_size=batch_size):
        if isinstance(result, Exception):
            run.fail(index, result)
            continue
        atoms, outcome = result
        run.write(index, atoms, converged=outcome.converged)
        note = "" if outcome.converged else "   not converged"
        typer.echo(
            f"{index:>9}   {outcome.steps:>5}   {outcome.energy_change:>18.4f}   "
            f"{outcome.largest_force:>20.4f}{note}"
        )


def _check_paths(
    model: Path, data: Path, output: Path, trajectory: Path | None, log: Path | None
) -> None:
    """Raise ValueError for names that cannot be written, or would overwrite what is read."""
    check_output(output, model, data)
    if trajectory is not None and trajectory.suffix != ".traj":
        raise ValueError(f"--trajectory {trajectory}: end its name in .traj")
    for path in filter(None, (trajectory, log)):
        check_output(path, model, data, output)
        if path.resolve() == output.resolve():
            raise ValueError(f"{path} is OUTPUT: give --trajectory and --log names of their own")


def _paths(
    trajectory: Path | None, log: Path | None, indices: list[int], count: int
) -> "dict[int, StepPaths]":
    """Return trajectory and log of each structure."""
    from tensornet_jax.md.output.relaxation_files import StepPaths

    def named(path: Path | None, index: int) -> Path | None:
        if path is None or count == 1:
            return path
        return path.with_name(f"{path.stem}_{index}{path.suffix}")

    return {index: StepPaths(named(trajectory, index), named(log, index)) for index in indices}


def _check_new(paths: "dict[int, StepPaths]") -> None:
    for each in paths.values():
        for path in each:
            if path is not None and path.exists():
                raise ValueError(
                    f"{path} exists: choose another --trajectory or --log, or overwrite with "
                    "--force"
                )
