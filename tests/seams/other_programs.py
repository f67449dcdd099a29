"""Commands that give other programs the forces of any potential."""

import json
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pytest
from ase.calculators.socketio import SocketIOCalculator
from ase.io.lammpsdata import write_lammps_data

from tensornet_jax.interop.ipi.connection import Address
from tensornet_jax.interop.lammps_jax.division import shares
from tests.seams.variants import structure

if TYPE_CHECKING:
    from tests.seams.setting import Setting

FORCES = 1e-5  # eV/Å; files keep eight digits of positions


def lammps(setting: "Setting") -> None:
    """LAMMPS has the forces of the potential."""
    atoms = structure(setting.potential, "crystal")
    symbols = sorted(set(atoms.symbols))
    write_lammps_data(setting.folder / "data", atoms, specorder=symbols, masses=True, units="metal")
    (setting.folder / "in.lammps").write_text(
        "units metal\natom_style atomic\nread_data data\n"
        f"fix potential all tensornet {' '.join(symbols)}\n"
        "thermo_style custom step pe\nrun 0\n"
        "write_dump all custom forces.dump id fx fy fz modify sort id format float %.12g\n",
        encoding="utf-8",
    )
    model = ("model.safetensors", "in.lammps", "--dtype", "float64", *setting.head)
    setting.succeed("lammps", *model, "--", "-log", "none", "-screen", "none")
    found = np.loadtxt(setting.folder / "forces.dump", skiprows=9)
    (expected,) = setting.expected([atoms])
    np.testing.assert_allclose(found[:, 1:], expected["forces"], rtol=1e-8, atol=FORCES)


def bundle(setting: "Setting") -> None:
    """The program of a bundle has the energy and forces of the potential."""
    pytest.importorskip("lammps_jax", reason="lammps_jax (extra 'lammps-jax') is not installed")
    from tests.interop.lammps_jax.exchange import Processes
    from tests.interop.lammps_jax.loaded import LoadedBundle

    # Where pairs are long, ghosts that reach twice as far would be thousands.
    is_long = setting.potential.config.long_cutoff is not None
    form = "exchange" if is_long else "ghosts"
    atoms = structure(setting.potential, "crystal")
    ase.io.write(setting.folder / "crystal.xyz", atoms, format="extxyz")
    setting.succeed(
        *("export", "model.safetensors", "bundle.json", "--to", "lammps-jax", "--types", "C,O"),
        *("--structure", "crystal.xyz", "--form", form, "--platform", "cpu", *setting.head),
    )
    contract = json.loads((setting.folder / "bundle.json").read_text("utf-8"))["contract"]
    (share,) = shares(atoms, 1, contract["n_hops"] * contract["cutoff"] + 1e-6)
    alone = Processes([share])
    names = alone.names_of(0) if is_long else None
    found = LoadedBundle(setting.folder / "bundle.json", names)
    types = (atoms.numbers == 8).astype(int)
    ((energy, own),) = alone.run([lambda: found.call(share, types)])
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, share.atoms, own)
    (expected,) = setting.expected([atoms])
    offset = setting.potential.energy_offset
    np.testing.assert_allclose(energy + offset, expected["energy"], rtol=0, atol=1e-8)
    np.testing.assert_allclose(forces, expected["forces"], rtol=0, atol=1e-8)


def ipi(setting: "Setting") -> None:
    """A server that speaks i-PI's protocol gets energy, forces and stress of the potential."""
    atoms = structure(setting.potential, "crystal")
    ase.io.write(setting.folder / "template.xyz", atoms, format="extxyz")
    names, found = ("energy", "forces", "stress"), {}
    name = f"tensornet-{uuid.uuid4().hex[:12]}"

    def ask() -> None:
        with SocketIOCalculator(unixsocket=name, timeout=300) as server, suppress(OSError):
            atoms.calc = server
            found["energy"], found["forces"] = atoms.get_potential_energy(), atoms.get_forces()
            found["stress"] = atoms.get_stress(voigt=False)
            assert server.server is not None
            server.server.protocol.end()

    thread, address = threading.Thread(target=ask, daemon=True), Address.parsed(name)
    thread.start()
    while thread.is_alive() and not Path(address.path).exists():
        time.sleep(0.01)
    model = ("model.safetensors", "template.xyz", "--dtype", "float64", *setting.head)
    try:
        setting.succeed("i-pi", *model, "--address", name)
    finally:
        # A server that nobody asked would wait on.
        with suppress(OSError):
            address.connected(1.0).close()
        thread.join(60)
    expected = setting.potential.evaluate(structure(setting.potential, "crystal"), names)[0]
    for each in names:
        np.testing.assert_allclose(found[each], expected[each], rtol=1e-8, atol=FORCES)
