"""`tensornet-jax predict`: write a model's predictions as extended XYZ."""

from pathlib import Path
from typing import Annotated

import typer

from tensornet_jax.cli.common import (
    BOOKKEEPING,
    BatchOption,
    ChargeOption,
    LabelOption,
    ModelArgument,
    PrecisionOption,
    SpinOption,
    UnitOption,
    check_output,
    label_config,
    open_model,
    read_labelled,
    set_state,
)


def predict(
    model: ModelArgument,
    data: Annotated[Path, typer.Argument(metavar="INPUT", help="Structures.", show_default=False)],
    output: Annotated[
        Path,
        typer.Argument(metavar="OUTPUT", help="Extended XYZ to write.", show_default=False),
    ],
    dtype: PrecisionOption = None,
    batch_size: BatchOption = 32,
    charge: ChargeOption = None,
    spin: SpinOption = None,
    labels: LabelOption = None,
    units: UnitOption = None,
) -> None:
    """Write structures with predicted_energy (eV), predicted_forces (eV/Å) and so on.

    predicted_energies (eV, per atom), predicted_stress (eV/Å³, tension positive; periodic
    structures), predicted_dipole (e·Å; molecules), predicted_charges (e) and the model's tensors
    (3, 9, 27 or 81 Cartesian components in a row) come with models that have them. Labels of the
    input are written as REF_energy, REF_forces and so on in the same units.
    """
    check_output(output, model, data)
    config = label_config(labels, units)
    potential = open_model(model, dtype)

    import ase.io

    structures = read_labelled(data, potential, config)
    set_state(potential, structures, charge, spin)
    tensors = tuple(head.name for head in potential.tensor_heads)
    groups: dict[tuple[str, ...], list] = {}
    for atoms in structures:
        wanted = (
            *("energy", "energies", "forces", "charges"),
            *(("stress",) if atoms.pbc.any() and atoms.cell.volume > 0 else ("dipole",)),
            *tensors,
        )
        compute = tuple(name for name in wanted if name in potential.properties)
        groups.setdefault(compute, []).append(atoms)
    for compute, members in groups.items():
        for atoms, prediction in zip(
            members, potential.evaluate(members, compute, batch_size), strict=True
        ):
            for key in BOOKKEEPING:
                atoms.info.pop(key, None)
            for name, value in prediction.items():
                per_atom = name in potential.per_atom
                if name in tensors:
                    value = value.reshape(len(atoms), -1) if per_atom else value.ravel()
                place = atoms.arrays if per_atom else atoms.info
                place[f"predicted_{name}"] = value
    ase.io.write(output, structures, format="extxyz")
    typer.echo(f"{len(structures)} structures written: {output}")
