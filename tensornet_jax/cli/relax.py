"""`tensornet-jax relax`: relax atoms, and the cell if asked, with ASE's optimizers."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensornet_jax.cli.common import (
    ChargeOption,
    DoublePrecisionOption,
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
    from tensornet_jax.md.ase_relaxation import AseRelaxation
    from tensornet_jax.potential.potential import Potential


class Optimizer(StrEnum):
    """ASE's optimizers that need no settings."""

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
    optimizer: Annotated[Optimizer, typer.Option(help="Algorithm.")] = Optimizer.bfgs,
    trajectory: TrajectoryOption = None,
    log: LogOption = None,
    charge: ChargeOption = None,
    spin: SpinOption = None,
    dtype: DoublePrecisionOption = Precision.float64,
    force: ForceOption = False,
    resume: ResumeOption = False,
) -> None:
    """Relax every structure of INPUT, one after the other; exit code 1 if one fails.

    Each is in OUTPUT as soon as it is relaxed. One that cannot be relaxed is told by file and
    index, and left out; one that has not converged is written with converged=F. Both are exit
    code 1.
    """
    check_output(output, model, data)
    if trajectory is not None and trajectory.suffix != ".traj":
        raise ValueError(f"--trajectory {trajectory}: end its name in .traj")
    for path in filter(None, (trajectory, log)):
        check_output(path, model, data, output)
        if path.resolve() == output.resolve():
            raise ValueError(f"{path} is OUTPUT: give --trajectory and --log names of their own")

    from tensornet_jax.md.ase_relaxation import AseRelaxation

    change = "none" if cell_change is None and not cell else (cell_change or CellChange.full).value
    how = AseRelaxation(fmax, steps, optimizer.value, change, pressure, symmetry)
    with held_output(output, force=force, resume=resume):
        potential = open_model(model, dtype)
        refused: list[Refusal] = []
        structures = read_geometries(data, visible_state(potential, charge, spin), refused)
        settings = {"command": "relax", "model": sha256_of(model), "dtype": potential.dtype}
        run = GrowingOutput(output, settings | asdict(how), structures, refused, resume=resume)
        files = _files(trajectory, log, run.todo, len(structures) + len(refused))
        if not (force or run.goes_on):
            _check_new(files)
        with run.growing():
            _relax_all(potential, how, run, files)
        run.finish()


def _relax_all(
    potential: "Potential",
    how: "AseRelaxation",
    run: GrowingOutput,
    files: dict[int, tuple[Path | None, Path | None]],
) -> None:
    from tensornet_jax.calculator import TensorNetCalculator
    from tensornet_jax.md.ase_relaxation import relax_in_place
    from tensornet_jax.potential.results_on_atoms import attach_results

    typer.echo("structure   steps   energy change (eV)   largest force (eV/Å)")
    calculator = TensorNetCalculator(potential)
    for index in run.todo:
        # The input stays as it is: it is what messages and the run's checksum refer to.
        atoms = run.structures[index].to_atoms(notes=False)
        atoms.calc = calculator
        try:
            outcome = relax_in_place(atoms, how, *files[index])
        except (ValueError, RuntimeError, ArithmeticError) as error:
            # Nothing of this structure may stay with the calculator.
            calculator.reset()
            run.fail(index, error)
            continue
        # The calculator remembers one structure only, and each is written with its own results.
        attach_results(atoms, calculator.results, potential.per_atom)
        run.write(index, atoms, converged=outcome.converged)
        note = "" if outcome.converged else "   not converged"
        typer.echo(
            f"{index:>9}   {outcome.steps:>5}   {outcome.energy_change:>18.4f}   "
            f"{outcome.largest_force:>20.4f}{note}"
        )


def _files(
    trajectory: Path | None, log: Path | None, indices: list[int], count: int
) -> dict[int, tuple[Path | None, Path | None]]:
    """Return trajectory and log of each structure."""

    def named(path: Path | None, index: int) -> Path | None:
        if path is None or count == 1:
            return path
        return path.with_name(f"{path.stem}_{index}{path.suffix}")

    return {index: (named(trajectory, index), named(log, index)) for index in indices}


def _check_new(files: dict[int, tuple[Path | None, Path | None]]) -> None:
    for paths in files.values():
        for path in paths:
            if path is not None and path.exists():
                raise ValueError(
                    f"{path} exists: choose another --trajectory or --log, or overwrite with "
                    "--force"
                )
