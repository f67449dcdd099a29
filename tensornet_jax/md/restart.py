"""Restart files: everything a simulation needs to go on as if it had never stopped.

A safetensors file with the arrays and a JSON header; no pickle. On CPU the continued run is
bitwise the uninterrupted one, so the positions the neighbour lists were made for, the sizes of the
padded arrays and the random keys belong to it.
"""

import hashlib
import json
import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from tensornet_jax.graph.electrons import spin_multiplicity, total_charge
from tensornet_jax.md.simulation import Simulation
from tensornet_jax.md.velocities import mobile_atoms

FORMAT_VERSION = 1
ENTRY = "tensornet_jax_restart"
BLANK = "0" * 64


class RestartError(ValueError):
    """A restart file that cannot be used; the text says why and what to do."""


def save_restart(
    path: str | os.PathLike[str], simulation: Simulation, notes: dict[str, Any] | None = None
) -> None:
    """Write the present state, in place of an older file only once it is complete.

    Args:
        path: the file.
        simulation: what to save.
        notes: JSON to keep along with it.
    """
    engine = simulation.engine
    tensors = {
        "frame/images": engine.frame.images,
        "frame/origin": engine.frame.origin,
        "list/positions": np.asarray(engine.neighbours.positions)[: engine.lists.num_atoms],
        "list/cell": np.asarray(engine.neighbours.cell),
        "freedom": np.asarray(engine.system.freedom),
    }
    leaves, _ = jax.tree_util.tree_flatten_with_path(engine.state)
    for where, leaf in leaves:
        tensors[f"state{jax.tree_util.keystr(where)}"] = np.asarray(leaf)
    header = {
        "sha256": BLANK,
        "format_version": FORMAT_VERSION,
        "identity": _identity(simulation),
        "capacity": engine.lists.saved_capacity(),
        "notes": notes or {},
    }
    text = json.dumps(header, ensure_ascii=False)
    # safetensors takes the memory as it lies, strides ignored.
    tensors = {name: np.array(value, order="C") for name, value in tensors.items()}
    text = text.replace(BLANK, _checksum(text, tensors), 1)
    _write_atomically(Path(path), safetensors.numpy.save(tensors, {ENTRY: text}))


def load_restart(path: str | os.PathLike[str], simulation: Simulation) -> dict[str, Any]:
    """Bring a simulation, made with the same arguments, to the state of a restart file.

    Returns:
        the notes saved along with it.

    Raises:
        RestartError: the file is damaged, or of another simulation; what differs is named.
        FileNotFoundError: there is no such file.
    """
    header, tensors = _read(Path(path))
    saved, here = header["identity"], _identity(simulation)
    differing = [name for name in here if saved.get(name) != here[name]]
    if differing:
        name = differing[0]
        raise RestartError(
            f"{path} belongs to another simulation: its {name} is {_short(saved.get(name))}, not "
            f"{_short(here[name])}. Choose another output, or start anew with resume: false"
        )
    engine = simulation.engine
    # Copies: jax may use the memory of an aligned numpy array, and the state is donated.
    leaves, tree = jax.tree_util.tree_flatten_with_path(engine.state)
    values = [tensors[f"state{jax.tree_util.keystr(where)}"] for where, _ in leaves]
    engine.frame.images = tensors["frame/images"].copy()
    engine.frame.origin = tensors["frame/origin"].copy()
    engine.lists.restore_capacity(header["capacity"])
    # What was at rest at the start need not be known any more.
    engine.system = replace(engine.system, freedom=tensors["freedom"].copy())
    engine.restore(
        jax.tree_util.tree_unflatten(tree, values),
        tensors["list/positions"],
        tensors["list/cell"],
    )
    simulation.resumed()
    return header["notes"]


def _identity(simulation: Simulation) -> dict[str, Any]:
    """Return what must be the same in both runs, as JSON."""
    potential = simulation.potential
    digest = hashlib.sha256(repr(potential.config).encode())
    for leaf in jax.tree.leaves(potential.variables):
        digest.update(np.asarray(leaf).tobytes())
    structures = simulation.structures
    return json.loads(
        json.dumps(
            {
                "dtype": potential.dtype,
                "model": digest.hexdigest(),
                "elements": [each.get_chemical_formula() for each in structures],
                "numbers": [each.numbers.tolist() for each in structures],
                "masses": [each.get_masses().tolist() for each in structures],
                "fixed atoms": [
                    np.flatnonzero(~mobile_atoms(each)).tolist() for each in structures
                ],
                "pbc": [each.pbc.tolist() for each in structures],
                "charge": [total_charge(each) for each in structures],
                "spin": [
                    spin_multiplicity(each) if potential.config.needs_spin else None
                    for each in structures
                ],
                "charge of each atom": [
                    each.get_initial_charges().tolist() if potential.config.needs_charges else None
                    for each in structures
                ],
                "ensemble": simulation.ensemble.model_dump(mode="json"),
                "timestep": simulation.timestep,
                "seed": simulation.seed,
                "replicas": simulation.replicas,
                "skin": simulation.skin,
                "record": None
                if simulation.record is None
                else simulation.record.model_dump(mode="json"),
                "kind of neighbour list": "device" if simulation.engine.lists.on_device else "host",
            }
        )
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    content = path.read_bytes()
    remedy = "delete it and start anew, or take an older copy"
    try:
        tensors = safetensors.numpy.load(content)
        size = int.from_bytes(content[:8], "little")
        text = (json.loads(content[8 : 8 + size]).get("__metadata__") or {})[ENTRY]
        header = json.loads(text)
        version, checksum = header["format_version"], header["sha256"]
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RestartError(f"{path} is not a restart file, or damaged: {remedy}") from error
    if version != FORMAT_VERSION:
        raise RestartError(
            f"{path} has format version {version}, this package reads {FORMAT_VERSION}: use the "
            "version that wrote it"
        )
    if checksum != _checksum(text.replace(checksum, BLANK, 1), tensors):
        raise RestartError(f"{path} is damaged, its checksum does not match: {remedy}")
    return header, tensors


def _checksum(text: str, tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _write_atomically(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
