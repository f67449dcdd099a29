"""The i-PI server with a small input, as a process of its own."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest

ipi_is_installed = pytest.mark.skipif(
    importlib.util.find_spec("ipi") is None, reason="pip install 'tensornet_jax[ipi]'"
)

INPUT = """<simulation verbosity="low">
  <output prefix="sim">
    <properties stride="1" filename="out" flush="1">
      [ step, conserved, potential, {potentials} ]
    </properties>
    <trajectory filename="extras" stride="1" extra_type="dipole"> extras </trajectory>
    <checkpoint stride="{checkpoint}"/>
  </output>
  <total_steps>{steps}</total_steps>
  <prng><seed>31415</seed></prng>
  <ffsocket mode="{mode}" name="potential" pbc="False">
    <address>{address}</address>{port}
    <latency>1e-4</latency><batch_size>{batch}</batch_size>
  </ffsocket>
  <system>
    <initialize nbeads="{beads}">
      <file mode="xyz" units="angstrom"> start.xyz </file>
      <velocities mode="thermal" units="kelvin"> {temperature} </velocities>
    </initialize>
    <forces> <force forcefield="potential"/> </forces>
    <motion mode="dynamics">
      <dynamics mode="nve"> <timestep units="femtosecond"> 0.25 </timestep> </dynamics>
    </motion>
    <ensemble> <temperature units="kelvin"> {temperature} </temperature> </ensemble>
  </system>
</simulation>
"""


@dataclass
class Server:
    """An input of i-PI in a folder, and the process that runs it.

    folder: where it runs and writes.
    beads: of the ring polymer.
    steps: of the run.
    mode: "unix" or "inet".
    batch: structures that i-PI sends to one connection at once.
    checkpoint: steps between restart files.
    """

    folder: Path
    beads: int = 1
    steps: int = 5
    mode: str = "unix"
    batch: int = 1
    checkpoint: int = 1000
    temperature: float = 300.0
    port: int = 0

    def __post_init__(self) -> None:
        self.name = f"tensornet-{uuid.uuid4().hex[:12]}"
        if self.mode == "inet":
            with socket.socket() as free:
                free.bind(("localhost", 0))
                self.port = free.getsockname()[1]

    @property
    def address(self) -> str:
        """For `--address`."""
        return self.name if self.mode == "unix" else f"localhost:{self.port}"

    def write(self, atoms: ase.Atoms) -> None:
        """Write input and first structure, in a cell."""
        cell = atoms.cell.cellpar()
        header = "# CELL(abcABC): " + " ".join(f"{value:.10f}" for value in cell)
        rows = [
            f"{symbol} {x:.10f} {y:.10f} {z:.10f}"
            for symbol, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
        ]
        text = "\n".join([str(len(atoms)), header, *rows]) + "\n"
        (self.folder / "start.xyz").write_text(text, encoding="utf-8")
        (self.folder / "input.xml").write_text(
            INPUT.format(
                potentials=", ".join(f"potential(bead={k})" for k in range(self.beads)),
                checkpoint=self.checkpoint,
                steps=self.steps,
                mode=self.mode,
                address=self.name if self.mode == "unix" else "localhost",
                port=f"<port>{self.port}</port>" if self.mode == "inet" else "",
                batch=self.batch,
                beads=self.beads,
                temperature=self.temperature,
            ),
            encoding="utf-8",
        )

    @contextmanager
    def running(self, name: str = "input.xml") -> Iterator[subprocess.Popen[str]]:
        """Run i-PI on a file in the folder, and end it on leaving."""
        places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        program = shutil.which("i-pi", path=places)
        assert program is not None
        log = (self.folder / "server.log").open("a", encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, program, name],
            cwd=self.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            log.close()
            Path(f"/tmp/ipi_{self.name}").unlink(missing_ok=True)

    def table(self, name: str) -> np.ndarray:
        """Return the numbers of a file of properties, one row a step."""
        return np.atleast_2d(np.loadtxt(self.folder / f"sim.{name}"))
