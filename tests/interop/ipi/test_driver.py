"""A driver for i-PI against ASE's server, which speaks the same protocol, and against i-PI."""

import contextlib
import json
import re
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import ase
import ase.build
import ase.io
import numpy as np
import pytest
from ase import units
from ase.calculators.socketio import SocketIOCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from tensornet_jax.interop.ipi import Address, Beads, Driver
from tensornet_jax.interop.ipi.connection import Answer, Geometry
from tests.builders import small_potential, triclinic_crystal
from tests.interop.ipi.server import Server, ipi_is_installed


def potential():
    return small_potential(
        num_layers=0, heads=("energy", "dipole"), dipole_form="charges_and_dipoles"
    )


def water() -> ase.Atoms:
    """Return a molecule in a large cell."""
    atoms = ase.build.molecule("H2O")
    atoms.rattle(0.02, seed=1)
    atoms.set_cell([20.0, 20.0, 20.0])
    return atoms


class Recording(Beads):
    """Beads that keep what they were asked and answered."""

    def __init__(self, template: ase.Atoms, together: int = 1) -> None:
        super().__init__(potential(), template, together)
        self.calls: list[list[tuple[Geometry, Answer]]] = []

    def answers(self, asked):
        found = super().answers(asked)
        self.calls.append(list(zip(asked, found, strict=True)))
        return found


@dataclass
class Running:
    """A driver in a thread, and what ended it."""

    driver: Driver
    told: list[str] = field(default_factory=list)
    error: BaseException | None = None

    def run(self) -> None:
        self.driver.tell = self.told.append
        try:
            self.driver.run()
        except Exception as error:
            self.error = error


@contextlib.contextmanager
def running(address: str, template: ase.Atoms, clients: int = 1) -> Iterator[Running]:
    """Run a driver beside what is in the block, and wait for its end."""
    beads = Recording(template, clients)
    found = Running(Driver(beads, Address.parsed(address), clients, patience=300))
    thread = threading.Thread(target=found.run, daemon=True)
    thread.start()
    yield found
    thread.join(60)
    assert not thread.is_alive(), "the driver did not end with the server"
    if found.error is not None:
        raise found.error


def calls_of(run: Running) -> list[list[tuple[Geometry, Answer]]]:
    beads = run.driver.beads
    assert isinstance(beads, Recording)
    return beads.calls


def check_answers(run: Running) -> None:
    """Check what was answered against one evaluation of everything that was asked."""
    pairs = [pair for call in calls_of(run) for pair in call]
    frames = []
    for geometry, _ in pairs:
        atoms = run.driver.beads.template.copy()
        atoms.positions = geometry.positions
        atoms.set_cell(geometry.cell)
        frames.append(atoms)
    names = ("energy", "forces", "dipole")
    for (_, answer), found in zip(pairs, potential().evaluate(frames, names), strict=True):
        assert answer.energy == pytest.approx(found["energy"], abs=1e-9, rel=0)
        np.testing.assert_allclose(answer.forces, found["forces"], atol=1e-9)
        moment = np.array(json.loads(answer.extras)["dipole"]) * units.Bohr
        np.testing.assert_allclose(moment, found["dipole"], atol=1e-9)


# --- by ASE's server -----------------------------------------------------------------------------


def asked_by_ase(atoms: ase.Atoms, template: ase.Atoms) -> Running:
    """Let ASE ask a driver about a structure; its results are left with the structure."""
    name = f"tensornet-{uuid.uuid4().hex[:12]}"
    with (
        running(name, template) as run,
        SocketIOCalculator(unixsocket=name, timeout=300) as server,
    ):
        atoms.calc = server
        # A driver that refuses closes the socket.
        with contextlib.suppress(OSError):
            atoms.get_potential_energy()
            assert server.server is not None
            server.server.protocol.end()
    return run


def test_energy_forces_and_stress_are_those_of_the_potential():
    atoms = triclinic_crystal()
    expected = potential().evaluate(atoms, ("energy", "forces", "stress"))[0]
    run = asked_by_ase(atoms, atoms)
    assert atoms.calc is not None
    found = atoms.calc.results
    assert found["energy"] == pytest.approx(expected["energy"], abs=1e-9, rel=0)
    np.testing.assert_allclose(found["forces"], expected["forces"], atol=1e-9)
    voigt = full_3x3_to_voigt_6_stress(expected["stress"])
    np.testing.assert_allclose(found["stress"], voigt, atol=1e-10)
    (((_, answer),),) = calls_of(run)
    virial = -atoms.get_volume() * expected["stress"]
    np.testing.assert_allclose(answer.virial, virial, atol=1e-9)


