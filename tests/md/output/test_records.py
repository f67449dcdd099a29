"""What is recorded is what the model predicts along the trajectory."""

from typing import Any

import ase
import h5py
import numpy as np
import pytest
from ase.build import molecule

import tensornet_jax.md.output.records as records_module
from tensornet_jax.md import NVE, Langevin, Record, Simulation
from tensornet_jax.md.output.recorder import Recorder
from tensornet_jax.md.sample import Sample
from tests.builders import ethanol, small_potential

NAMES = ("dipole", "charges", "polarizability", "shielding")


@pytest.fixture(scope="module")
def potential():
    return small_potential(
        num_layers=0,
        num_radial=4,
        heads=("energy", "dipole"),
        dipole_form="charges_and_dipoles",
        tensors=("polarizability", "shielding"),
    )


def ion() -> ase.Atoms:
    """Return a hydroxide ion far from the origin."""
    atoms = molecule("OH")
    atoms.positions += [3.0, -40.0, 5.0]
    atoms.info["charge"] = -1.0
    return atoms


def recorded_by(simulation, steps, interval) -> list[Sample]:
    samples: list[Sample] = []
    simulation.run(steps, interval=interval, observers=[samples.append])
    return samples


def test_records_are_the_predictions_for_each_structure_of_the_trajectory(potential):
    start = [ethanol(), ion()]
    simulation = Simulation(
        potential, start, NVE(), timestep=0.5, record=Record(properties=NAMES, interval=2)
    )
    samples = recorded_by(simulation, 8, 2)
    assert [s.records.step.tolist() for s in samples if s.records] == [[0], [2], [4], [6], [8]]
    for index in range(2):
        frames = [sample.atoms(index) for sample in samples]
        predicted = potential.evaluate(frames, NAMES)
        for sample, atoms, expected in zip(samples, frames, predicted, strict=True):
            records = sample.records
            assert records is not None
            found = records.of(index, sample.slices[index])
            assert found["temperature"] == pytest.approx(sample.temperature[index : index + 1])
            # Data have an ion's dipole about the origin.
            charge = atoms.info.get("charge", 0.0)
            expected["dipole"] = expected["dipole"] - charge * atoms.get_center_of_mass()
            for name in NAMES:
                np.testing.assert_allclose(
                    found[name], expected[name][None], rtol=1e-9, atol=1e-11, err_msg=name
                )
    last = samples[-1].records
    assert last is not None
    assert last.units == {
        "dipole": "e·Å", "charges": "e", "polarizability": "Å³", "shielding": "ppm"
    }  # fmt: skip


@pytest.mark.slow
def test_every_record_is_there_once_however_little_fits_on_the_device(potential, monkeypatch):
    def dipoles(most, interval):
        monkeypatch.setattr(records_module, "MOST_ROWS", most)
        simulation = Simulation(
            potential,
            ethanol(),
            NVE(),
            timestep=0.5,
            record=Record(properties=("dipole",), interval=interval),
        )
        taken = [s.records for s in recorded_by(simulation, 22, 11) if s.records]
        return (
            np.concatenate([each.step for each in taken]).tolist(),
            np.concatenate([each.values["dipole"] for each in taken]),
        )

    steps, few = dipoles(3, 1)
    assert steps == list(range(23))
    steps, many = dipoles(500, 2)
    assert steps == list(range(0, 23, 2))
    np.testing.assert_array_equal(few[::2], many)


def run(folder, name, potential, steps, restart_every=None):
    simulation = Simulation(
        potential,
        [ethanol(), ethanol(seed=1)],
        Langevin(),
        timestep=0.5,
        record=Record(properties=("dipole", "shielding"), interval=3),
    )
    recorder = Recorder(simulation, folder / name, ("hdf5",), restart_every=restart_every)
    simulation.run(steps - simulation.step, interval=5, observers=[recorder])
    return recorder


def series_of(path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        for index in ("000", "001"):
            group: Any = file[index]
            found |= {f"{index}/{key}": np.asarray(group[key]) for key in group}
    return found


def test_a_killed_and_resumed_run_has_the_records_of_an_uninterrupted_one(tmp_path, potential):
    with run(tmp_path, "whole", potential, 30):
        pass
    # Its last restart file is of step 20, after which it went on to 25.
    run(tmp_path, "parts", potential, 25, restart_every=20).close()
    with run(tmp_path, "parts", potential, 30):
        pass
    whole, parts = (series_of(tmp_path / f"{name}.series.h5") for name in ("whole", "parts"))
    assert whole["001/step"].tolist() == list(range(0, 31, 3))
    assert whole["001/shielding"].shape == (11, 9, 3, 3)
    assert whole.keys() == parts.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(parts[name], values, err_msg=name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("forces", "forces cannot be recorded: log and trajectory have"),
        ("quadrupole", "no 'quadrupole' to record; it predicts dipole, charges, polarizability"),
    ],
)
def test_what_cannot_be_recorded_is_refused_with_the_reason(potential, name, message):
    record = Record(properties=(name,))
    with pytest.raises(ValueError, match=message):
        Simulation(potential, ethanol(), NVE(), timestep=0.5, record=record)


def test_the_dipole_of_a_periodic_structure_is_not_recorded(potential):
    wire = ethanol()
    wire.set_cell([9.0, 9.0, 9.0])
    wire.pbc = [True, False, False]
    structures = [ethanol(), wire]
    record = Record(properties=("dipole",))
    with pytest.raises(ValueError, match="structure 1: dipole has no meaning"):
        Simulation(potential, structures, NVE(), timestep=0.5, record=record)


def test_a_property_named_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        Record(properties=("dipole", "dipole"))
