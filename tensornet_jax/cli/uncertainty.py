"""`tensornet-jax uncertainty`: give a model standard deviations of what it predicts."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tensornet_jax.cli.common import (
    BatchOption,
    HeadOption,
    LabelOption,
    ModelArgument,
    PrecisionOption,
    UnitOption,
    check_output,
    label_config,
    open_model,
    read_for_model,
)
from tensornet_jax.cli.growing_output import check_new

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tensornet_jax.data.labelled_structure import LabelledStructure
    from tensornet_jax.potential.potential import Potential


class ScoreName(StrEnum):
    """What a shallow ensemble is trained by."""

    nll = "nll"
    crps = "crps"


class _Way(NamedTuple):
    """How deviations are made of a last layer: the options of the command."""

    directions: int | None
    regularizer: float | None
    shallow: int | None
    score: ScoreName
    isotonic: bool
    seed: int
    batch_size: int


DataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="Structures it was trained on, or like them, with labels.",
        show_default=False,
    ),
]
OutputArgument = Annotated[
    Path, typer.Argument(metavar="OUTPUT", help="Model file to write.", show_default=False)
]
ValidationOption = Annotated[
    Path | None,
    typer.Option(
        help="Labelled structures it was not trained on, to calibrate on.",
        show_default="a share of DATA",
    ),
]
ShareOption = Annotated[
    float, typer.Option(help="Share of DATA to calibrate on, without --validation.")
]
DirectionsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Backward passes for deviations of forces and stress: fewer are cheaper and noisier.",
        show_default="one for each feature, exact",
    ),
]
RegularizerOption = Annotated[
    float | None,
    typer.Option(
        help="Added to the covariance, in units of its largest eigenvalue.",
        show_default="the one of the most likely errors",
    ),
]
ShallowOption = Annotated[
    int | None,
    typer.Option(
        metavar="M",
        min=2,
        help="Instead train M last layers on the network as it is: a shallow ensemble.",
    ),
]
ScoreOption = Annotated[ScoreName, typer.Option(help="What a shallow ensemble is trained by.")]
IsotonicOption = Annotated[
    bool, typer.Option("--isotonic", help="Correct deviations by rising curves where it helps.")
]


SeedOption = Annotated[int, typer.Option(min=0, help="Of what is drawn at random.")]
OverwriteOption = Annotated[
    bool, typer.Option("--force", help="Overwrite OUTPUT if it exists.", show_default=False)
]


def uncertainty(
    model: ModelArgument,
    data: DataArgument,
    output: OutputArgument,
    validation: ValidationOption = None,
    held_out: ShareOption = 0.2,
    directions: DirectionsOption = None,
    regularizer: RegularizerOption = None,
    shallow: ShallowOption = None,
    score: ScoreOption = ScoreName.nll,
    isotonic: IsotonicOption = False,
    seed: SeedOption = 0,
    dtype: PrecisionOption = None,
    head: HeadOption = None,
    batch_size: BatchOption = 32,
    labels: LabelOption = None,
    units: UnitOption = None,
    force: OverwriteOption = False,
) -> None:
    """Write the model with standard deviations of its energies, forces and stress.

    By last-layer prediction rigidity: the less the features of a structure are like those of DATA,
    the larger; scaled to the errors on structures that are held out. Of a committee they are those
    of its members, scaled to the errors on DATA, which it must not have been trained on. Commands
    and calculators then give energy_std, energies_std, forces_std and stress_std.
    """
    check_output(output, *[path for path in (model, data, validation) if path is not None])
    check_new(output, force=force)
    config = label_config(labels, units)
    potential = open_model(model, dtype, head)
    potential.config.require_energy()
    sample = read_for_model(data, potential, config)
    known = None if validation is None else read_for_model(validation, potential, config)

    from tensornet_jax.potential.model_file import save_model
    from tensornet_jax.potential.uncertainty.estimate import held_out as drawn
    from tensornet_jax.potential.uncertainty.estimate import with_spread

    if potential.config.committee:
        about = known or sample
        found = with_spread(potential, about, isotonic=isotonic, batch_size=batch_size)
    else:
        if known is None:
            kept, apart = drawn(len(sample), held_out, seed)
            sample, known = [sample[k] for k in kept], [sample[k] for k in apart]
        way = _Way(directions, regularizer, shallow, score, isotonic, seed, batch_size)
        found = _of_last_layer(potential, sample, known, way)
    save_model(output, found)
    _tell(found)
    typer.echo(f"written: {output}")


def _of_last_layer(
    potential: "Potential",
    sample: "Sequence[LabelledStructure]",
    validation: "Sequence[LabelledStructure]",
    way: _Way,
) -> "Potential":
    from tensornet_jax.potential.uncertainty.estimate import with_rigidity, with_shallow_ensemble

    if way.shallow is None:
        return with_rigidity(
            potential,
            [each.atoms for each in sample],
            validation,
            directions=way.directions,
            regularizer=way.regularizer,
            isotonic=way.isotonic,
            seed=way.seed,
            batch_size=way.batch_size,
        )
    return with_shallow_ensemble(
        potential,
        sample,
        validation,
        members=way.shallow,
        score=way.score.value,
        isotonic=way.isotonic,
        seed=way.seed,
        batch_size=way.batch_size,
    )


def _tell(potential: "Potential") -> None:
    facts = potential.metadata["uncertainty"]
    if "members" in facts:
        typer.echo(f"{facts['members']} members, calibrated on {facts['validation']} structures")
    else:
        typer.echo(
            f"{facts['features']} features of {facts['structures']} structures, calibrated on "
            f"{facts['validation']}; {facts['estimator']}, {facts['directions']} backward passes "
            "for forces and stress"
        )
    scales = ", ".join(
        f"{name} {scale:.3g}{'' if name in facts['calibrated'] else ' (as the energy)'}"
        for name, scale in facts["scales"].items()
    )
    typer.echo(f"scales: {scales}")
    if facts["curves"]:
        typer.echo(f"corrected by curves: {', '.join(facts['curves'])}")
