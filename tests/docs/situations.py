"""The situations of docs/troubleshooting.md, made anew: what the reader would see.

Each function makes one in a folder and returns all that is said there. `remedy` are words that the
page tells readers to add to the command.
"""

from collections.abc import Callable
from pathlib import Path

import ase
import ase.io
import numpy as np
from ase.build import bulk
from typer.testing import CliRunner

from tensornet_jax.calculator import Calculator
from tensornet_jax.cli import app
from tensornet_jax.models import MODELS
from tensornet_jax.potential.model_file import save_model
from tensornet_jax.potential.potential import ElementTable, create_potential
from tensornet_jax.runtime.backend import check_backend
from tensornet_jax.runtime.locks import exclusive
from tests.docs.files import ethanol, potential


def run(*words: object) -> str:
    """Return all that a command prints."""
    return CliRunner().invoke(app, [str(word) for word in words]).output


def message_of(function: Callable[[], object]) -> str:
    """Return the message of the error that a function has to raise."""
    try:
        function()
    except (ImportError, ValueError) as error:
        return str(error)
    raise AssertionError("no error")


def copper(count: int = 4) -> list[ase.Atoms]:
    """Rattled crystals with energies and forces of springs to their sites."""
    frames = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        sites = atoms.positions.copy()
        atoms.rattle(0.05, seed=seed)
        moved = atoms.positions - sites
        atoms.info["REF_energy"] = -16.0 + 0.5 * float(np.sum(moved**2))
        atoms.arrays["REF_forces"] = -moved
        frames.append(atoms)
    return frames


def written(path: Path, frames: list[ase.Atoms]) -> Path:
    ase.io.write(path, frames, format="extxyz")
    return path


def configured(folder: Path, data: str = "", more: str = "") -> Path:
    train = written(folder / "train.xyz", copper())
    path = folder / "run.yaml"
    text = f"directory: {folder / 'run'}\ndata: {{train: {train}{data}}}\n{more}"
    path.write_text(text, encoding="utf-8")
    return path


# --- data ------------------------------------------------------------------------------------


def no_label(folder: Path, *remedy: str) -> str:
    frames = copper()
    for atoms in frames:
        atoms.info["pbe"] = atoms.info.pop("REF_energy")
        del atoms.arrays["REF_forces"]
    return run("inspect", written(folder / "a.xyz", frames), *remedy)


def unread_key(folder: Path, *remedy: str) -> str:
    frames = copper()
    for atoms in frames:
        atoms.info["mace_energy"] = atoms.info.pop("REF_energy")
    return run("inspect", written(folder / "a.xyz", frames), *remedy)


def energies_in_another_unit(folder: Path, *remedy: str) -> str:
    frames = copper(12)
    for atoms in frames:
        atoms.info["REF_energy"] *= 23.0605
    return run("inspect", written(folder / "a.xyz", frames), *remedy)


def stresses_in_another_unit(folder: Path, *remedy: str) -> str:
    frames = copper()
    for atoms in frames:
        atoms.info["REF_stress"] = np.array([8.8, 8.7, 8.9, 0.1, 0.0, 0.2])
    return run("inspect", written(folder / "a.xyz", frames), *remedy)


def frozen_atoms(folder: Path, *remedy: str) -> str:
    frames = copper()
    for atoms in frames:
        atoms.arrays["REF_forces"][:2] = 0.0
    return run("inspect", written(folder / "a.xyz", frames), *remedy)


def labels_of_atoms(folder: Path) -> str:
    path = folder / "a.xyz"
    path.write_text("1\nProperties=species:S:1:pos:R:3\nFe2+ 0.0 0.0 0.0\n", encoding="utf-8")
    return run("inspect", path)


def pickled(folder: Path) -> str:
    path = folder / "a.pkl"
    path.write_bytes(b"\x80\x04K\x01.")
    return run("inspect", path)


def cell_without_pbc(folder: Path) -> str:
    path = folder / "a.npz"
    np.savez(path, z=[1, 1], R=np.eye(3)[None, :2], E=[-31.0], cell=8 * np.eye(3))
    return run("inspect", path)


def crystal_for_isolated_atom(folder: Path) -> str:
    atoms = ase.Atoms("Cu", cell=[4.0] * 3, pbc=True)
    atoms.info["REF_energy"] = -3.0
    lone = written(folder / "atoms.xyz", [atoms])
    return run("train", configured(folder, f", reference_energies: {{isolated_atoms: {lone}}}"))


# --- runs ------------------------------------------------------------------------------------


def mistyped_key(folder: Path) -> str:
    return run("config", "validate", configured(folder, more="training: {epoch: 10}\n"))


def quoted_number(folder: Path) -> str:
    more = "optimizer: {learning_rate: '1e-3'}\n"
    return run("config", "validate", configured(folder, more=more))


def second_run(folder: Path) -> str:
    path = configured(folder)
    (folder / "run").mkdir()
    with exclusive(folder / "run" / ".lock", f"run directory {folder / 'run'}", "wait"):
        return run("train", path)


def output_exists(folder: Path, *remedy: str) -> str:
    save_model(folder / "model.safetensors", potential())
    frames = written(folder / "a.xyz", ethanol()[:1])
    (folder / "out.xyz").write_text("", encoding="utf-8")
    return run("predict", folder / "model.safetensors", frames, folder / "out.xyz", *remedy)


# --- use -------------------------------------------------------------------------------------


def unknown_element(folder: Path) -> str:
    atoms = ase.Atoms("CuH", positions=[[0, 0, 0], [0, 0, 1.5]])
    atoms.calc = Calculator(potential())
    return message_of(atoms.get_potential_energy)


def unseen_charge(folder: Path) -> str:
    settings = {"num_channels": 4, "num_layers": 0, "total_charge": False}
    config = MODELS["tensornet"][0].model_validate(settings)
    elements = ElementTable((1, 6, 8), np.zeros(3))
    atoms = ethanol()[0]
    atoms.info["charge"] = 1
    atoms.calc = Calculator(create_potential(config, elements, seed=0))
    return message_of(atoms.get_potential_energy)


def excluded_release(folder: Path) -> str:
    return message_of(lambda: check_backend({"jaxlib": "0.10.2"}))


SITUATIONS: dict[str, tuple[Callable[..., str], tuple[str, ...]]] = {
    "No labels are found": (no_label, ("--label", "energy=pbe")),
    "A key that looks like a label is passed over": (
        unread_key,
        ("--label", "energy=mace_energy"),
    ),
    "Energies and forces do not belong together": (
        energies_in_another_unit,
        ("--unit", "energy=kcal/mol", "--unit", "force=eV/Å"),
    ),
    "Stresses are far too large": (stresses_in_another_unit, ("--unit", "stress=GPa")),
    "Some atoms have forces of exactly zero": (
        frozen_atoms,
        ("--label", "zero_forces=missing"),
    ),
    "A name is not the symbol of an element": (labels_of_atoms, ()),
    "A file is refused because it could run code": (pickled, ()),
    "A molecule in a box is taken for a crystal": (cell_without_pbc, ()),
    "The isolated atom does not count": (crystal_for_isolated_atom, ()),
    "A key of the configuration is unknown": (mistyped_key, ()),
    "A number is taken for text": (quoted_number, ()),
    "The run directory is in use": (second_run, ()),
    "The output exists": (output_exists, ("--force",)),
    "An element is not in the model": (unknown_element, ()),
    "A charge is refused": (unseen_charge, ()),
    "jax is refused on import": (excluded_release, ()),
}
