"""`tensornet-jax predict`: write structures with a model's predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensornet_jax.cli.common import (
    BatchOption,
    ChargeOption,
    DevicesOption,
    LabelOption,
    ModelArgument,
    PrecisionOption,
    SpinOption,
    StatedHeadOption,
    UnitOption,
    check_output,
    label_config,
    open_devices,
    open_model,
    read_for_model,
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
    import numpy as np
    from ase import Atoms

    from tensornet_jax.data.labelled_structure import LabelledStructure
    from tensornet_jax.data.readers import Refusal
    from tensornet_jax.potential.potential import Potential
    from tensornet_jax.runtime.devices import Devices

    Prediction = dict[str, np.ndarray] | Exception
    """What a model says of a structure, or why it says nothing."""


def predict(
    model: ModelArgument,
    data: Annotated[Path, typer.Argument(metavar="INPUT", help="Structures.", show_default=False)],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT", help="File to write; .xyz, .extxyz, .traj or .db.", show_default=False
        ),
    ],
    head: StatedHeadOption = None,
    dtype: PrecisionOption = None,
    batch_size: BatchOption = 32,
    devices: DevicesOption = None,
    charge: ChargeOption = None,
    spin: SpinOption = None,
    labels: LabelOption = None,
    units: UnitOption = None,
    force: ForceOption = False,
    resume: ResumeOption = False,
) -> None:
    """Write structures with predicted_energy (eV), predicted_forces (eV/Å) and so on.

    predicted_energies (eV, per atom), predicted_stress (eV/Å³, tension positive; periodic
    structures), predicted_dipole (e·Å; molecules), predicted_charges (e) and what else the model
    has heads for (numbers, or 3, 9, 27 or 81 Cartesian components in a row) come with models that
    have them, and predicted_energy_std, predicted_forces_std and so on with those that were given
    an uncertainty. In .traj and .db what ASE knows stands as a calculator's results instead, under
    its own name. Labels of the input are written as REF_energy, REF_forces and so on in the same
    units.

    Structures are in OUTPUT as soon as their batch is computed. One that cannot be computed is told
    by file and index, and left out: exit code 1.
    """
    check_output(output, model, data)
    config = label_config(labels, units)
    with held_output(output, force=force, resume=resume):
        potential = open_model(model, dtype, head, one_head=False)
        own = open_devices(devices)
        together = batch_size * own.count
        refused: list[Refusal] = []
        state = visible_state(potential, charge, spin)
        structures = read_for_model(data, potential, config, state, refused)
        settings = {
            "command": "predict",
            "model": sha256_of(model),
            "dtype": potential.dtype,
            "labels": config.model_dump(mode="json"),
        } | ({} if head is None else {"head": head})
        run = GrowingOutput(output, settings, structures, refused, resume=resume, only_growing=True)
        with run.growing():
            for start in range(0, len(run.todo), together):
                _predict_batch(potential, run.todo[start : start + together], run, own)
        run.finish()


def _predict_batch(
    potential: "Potential", indices: Sequence[int], run: GrowingOutput, devices: "Devices"
) -> None:
    """Compute structures together and write them in order."""
    import numpy as np

    from tensornet_jax.data.formats.structure_file import ExtendedXyz
    from tensornet_jax.potential.results_on_atoms import attach_results, note_results

    structures = run.structures
    groups: dict[tuple[str, ...], list[int]] = {}
    for index in indices:
        groups.setdefault(_computed(potential, structures[index].atoms), []).append(index)
    found: dict[int, Prediction] = {}
    for compute, members in groups.items():
        found |= _evaluated(potential, structures, members, compute, devices)
    for index in indices:
        prediction = found[index]
        if isinstance(prediction, Exception):
            run.fail(index, prediction)
            continue
        wrong = [name for name, value in prediction.items() if not np.isfinite(value).all()]
        if wrong:
            run.fail(index, ValueError(f"the model's {', '.join(wrong)} are not finite"))
            continue
        atoms = structures[index].to_atoms(notes=False)
        put = note_results if isinstance(run.file, ExtendedXyz) else attach_results
        put(atoms, prediction, potential.per_atom)
        run.write(index, atoms)


def _computed(potential: "Potential", atoms: "Atoms") -> tuple[str, ...]:
    from tensornet_jax.potential.preparation import properties_at_hand

    periodic = bool(atoms.pbc.any())
    # Of a molecule in a box nobody wants the stress.
    has_volume = periodic and atoms.cell.volume > 0
    return properties_at_hand(
        potential.rows, periodic=periodic, has_volume=has_volume, on_request=True
    )


def _evaluated(
    potential: "Potential",
    structures: "Mapping[int, LabelledStructure]",
    indices: Sequence[int],
    compute: tuple[str, ...],
    devices: "Devices",
) -> dict[int, "Prediction"]:
    """Return predictions, or why there are none, by index."""
    try:
        chosen, size = [structures[k].atoms for k in indices], -(-len(indices) // devices.count)
        together = potential.evaluate(chosen, compute, size, devices=devices)
        return dict(zip(indices, together, strict=True))
    except ValueError as error:
        refused: dict[int, Prediction] = {}
        for index in indices:
            try:
                potential.structure(structures[index].atoms)
            except ValueError as own:
                refused[index] = own
        if not refused:
            raise error from None
        others = [k for k in indices if k not in refused]
        if not others:
            return refused
        return refused | _evaluated(potential, structures, others, compute, devices)
