"""`tensornet-jax relax`: relax atoms, and the cell if asked, with ASE's optimizers."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    set_state,
)

if TYPE_CHECKING:
    from ase import Atoms

NOT_CONVERGED = 1


class Optimizer(StrEnum):
    """ASE's optimizers that need no settings."""

    fire = "fire"
    bfgs = "bfgs"


def relax(
    model: ModelArgument,
    data: Annotated[Path, typer.Argument(metavar="INPUT", help="Structures.", show_default=False)],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT", help="Relaxed structures; format by suffix.", show_default=False
        ),
    ],
    fmax: Annotated[float, typer.Option(min=0, help="Largest force at the end, eV/Å.")] = 0.01,
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell as well.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Largest number of steps.")] = 500,
    optimizer: Annotated[Optimizer, typer.Option(help="Algorithm.")] = Optimizer.bfgs,
    charge: ChargeOption = None,
    spin: SpinOption = None,
    dtype: DoublePrecisionOption = Precision.float64,
) -> None:
    """Relax every structure of INPUT; exit code 1 if one has not converged."""
    check_output(output, model, data)
    potential = open_model(model, dtype)

    import ase.io
    from ase.calculators.singlepoint import SinglePointCalculator

    from tensornet_jax.calculator import TensorNetCalculator

    structures = read_geometries(data)
    set_state(potential, structures, charge, spin)
    if cell:
        for index, atoms in enumerate(structures):
            if not atoms.pbc.all():
                raise ValueError(
                    f"{data}: structure {index} is not periodic in three directions "
                    f"(pbc {atoms.pbc.tolist()}): leave out --cell"
                )
    typer.echo("structure   steps   energy change (eV)   largest force (eV/Å)")
    unconverged = 0
    calculator = TensorNetCalculator(potential)
    for index, atoms in enumerate(structures):
        atoms.calc = calculator
        converged, taken, change, force = _relaxed(atoms, optimizer, fmax, steps, cell)
        # The calculator remembers one structure only, and each is written with its own results.
        atoms.calc = SinglePointCalculator(atoms, **calculator.results)
        unconverged += not converged
        note = "" if converged else "   not converged"
        typer.echo(f"{index:>9}   {taken:>5}   {change:>18.4f}   {force:>20.4f}{note}")
    ase.io.write(output, structures)
    typer.echo(f"written: {output}")
    if unconverged:
        typer.echo(
            f"{unconverged} of {len(structures)} not converged: raise --steps or --fmax", err=True
        )
        raise typer.Exit(NOT_CONVERGED)


def _relaxed(
    atoms: "Atoms", optimizer: Optimizer, fmax: float, steps: int, cell: bool
) -> tuple[bool, int, float, float]:
    """Relax in place; return whether it converged, steps, energy change (eV), max force (eV/Å)."""
    import numpy as np
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS, FIRE

    start = atoms.get_potential_energy()
    target: Any = FrechetCellFilter(atoms) if cell else atoms
    run = {Optimizer.fire: FIRE, Optimizer.bfgs: BFGS}[optimizer](target, logfile=None)
    converged = run.run(fmax=fmax, steps=steps)
    force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    return bool(converged), run.nsteps, atoms.get_potential_energy() - start, force
