"""Recorded heat fluxes are those of the frames, in both engines, of every structure."""

import ase
import numpy as np
import pytest

from tensornet_jax.md import NVE, Langevin, Record, Simulation
from tensornet_jax.md.blocks import use_blocks
from tensornet_jax.md.engines.ase import AseSimulation
from tensornet_jax.md.output.recorder import Recorder
from tensornet_jax.md.sample import Sample
from tensornet_jax.potential.heat_flux import HeatFluxEvaluator
from tensornet_jax.spectra.series_file import read_series
from tests.builders import ethanol, small_potential
from tests.potential.test_heat_flux import crystal
from tests.seams.variants import potential as potential_of
from tests.seams.variants import structure

FLUXES = ("heat_flux", "heat_flux_potential")


@pytest.fixture(scope="module")
def potential():
    return small_potential(
        num_layers=1, num_channels=4, num_radial=4, cutoff=2.2, heads=("energy", "dipole")
    )


def recorded_by(simulation, steps, interval) -> list[Sample]:
    samples: list[Sample] = []
    simulation.run(steps, interval=interval, observers=[samples.append])
    return samples


def rows_of(samples, name) -> np.ndarray:
    """Return a property of all records, (times, structures, …)."""
    return np.concatenate([each.records.values[name] for each in samples if each.records])


def assert_those_of_frames(potential, samples) -> None:
    """Compare records, one with each sample, with fluxes of the frames."""
    evaluator = HeatFluxEvaluator(potential)
    assert all(sample.records.step.tolist() == [sample.step] for sample in samples)
    for index in range(len(samples[0])):
        frames = [sample.atoms(index) for sample in samples]
        found = [evaluator.evaluate(atoms) for atoms in frames]
        parts = [flux.total for flux in found], [flux.potential for flux in found]
        for name, expected in zip(FLUXES, parts, strict=True):
            assert np.linalg.norm(expected, axis=1).min() > 1e-6
            recorded = rows_of(samples, name)[:, index]
            np.testing.assert_allclose(recorded, expected, rtol=1e-10, atol=1e-12, err_msg=name)


def test_both_engines_record_the_heat_flux_of_each_frame_of_a_crystal(potential):
    record, found = Record(properties=FLUXES, interval=3), []
    for engine in (Simulation, AseSimulation):
        how = {"timestep": 0.25, "velocities": "keep", "record": record}
        samples = recorded_by(engine(potential, crystal(), NVE(), **how), 9, 3)
        assert_those_of_frames(potential, samples)
        found.append(samples)
    assert found[0][-1].records.units == dict.fromkeys(FLUXES, "eV·Å/fs")
    assert not found[0][-1].records.per_atom
    for name in FLUXES:
        ours, theirs = (rows_of(samples, name) for samples in found)
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("blocks", [False, True])
def test_every_replica_has_its_own_flux_beside_other_properties(potential, blocks):
    record = Record(properties=("heat_flux", "dipole", "heat_flux_potential"), interval=2)
    start = [ethanol(), ethanol(seed=1)]
    with use_blocks(blocks):
        simulation = Simulation(potential, start, Langevin(), timestep=0.5, record=record)
        # Records between samples, and a sample between records.
        many = recorded_by(simulation, 6, 6)
        assert rows_of(many, "heat_flux").shape == (4, 2, 3)
        again = Simulation(potential, start, Langevin(), timestep=0.5, record=record)
        samples = recorded_by(again, 6, 2)
    assert_those_of_frames(potential, samples)
    for name in record.properties:
        np.testing.assert_allclose(rows_of(many, name), rows_of(samples, name), rtol=1e-8)


def test_the_flux_of_a_molecule_moves_the_center_of_its_energy(potential):
    """∫ VJ dt is the change of Σ r_i E_i: each record has the velocities of its own step."""
    atoms = ethanol()
    atoms.set_velocities(np.random.default_rng(0).normal(scale=0.1, size=(len(atoms), 3)))
    record = Record(properties=("heat_flux",), interval=1)
    how = {"timestep": 0.1, "velocities": "keep", "record": record}
    samples = recorded_by(Simulation(potential, atoms, NVE(), **how), 20, 20)

    def moment(sample: Sample) -> np.ndarray:
        frame = sample.atoms()
        (found,) = potential.evaluate(frame, "energies")
        kinetic = 0.5 * frame.get_masses() * (frame.get_velocities() ** 2).sum(axis=1)
        return (found["energies"] + kinetic) @ frame.positions

    flux = rows_of(samples, "heat_flux")[:, 0]
    moved = 0.1 * (flux[1:] + flux[:-1]).sum(axis=0) / 2
    expected = moment(samples[-1]) - moment(samples[0])
    # With velocities of half a step before or after it would be off by this.
    shifted = 0.05 * np.linalg.norm(flux[-1] - flux[0])
    assert np.linalg.norm(moved - expected) < 0.05 * shifted


def run(folder, name, potential, steps, restart_every=None) -> Recorder:
    record = Record(properties=("heat_flux",), interval=3)
    start = [ethanol(), ethanol(seed=1)]
    simulation = Simulation(potential, start, Langevin(), timestep=0.5, record=record)
    recorder = Recorder(simulation, folder / name, ("hdf5",), restart_every=restart_every)
    simulation.run(steps - simulation.step, interval=5, observers=[recorder])
    return recorder


def test_a_killed_and_resumed_run_has_each_flux_once(tmp_path, potential):
    with run(tmp_path, "whole", potential, 15):
        pass
    run(tmp_path, "parts", potential, 10, restart_every=5).close()
    with run(tmp_path, "parts", potential, 15):
        pass
    whole, parts = (read_series(tmp_path / f"{name}.series.h5") for name in ("whole", "parts"))
    assert whole.values["heat_flux"].shape == (2, 6, 3)
    assert whole.units["heat_flux"] == "eV·Å/fs"
    np.testing.assert_array_equal(parts.values["heat_flux"], whole.values["heat_flux"])


@pytest.mark.parametrize("engine", [Simulation, AseSimulation])
def test_a_potential_without_a_heat_flux_is_refused_before_anything_runs(engine):
    record, found = Record(properties=("heat_flux",)), potential_of("predicted charges")
    atoms: ase.Atoms = structure(found, "molecule")
    message = "^heat_flux needs energies of atoms .* Coulomb energies: they depend on all atoms"
    with pytest.raises(ValueError, match=message):
        engine(found, atoms, NVE(), timestep=0.5, record=record)
