"""The second stage of a round: dynamics, until the model is no longer sure."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import ase
import numpy as np

from tensornet_jax.active.config import ActiveConfig, ExploreStage
from tensornet_jax.active.layout import Round
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.md.config import MDConfig
from tensornet_jax.md.limits import SimulationError
from tensornet_jax.md.output.recorder import Recorder, check_free, restart_path, sinks_of
from tensornet_jax.md.output.trajectory import paths_of
from tensornet_jax.md.simulation import dynamics_of
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.preparation import check_visible
from tensornet_jax.runtime.sealed_file import Json


class Simulation(NamedTuple):
    """One of the simulations of a round.

    run: as `tensornet-jax md` would do it.
    volume: factor of the start's.
    """

    run: MDConfig
    volume: float


def simulations_of(config: ActiveConfig, here: Round) -> Iterator[Simulation]:
    """Yield the simulations of a round; each has random numbers of its own."""
    number = 0
    for index, stage in enumerate(config.explore):
        for volume in stage.volumes:
            section = stage.model_dump(mode="json")
            del section["volumes"]
            drawn = np.random.SeedSequence((stage.seed, here.number, number)).generate_state(1)
            section |= {
                "model": str(here.model),
                "output": str(here.explore.path / f"{index:02d}-volume-{volume:g}"),
                "seed": int(drawn[0]),
                # Candidates are read from it.
                "formats": ["extxyz"],
            }
            yield Simulation(MDConfig.model_validate(section), volume)
            number += 1


def explore_round(config: ActiveConfig, here: Round, message: Callable[[str], None]) -> None:
    """Run the simulations of a round, or go on with them.

    One that explodes has shown where the model fails: what it has written is looked at, and the
    round goes on.

    Args:
        config: of the loop.
        here: with a trained model.
        message: told of each simulation.

    Raises:
        ValueError: a structure cannot be simulated as the configuration says, or all simulations
            exploded before there was a candidate.
    """
    here.explore.begin()
    told = []
    for each in simulations_of(config, here):
        facts = _simulated(each)
        told.append(facts)
        message(f"explored {Path(each.run.output).name}: {facts['ended']}")
    count = len(candidates_of(config, here))
    exploded = [each["exploded"] for each in told if each["exploded"]]
    if exploded and not count:
        raise ValueError(
            f"{here.explore.path}: nothing was explored of which the model was unsure before "
            f"{exploded[0]}"
        )
    here.explore.finish({"simulations": told, "candidates": count})


def candidates_of(config: ActiveConfig, here: Round) -> list[LabelledStructure]:
    """Return the frames of a round of which the model was not sure, without its predictions.

    A replica that has stopped stays where it is: of its frames the first counts.
    """
    found = []
    for each in simulations_of(config, here):
        for frames in _frames_of(each.run):
            stopped = False
            for frame in frames:
                info = frame.atoms.info
                if info.get("uncertain") and not stopped:
                    found.append(frame.without_labels())
                stopped = stopped or "stopped_at_step" in info
    return found


def start_of(stage: MDConfig | ExploreStage, potential: Potential, volume: float) -> ase.Atoms:
    """Return the start structure of a simulation at a volume.

    Raises:
        ValueError: there is no such structure, or it has no volume.
    """
    check_visible(potential.config, stage.charge, stage.spin)
    structures = read_labelled(stage.structure)
    try:
        chosen = structures[stage.index]
    except IndexError:
        raise ValueError(
            f"index {stage.index}: {stage.structure} has {len(structures)} structures"
        ) from None
    atoms = chosen.without_labels().with_state(stage.charge, stage.spin).to_atoms(notes=False)
    if volume != 1:
        if not atoms.pbc.all():
            raise ValueError(
                f"{chosen.source}: is not periodic in three directions, so that its volume cannot "
                "be scaled: leave out explore.volumes"
            )
        atoms.set_cell(atoms.cell.array * volume ** (1 / 3), scale_atoms=True)
    return atoms


def _frames_of(run: MDConfig) -> Iterator[list[LabelledStructure]]:
    """Yield the frames of each replica: none of a run that exploded before the first."""
    for path in paths_of(Path(run.output), ".xyz", run.replicas):
        yield read_labelled(path) if path.exists() else []


def _simulated(simulation: Simulation) -> Json:
    """Take the steps that are left, and return what came of them."""
    run = simulation.run
    potential = load_model(run.model, dtype=run.dtype)
    atoms = start_of(run, potential, simulation.volume)
    going_on = restart_path(run.output).exists()
    if not going_on:
        sinks = sinks_of(run.formats, records=run.record is not None)
        check_free(run.output, sinks.values(), run.replicas)
    exploded = None
    try:
        dynamics = dynamics_of(run, potential, atoms, going_on=going_on)
        recorder = Recorder(dynamics, run.output, run.formats, restart_every=run.restart_every)
        with recorder:
            left = run.steps - dynamics.step
            if left > 0:
                dynamics.run(left, interval=run.interval, observers=(recorder,))
    except SimulationError as error:
        exploded = str(error)
    return _facts(simulation, exploded)


def _facts(simulation: Simulation, exploded: str | None) -> Json:
    """Return what the trajectories say of each replica."""
    run, replicas = simulation.run, []
    for frames in _frames_of(run):
        infos = [frame.atoms.info for frame in frames]
        stops = [int(info["stopped_at_step"]) for info in infos if "stopped_at_step" in info]
        replicas.append(
            {
                "steps": int(infos[-1]["step"]) if infos else 0,
                "stopped_at_step": stops[0] if stops else None,
                "largest": _largest(infos),
            }
        )
    stopped = sum(each["stopped_at_step"] is not None for each in replicas)
    ended = f"{stopped} of {run.replicas} replicas stopped"
    return {
        "name": Path(run.output).name,
        "volume": simulation.volume,
        "replicas": replicas,
        "ended": ended if exploded is None else f"{ended}; {exploded}",
        "exploded": exploded,
    }


def _largest(infos: Sequence[Json]) -> dict[str, float]:
    names = sorted({key for info in infos for key in info if key.startswith("largest_")})
    return {
        name.removeprefix("largest_"): max(float(i[name]) for i in infos if name in i)
        for name in names
    }
