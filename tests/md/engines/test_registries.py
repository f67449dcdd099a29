"""Ensembles and engines are added from outside by one class each, and refused by what they say."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import ClassVar, Literal

import ase.io
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import units
from ase.constraints import FixInternals
from jax import Array
from pydantic import Field

from tensornet_jax.cli.template import config_template
from tensornet_jax.config import ConfigError, config_schema, dump_config, parse_config
from tensornet_jax.md import NPT, NVE, Langevin, NoseHoover, Ramp, Simulation
from tensornet_jax.md.config import MDConfig
from tensornet_jax.md.engines.ase import AseSimulation
from tensornet_jax.md.engines.capabilities import Capabilities, Demand
from tensornet_jax.md.engines.dynamics import Dynamics
from tensornet_jax.md.engines.loading import class_of
from tensornet_jax.md.engines.registry import ENGINES, Engine, refusals
from tensornet_jax.md.ensembles.ensemble import Ensemble
from tensornet_jax.md.ensembles.numbers import Positive
from tensornet_jax.md.ensembles.registry import ENSEMBLES
from tensornet_jax.md.integrators.batch import Batch
from tensornet_jax.md.integrators.verlet import VelocityVerlet
from tensornet_jax.md.output.recorder import Recorder
from tensornet_jax.md.output.records import Records
from tensornet_jax.md.output.restart_file import RestartError, Snapshot
from tensornet_jax.md.sample import Sample
from tensornet_jax.md.simulation import dynamics_of
from tensornet_jax.md.state import State, System
from tests.md.analytic import analytic, argon, cluster, diatomic

RUN = "model: m.safetensors\nstructure: start.xyz\noutput: run\nplot: false\n"


# --- an ensemble from outside --------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DampedVerlet(VelocityVerlet):
    """Velocity Verlet that loses a share of its velocities at every step."""

    friction: Array = field(default_factory=lambda: jnp.zeros(1))

    def finish(self, system: System, state: State) -> State:
        state = super().finish(system, state)
        kept = jnp.exp(-self.friction * system.timestep)[system.node_graph]
        return state.replace(velocities=state.velocities * kept[:, None])


class Damped(Ensemble):
    """Dynamics that comes to rest in a minimum."""

    name: Literal["damped"] = Field(default="damped", description="kind of ensemble")
    temperature: Positive = Field(default=50.0, description="of the first velocities, K")
    friction: Positive = Field(default=0.01, description="1/fs")

    def integrator(self, batch: Batch) -> DampedVerlet:
        return DampedVerlet(friction=batch.rate("friction", self.friction))


@pytest.fixture
def damped(monkeypatch):
    monkeypatch.setitem(ENSEMBLES, "damped", Damped)


def test_an_ensemble_from_outside_runs_on_the_device(damped):
    ensemble = Damped(friction=(0.02, 0.1))
    starts = [cluster(0), cluster(1)]
    simulation = Simulation(analytic("lennard_jones"), starts, ensemble, timestep=5.0)
    before = simulation.sample()
    simulation.run(400)
    after = simulation.sample()
    assert (after.kinetic_energy < 1e-2 * before.kinetic_energy).all()
    assert (after.potential_energy < before.potential_energy).all()


def test_an_ensemble_from_outside_is_a_section_of_the_configuration(damped):
    text = RUN + "ensemble: {name: damped, friction: 0.05}\nsteps: 20\ntimestep: 5\nreplicas: 2\n"
    run = parse_config(text, MDConfig)
    assert run.ensemble == Damped(friction=0.05)
    assert parse_config(dump_config(run), MDConfig) == run
    assert "Damped" in json.dumps(config_schema(MDConfig))
    assert "# or ensemble: {name: damped" in config_template(MDConfig)
    simulation = dynamics_of(run, analytic("lennard_jones"), cluster(), going_on=False)
    assert len(simulation.run(20)) == 2
    with pytest.raises(ConfigError, match=r"friction: must be greater than 0"):
        parse_config(RUN + "ensemble: {name: damped, friction: -1}\n", MDConfig)
    with pytest.raises(ConfigError, match=r"engine ase has no damped .* use engine: device"):
        parse_config(text + "engine: ase\n", MDConfig)


def test_without_it_its_name_is_unknown():
    with pytest.raises(ConfigError, match="unknown ensemble 'damped'"):
        parse_config(RUN + "ensemble: {name: damped}\n", MDConfig)


# --- an engine from outside ----------------------------------------------------------------------


class Drifting(Dynamics):
    """An engine without forces: every atom keeps its velocity."""

    engine_name: ClassVar[str] = "drifting"

    def _prepare(self, velocities):
        (atoms,) = self.structures
        self._positions, self._velocities = atoms.positions.copy(), atoms.get_velocities()
        self._step = 0

    @property
    def step(self) -> int:
        return self._step

    def sample(self) -> Sample:
        atoms = self.structures[0]
        kinetic = 0.5 * (atoms.get_masses()[:, None] * self._velocities**2).sum(keepdims=True)[0]
        return Sample(
            step=self._step,
            time=self._step * self.timestep,
            positions=self._positions.copy(),
            velocities=self._velocities * units.fs,
            forces=np.zeros_like(self._positions),
            cell=atoms.cell.array[None],
            potential_energy=np.zeros(1),
            kinetic_energy=kinetic,
            temperature=kinetic,
            conserved=kinetic,
            stress=None,
            templates=self.structures,
        )

    def conditions(self):
        return {}

    def snapshot(self) -> Snapshot:
        return Snapshot(self._step, {}, {"positions": self._positions.copy()})

    def reproduces(self, snapshot: Snapshot) -> bool:
        return True

    def _restore(self, snapshot: Snapshot) -> None:
        self._step, self._positions = snapshot.step, snapshot.arrays["positions"].copy()

    def _advance(self, until: int) -> None:
        self._positions += (until - self._step) * self.timestep * units.fs * self._velocities
        self._step = until

    def _take_records(self) -> Records | None:
        return None

    @property
    def _has_forces(self) -> bool:
        return True


@pytest.fixture
def drifting(monkeypatch):
    can = Capabilities(ensembles=("nve",))
    monkeypatch.setitem(sys.modules, "drifting_engine", SimpleNamespace(Drifting=Drifting))
    engine = Engine("drifting_engine", "Drifting", "no forces", can)
    monkeypatch.setitem(ENGINES, "drifting", engine)


def moving():
    atoms = diatomic()
    atoms.set_velocities([[0.1, 0, 0], [0, 0.2, 0]])
    return atoms


def test_an_engine_from_outside_runs_a_configuration_and_goes_on(drifting, tmp_path):
    text = RUN + "engine: drifting\nensemble: {name: nve}\nvelocities: keep\nsteps: 10\n"
    run = parse_config(text, MDConfig)
    for steps in (4, 6):
        simulation = dynamics_of(run, analytic("spring"), moving(), going_on=False)
        assert isinstance(simulation, Drifting)
        with Recorder(simulation, tmp_path / "run") as recorder:
            assert recorder.resumed == (steps == 6)
            (final,) = simulation.run(steps, interval=2, observers=[recorder])
    expected = moving().positions + 10 * 0.5 * units.fs * moving().get_velocities()
    np.testing.assert_allclose(final.positions, expected, atol=1e-12)
    assert len(ase.io.read(tmp_path / "run.xyz", ":")) == 6


@pytest.mark.parametrize(
    ("settings", "key", "lacking"),
    [
        ("ensemble: {name: langevin}\n", "ensemble.name", r"langevin \(it has nve\): use engine"),
        ("replicas: 3\n", "replicas", "3 structures at once: use engine: device"),
        ("stress: true\n", "stress", "stress: use engine: device or ase"),
        ("record: {properties: [dipole]}\n", "record", "records: use engine: device or ase"),
    ],
)
def test_what_an_engine_does_not_name_is_refused_by_the_configuration(
    drifting, settings, key, lacking
):
    with pytest.raises(ConfigError, match=rf"{key}: engine drifting has no {lacking}"):
        parse_config(RUN + "engine: drifting\n" + settings, MDConfig)


def test_and_by_the_engine_itself(drifting):
    atoms = moving()
    atoms.set_constraint(FixInternals(bonds=[[1.2, [0, 1]]]))
    with pytest.raises(
        ValueError, match="drifting has no constraint FixInternals: use engine: ase"
    ):
        Drifting(analytic("spring"), atoms, NVE(), timestep=1)
    with pytest.raises(ValueError, match=r"device has no constraint FixInternals \(it has FixAtom"):
        Simulation(analytic("spring"), atoms, NVE(), timestep=1)


# --- those of the package ------------------------------------------------------------------------


def test_every_engine_is_the_one_that_its_entry_names():
    for name, engine in ENGINES.items():
        assert class_of(engine).engine_name == name
        assert set(engine.can.ensembles) <= set(ENSEMBLES)
    assert list(ENGINES["device"].can.ensembles) == list(ENSEMBLES)
    assert list(ENGINES["ase"].can.ensembles) == ["nve", "langevin"]
    for name, section in ENSEMBLES.items():
        assert section.model_fields["name"].default == name


@pytest.mark.parametrize("ensemble", [NPT(), NoseHoover()])
def test_ase_refuses_ensembles_that_it_does_not_make(ensemble):
    with pytest.raises(ValueError, match=r"engine ase has no .* use engine: device"):
        AseSimulation(analytic("lennard_jones"), argon(1), ensemble, timestep=1)


def test_what_no_engine_can_do_has_another_remedy(monkeypatch):
    monkeypatch.delitem(ENGINES, "device")
    ((key, reason),) = refusals("ase", Demand(Langevin(), num_structures=2))
    assert key == ("replicas",)
    assert reason.endswith("2 structures at once: run them one by one")


def test_ramps_are_of_those_settings_that_an_engine_names():
    ramp = Ramp(start=1.0, end=2.0)
    ensemble = NPT(temperature=ramp, pressure=ramp)
    assert list(refusals("device", Demand(ensemble))) == []
    keys = [key for key, _ in refusals("ase", Demand(ensemble))]
    assert keys == [("ensemble", "name"), ("ensemble", "pressure")]


def test_a_restart_file_of_another_engine_is_refused(tmp_path):
    start = cluster()
    potential = analytic("lennard_jones")
    first = Simulation(potential, start, Langevin(temperature=10), timestep=1)
    with Recorder(first, tmp_path / "run") as recorder:
        first.run(2, interval=1, observers=[recorder])
    before = (tmp_path / "run.xyz").read_bytes()
    other = AseSimulation(potential, start, Langevin(temperature=10), timestep=1)
    with pytest.raises(RestartError, match='another simulation: its engine is "device", not "ase"'):
        Recorder(other, tmp_path / "run")
    assert (tmp_path / "run.xyz").read_bytes() == before


def test_checking_the_configuration_of_a_simulation_loads_no_jax():
    code = (
        "import sys\n"
        "from tensornet_jax.config import parse_config\n"
        "from tensornet_jax.md.config import MDConfig\n"
        f"parse_config({RUN + 'engine: ase'!r}, MDConfig)\n"
        "print([name for name in ('jax', 'flax', 'matplotlib') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
