"""Structures of which a model is not sure stop or are marked, in every engine alike."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import ase
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tensornet_jax.md import NVE, Record, Simulation
from tensornet_jax.md.config import Check, MDConfig, Thresholds
from tensornet_jax.md.engines.ase import AseSimulation
from tensornet_jax.md.engines.checks import NEVER, Checked, Tolerances, compared
from tensornet_jax.md.restart import load_restart, save_restart
from tensornet_jax.md.sample import Sample
from tensornet_jax.models import MODELS
from tensornet_jax.potential.potential import Potential, create_potential
from tensornet_jax.potential.uncertainty.deviations import COLLECTION
from tensornet_jax.potential.uncertainty.stored import SCALED
from tests.builders import ELEMENTS
from tests.potential.uncertainty.sets import molecules
from tests.train.small import PairConfig, PairModel

STEPS, EVERY = 12, 2


class UncertainPairs(PairConfig):
    """The stand-in of training, whose energies are linear in its kernel."""

    @property
    def last_weights(self) -> tuple[str, ...]:
        return ("kernel",)


@pytest.fixture(autouse=True, scope="module")
def pairs() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "pairs", (UncertainPairs, PairModel))
        yield


@cache
def plain_potential() -> Potential:
    return create_potential(UncertainPairs(), ELEMENTS, seed=0, dtype="float64", energy_scale=0.5)


@cache
def sure_potential() -> Potential:
    """A model that compiles in a second, with a covariance of its last layer out of the air."""
    potential = plain_potential()
    factor = np.random.default_rng(0).normal(size=(6, 6))
    scales = dict.fromkeys(SCALED, np.array(1.0))
    estimate = {"factor": factor, "directions": factor, "scales": scales}
    return potential.replace(variables={**potential.variables, COLLECTION: estimate})


@pytest.fixture(scope="module")
def starts() -> list[ase.Atoms]:
    frames = [molecules(1, seed=seed)[0] for seed in (3, 8)]
    for index, atoms in enumerate(frames):
        velocities = np.random.default_rng(index).normal(size=(len(atoms), 3))
        # Apart in size, and with time the second is less and less known.
        atoms.set_velocities((0.05, -0.15)[index] * velocities)
    return frames


def run(
    engine: type[Simulation | AseSimulation],
    starts: Sequence[ase.Atoms],
    steps: int = STEPS,
    check: Check | None = None,
    **options: Any,
) -> tuple[Simulation | AseSimulation, list[Sample]]:
    simulation = engine(
        sure_potential(),
        starts,
        NVE(),
        timestep=0.25,
        velocities="keep",
        max_temperature=1e6,
        check=check,
        **options,
    )
    samples: list[Sample] = []
    simulation.run(steps, interval=EVERY, observers=[samples.append])
    return simulation, samples


def largest(frames: Sequence[ase.Atoms]) -> np.ndarray:
    """Return the largest deviation of the force on an atom of each frame, eV/Å."""
    found = sure_potential().evaluate(frames, ("forces_std",))
    return np.array([np.linalg.norm(f["forces_std"], axis=1).max() for f in found])


@pytest.fixture(scope="module")
def free(starts) -> list[Sample]:
    """The path without checks, and along it what the model says of itself."""
    record = Record(properties=("energy_std", "forces_std"), interval=EVERY)
    return run(Simulation, starts, record=record)[1]


@pytest.fixture(scope="module")
def sizes(free) -> np.ndarray:
    """Deviations along the free path, (structures, samples)."""
    return np.array([largest([sample.atoms(k) for sample in free]) for k in range(2)])


def crossing(sizes: np.ndarray) -> tuple[int, float]:
    """Return a structure that passes a threshold after its start, and the threshold."""
    for index, own in enumerate(sizes):
        for sample in range(1, len(own)):
            before = own[:sample].max()
            if own[sample] > 1.0001 * before:
                return index, 0.5 * (before + own[sample])
    raise AssertionError("no structure becomes less certain: choose other velocities")


def stops(sizes: np.ndarray, threshold: float) -> list[int | None]:
    """Return the sample at which each structure is first above a threshold."""
    above = [np.flatnonzero(own > threshold) for own in sizes]
    return [int(each[0]) if len(each) else None for each in above]


def test_deviations_are_recorded_like_any_property(free, sizes):
    for sample, expected in zip(free, sizes.T, strict=True):
        assert sample.records is not None
        for index, here in enumerate(sample.slices):
            rows = sample.records.of(index, here)
            found = np.linalg.norm(rows["forces_std"][-1], axis=1).max()
            assert abs(found - expected[index]) < 1e-8 * expected[index]
            (says,) = sure_potential().evaluate(sample.atoms(index), ("energy_std",))
            assert abs(rows["energy_std"][-1] - says["energy_std"]) < 1e-8 * says["energy_std"]


def test_a_structure_stops_where_it_is_not_sure_and_others_go_on(starts, free, sizes, tmp_path):
    _, threshold = crossing(sizes)
    expected = stops(sizes, threshold)
    check = Check(stop=Thresholds(forces_std=threshold), every=EVERY)
    simulation, samples = run(Simulation, starts, check=check)
    assert simulation.all_stopped == (None not in expected)
    last = max(each for each in expected if each is not None)
    assert len(samples) == (last + 1 if simulation.all_stopped else len(free))
    for number, sample in enumerate(samples):
        for index, stop in enumerate(expected):
            stopped = stop is not None and number >= stop
            frame = sample.atoms(index)
            as_free = free[stop if stopped and stop is not None else number].atoms(index)
            np.testing.assert_allclose(frame.positions, as_free.positions, rtol=0, atol=1e-12)
            assert frame.info["uncertain"] == stopped
            assert abs(frame.info["largest_forces_std"] - largest([as_free])[0]) < 1e-8
            assert frame.info.get("stopped_at_step") == (
                stop * EVERY if stop is not None and stopped else None
            )

    # Continued from a restart file it is the same.
    half, _ = run(Simulation, starts, EVERY, check)
    save_restart(tmp_path / "half.restart", half)
    again, _ = run(Simulation, starts, 0, check)
    load_restart(tmp_path / "half.restart", again)
    again.run(STEPS - again.step)
    np.testing.assert_array_equal(again.sample().positions, samples[-1].positions)


def test_the_ase_engine_stops_at_the_same_step(starts, sizes):
    index, threshold = crossing(sizes)
    stop = stops(sizes, threshold)[index]
    assert stop
    check = Check(stop=Thresholds(forces_std=threshold), every=EVERY)
    simulation, samples = run(AseSimulation, [starts[index]], check=check)
    assert simulation.all_stopped
    assert [sample.step for sample in samples] == list(range(0, stop * EVERY + 1, EVERY))
    assert samples[-1].atoms().info["stopped_at_step"] == stop * EVERY
    restored, _ = run(AseSimulation, [starts[index]], 0, check)
    restored.restore(simulation.snapshot())
    assert restored.all_stopped


@pytest.mark.parametrize("library", [np, jnp])
def test_what_is_too_large_is_the_same_for_every_library(library):
    """Limits of the first name stop, of the second mark; NaN exceeds those that are given."""
    check = Check(stop=Thresholds(energy_std=1.0), mark=Thresholds(forces_std=2.0))
    assert check.names == ("energy_std", "forces_std")
    nan = np.nan
    rows = [(0.5, 1.5), (1.0, 2.0), (1.1, 0.1), (0.1, 2.1), (nan, 0.1), (0.1, nan), (9.0, 9.0)]
    largest = library.asarray(rows, np.float32)
    stopped = np.full(len(rows), NEVER)
    stopped[-1] = 3
    before = Checked(0 * largest, library.asarray(stopped), library.full(len(rows), NEVER))
    tolerances = jax.tree.map(library.asarray, Tolerances.of(check, np.float32))
    after = before.after(tolerances, library.asarray(True), library.asarray(7), largest)
    assert isinstance(after.largest, np.ndarray) == (library is np)
    assert after.stopped.tolist() == [NEVER, NEVER, 7, NEVER, 7, NEVER, 3]
    assert after.marked.tolist() == [NEVER, NEVER, NEVER, 7, NEVER, 7, 7]
    same = before.after(tolerances, library.asarray(False), library.asarray(8), largest)
    for old, new in zip(before, same, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("library", [np, jnp])
def test_forces_are_compared_by_the_length_of_their_deviation(library):
    values = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    expected = [np.sqrt(5.0), np.sqrt(50.0)]
    found = compared("forces_std", library.asarray(values))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert compared("stress_std", values) is values


def test_a_run_ends_when_all_have_stopped(starts, sizes):
    check = Check(stop=Thresholds(forces_std=0.5 * sizes.min()), every=EVERY)
    simulation, samples = run(Simulation, starts, check=check)
    assert simulation.all_stopped
    assert simulation.step == 0
    assert len(samples) == 1


def test_marked_frames_go_on(starts, free, sizes):
    _, threshold = crossing(sizes)
    check = Check(mark=Thresholds(forces_std=threshold), every=EVERY)
    _, samples = run(Simulation, starts, check=check)
    np.testing.assert_allclose(samples[-1].positions, free[-1].positions, rtol=0, atol=1e-12)
    for k in range(2):
        marked = [sample.atoms(k).info["uncertain"] for sample in samples]
        assert marked == (sizes[k] > threshold).tolist()


def test_a_model_without_an_uncertainty_is_refused(starts):
    check = Check(stop=Thresholds(forces_std=0.3))
    with pytest.raises(ValueError, match="no 'forces_std' to check: give it an uncertainty"):
        Simulation(plain_potential(), starts, NVE(), timestep=0.25, check=check)


def test_thresholds_stand_in_the_configuration():
    options = {"model": "m", "structure": "s", "output": "o", "interval": 20}
    run = MDConfig.model_validate({**options, "stop": {"forces_std": 0.3}})
    assert run.check == Check(stop=Thresholds(forces_std=0.3), every=20)
    assert MDConfig.model_validate(options).check is None
    for section, told in (
        ({"stop": {}}, "no threshold: give one of energy_std"),
        ({"stop": {"forces": 0.3}}, "forces"),
        ({"mark": {"forces_std": -1.0}}, "greater than 0"),
        ({"mark": {"forces_std": 0.1}, "check_every": 7}, "7 must be a divisor of interval, 20"),
    ):
        with pytest.raises(ValueError, match=told):
            MDConfig.model_validate({**options, **section})