def test_a_server_with_other_atoms_ends_the_driver_with_a_message():
    atoms = triclinic_crystal()
    del atoms[0]
    with pytest.raises(ValueError, match="asks about 7 atoms, and the template has 8"):
        asked_by_ase(atoms, triclinic_crystal())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host:31415", ("host", 31415, "")),
        (":31415", ("localhost", 31415, "")),
        ("[::1]:5", ("::1", 5, "")),
        ("driver", ("", 0, "/tmp/ipi_driver")),
        ("/run/my:socket", ("", 0, "/run/my:socket")),
    ],
)
def test_addresses_are_read_as_servers_state_them(text, address):
    assert Address.parsed(text) == address


@pytest.mark.parametrize("text", ["host:", "host:port", "host:70000", ""])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="address"):
        Address.parsed(text)


def test_a_server_that_does_not_listen_is_waited_for_and_then_named():
    driver = Driver(Recording(water()), Address.parsed("nobody-listens"), patience=0.3)
    with pytest.raises(OSError, match=r"no server at /tmp/ipi_nobody-listens for 0.3 s"):
        driver.run()


# --- by i-PI ---------------------------------------------------------------------------------


@ipi_is_installed
@pytest.mark.parametrize(("mode", "clients", "batch"), [("unix", 4, 1), ("inet", 1, 4)], ids=str)
def test_path_integrals_have_the_energies_of_the_potential(tmp_path, mode, clients, batch):
    server = Server(tmp_path, beads=4, steps=8, mode=mode, batch=batch)
    server.write(water())
    with server.running() as process, running(server.address, water(), clients) as run:
        assert process.wait(400) == 0, (tmp_path / "server.log").read_text()
    check_answers(run)
    assert run.driver.largest_batch == 4
    assert run.driver.num_structures >= 4 * 9
    table = server.table("out")
    assert len(table) == 9
    answered = sorted(answer.energy for call in calls_of(run) for _, answer in call)
    written = sorted(table[:, 3:].ravel() * units.Hartree)
    # i-PI writes nine digits.
    np.testing.assert_allclose(sorted(set(answered))[:4], sorted(set(written))[:4], rtol=2e-8)
    np.testing.assert_allclose(table[:, 2], table[:, 3:].mean(axis=1), rtol=1e-7)
    assert np.ptp(table[:, 1]) < 0.2 * np.ptp(table[:, 2])
    extras = (tmp_path / "sim.extras_0").read_text()
    assert len(re.findall("EXTRAS", extras)) == 9


@ipi_is_installed
@pytest.mark.slow
def test_sixteen_beads_go_on_when_the_server_is_killed_and_started_again(tmp_path):
    server = Server(tmp_path, beads=16, steps=400, checkpoint=10)
    server.write(water())
    with running(server.address, water(), clients=10) as run:
        with server.running() as process:
            end = time.monotonic() + 300
            while time.monotonic() < end and len(calls_of(run)) < 60:
                time.sleep(0.1)
            process.send_signal(signal.SIGKILL)
            process.wait()
        before = run.driver.num_structures
        assert before >= 60
        _shorten(server)
        with server.running("restart.xml") as process:
            assert process.wait(300) == 0, (tmp_path / "server.log").read_text()
    check_answers(run)
    assert run.driver.largest_batch > 4
    assert run.driver.num_structures > before
    assert any("is gone" in text or "closed the connection" in text for text in run.told)


def _shorten(server: Server) -> None:
    """Write the input of a run that goes on from the last restart file for 20 steps."""
    text = (server.folder / "sim.restart").read_text(encoding="utf-8")
    (step,) = map(int, re.findall(r"<step>\s*(\d+)", text))
    text = re.sub(r"<total_steps>\s*\d+", f"<total_steps>{step + 20}", text)
    (server.folder / "restart.xml").write_text(text, encoding="utf-8")
