"""A bundle as the pair style has it: its programs compiled, and called with padded arrays."""

import base64
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend.backend import get_backend
from jaxlib import xla_client
from numpy.typing import ArrayLike

from tensornet_jax.interop.lammps_jax.division import Share

program_text = import_module("lammps_jax.export").program_text


class LoadedBundle:
    """The program for energy and forces of a bundle.

    Attributes:
        contract: what LAMMPS has to give.
    """

    def __init__(self, path: Path, renamed: Mapping[str, str] | None = None) -> None:
        """Compile a program.

        Args:
            path: of the bundle.
            renamed: functions that the program calls, and what is called in their place.
        """
        content = json.loads(path.read_text("utf-8"))
        self.contract: dict[str, Any] = content["contract"]
        backend = get_backend("cpu")
        options = xla_client.CompileOptions.ParseFromString(
            base64.b64decode(content["compile_options_b64"])
        )
        # The pair style says at each call on which device; here it is said once.
        options.compile_portable_executable = False
        options.device_assignment = xla_client.DeviceAssignment.create(np.zeros((1, 1), int))
        devices = xla_client.DeviceList(tuple(backend.devices()[:1]))
        text = program_text(content, "energy_and_forces_mlir")
        for name, other in (renamed or {}).items():
            assert name in text
            text = text.replace(name, other)
        self._program = backend.compile_and_load(text, devices, options)

    def call(self, share: Share, types: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the energy of a process's atoms, and the forces on all that it knows.

        Args:
            share: what it knows.
            types: of all atoms of the structure, numbered from 0.
        """
        arrays = self._arrays(share, types)
        with jax.enable_x64(True):
            found = self._program.execute([jax.device_put(array) for array in arrays])
            energy, forces = (np.asarray(each) for each in found)
        return float(energy), forces[: len(share.atoms)]

    def _arrays(self, share: Share, types: np.ndarray) -> list[ArrayLike]:
        contract, count = self.contract, len(share.atoms)
        most, dtype = contract["max_atoms"], contract["precision"]
        if count > most:
            raise ValueError(f"{count} atoms, capacity {most}")
        # What is left of an earlier step, when there were more ghosts.
        positions = np.full((most, 3), 1.2345, dtype)
        positions[:count] = share.positions
        kinds = np.zeros(most, np.int32)
        kinds[:count] = types[share.atoms]
        senders, receivers = edges_of(share, contract)
        if len(senders) > contract["max_edges"]:
            raise ValueError(f"{len(senders)} edges, capacity {contract['max_edges']}")
        ends = np.full((2, contract["max_edges"]), most, np.int32)
        ends[:, : len(senders)] = senders, receivers
        mask = np.arange(contract["max_edges"]) < len(senders)
        numbers = np.array([share.num_owned, count - share.num_owned], np.int32)
        return [positions, kinds, *numbers, *ends, mask]


def edges_of(share: Share, contract: dict[str, Any]) -> np.ndarray:
    """Return senders and receivers of the edges that the pair style lists, in some order.

    The rows of owned atoms and, where several hops are asked for, of ghosts; each pair once if the
    contract says half.
    """
    rows = share.num_owned if contract["n_hops"] == 1 else len(share.atoms)
    apart = np.linalg.norm(share.positions[:rows, None] - share.positions, axis=-1)
    near = (apart < contract["cutoff"]) & ~np.eye(*apart.shape, dtype=bool)
    if contract["edge_pairing"] == "half":
        near = np.triu(near)
    edges = np.array(np.nonzero(near))
    # Kokkos fills the list in parallel.
    return edges[:, np.random.default_rng(0).permutation(edges.shape[1])]
