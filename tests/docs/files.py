"""What the pages of the documentation take for granted: files by name, and names in Python.

One table, for all pages; a page of its own entry comes before `*`. Structures are a few frames of
ethanol and small crystals, and there are two untrained models, so that all blocks run in a minute.
"""

import lzma
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import ase
import ase.io
import jax
import numpy as np
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from tensornet_jax.calculator import Calculator
from tensornet_jax.models import MODELS
from tensornet_jax.potential.model_file import save_model
from tensornet_jax.potential.potential import ElementTable, Potential, create_potential
from tests.docs.pages import ROOT
from tests.interop.openmm.systems import (
    ethanol_in_water,
    force_field,
    topology_of,
    write_pdb,
)
from tests.spectra.signals import cosines, write_series

EXAMPLE = Path("tensornet_jax/data/examples/ethanol_gfn2")
FRAMES = 12


# --- potentials and structures ---------------------------------------------------------------


@cache
def potential() -> Potential:
    """An untrained TensorNet that predicts energies."""
    return _potential()


@cache
def potential_of_everything() -> Potential:
    """An untrained TensorNet with charges, dipole and polarizability beside the energy."""
    return _potential(
        heads=("energy", "dipole"),
        dipole_form="charges_and_dipoles",
        tensors=({"name": "polarizability"},),
    )


def _potential(**options: Any) -> Potential:
    settings = {"num_channels": 4, "num_layers": 0, "num_radial": 4, "cutoff": 5.0, **options}
    config = MODELS["tensornet"][0].model_validate(settings)
    elements = ElementTable((1, 6, 8), np.array([-10.7, -48.8, -102.6]))
    return create_potential(config, elements, seed=0, dtype="float32")


@cache
def _ethanol() -> tuple[ase.Atoms, ...]:
    frames = ase.io.read(ROOT / EXAMPLE / "test.xyz", f":{FRAMES}")
    assert isinstance(frames, list)
    return tuple(frames)


def ethanol() -> list[ase.Atoms]:
    """Labelled frames of ethanol, with different energies."""
    return [atoms.copy() for atoms in _ethanol()]


def ethanol_with_calculator() -> ase.Atoms:
    atoms = ethanol()[0]
    atoms.calc = Calculator(potential_of_everything())
    return atoms


def carbon() -> list[ase.Atoms]:
    """Two small rattled crystals."""
    crystals = [bulk("C", "diamond", a=3.6), bulk("C", "diamond", a=3.5)]
    for seed, atoms in enumerate(crystals):
        atoms.rattle(0.03, seed=seed)
    return crystals


# --- files -----------------------------------------------------------------------------------


def _frames(path: Path) -> None:
    ase.io.write(path, list(_ethanol()), format="extxyz")


def _other_frames(path: Path) -> None:
    frames = ethanol()
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    ase.io.write(path, frames, format="extxyz")


def _isolated_atoms(path: Path) -> None:
    frames = []
    for symbol, energy in (("H", -10.7), ("C", -48.8), ("O", -102.6)):
        atoms = ase.Atoms(symbol)
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
        frames.append(atoms)
    ase.io.write(path, frames, format="extxyz")


def _model(path: Path) -> None:
    save_model(path, potential())


def _model_of_everything(path: Path) -> None:
    save_model(path, potential_of_everything())


def _model_of_mace_torch(path: Path) -> None:
    packed = ROOT / "tests" / "data_files" / "mace" / "gated.model.xz"
    path.write_bytes(lzma.decompress(packed.read_bytes()))


def _committee(path: Path) -> None:
    save_model(path, _potential(committee=2))


def _ethanol_pdb(path: Path) -> None:
    atoms = _ethanol()[0]
    write_pdb(path, topology_of(atoms), atoms.positions)


def _solvated_pdb(path: Path) -> None:
    mixture = ethanol_in_water("NoCutoff")
    write_pdb(path, mixture.topology, mixture.positions * 10)


def _ethanol_force_field(path: Path) -> None:
    path.write_text(force_field(), encoding="utf-8")


def _series(path: Path) -> None:
    moments = cosines([(1000.0, 0.1), (3000.0, 0.02)])[..., None] * np.array([1.0, 2.0, 0.0])
    write_series(path, {"dipole": moments})


def _fluxes(path: Path) -> None:
    flux = cosines([(100.0, 0.1)])[..., None] * np.array([1.0, 2.0, 0.0])
    both = {"heat_flux": flux, "heat_flux_potential": flux}
    write_series(path, both, volume=160.0, unit="eV·Å/fs")


def _two_levels(path: Path) -> None:
    found = _potential(levels=("pbe", "wb97m"))
    energies = np.stack(2 * [found.elements.reference_energies])
    save_model(path, found.replace(elements=ElementTable(found.elements.numbers, energies)))


def _of_the_repository(path: Path) -> None:
    path.write_bytes((ROOT / "configs" / path.name).read_bytes())


FILES: dict[str, dict[str, Callable[[Path], None]]] = {
    "*": {
        str(EXAMPLE / "train.xyz"): _frames,
        str(EXAMPLE / "test.xyz"): _frames,
        "configs/quickstart.yaml": _of_the_repository,
        "configs/md_quickstart.yaml": _of_the_repository,
        "runs/quickstart/model.safetensors": _model,
        "runs/example/model.safetensors": _model,
        "runs/ethanol_ir/md.series.h5": _series,
        "runs/crystal/md.series.h5": _fluxes,
        "two-levels.safetensors": _two_levels,
        "pbe.xyz": _frames,
        "model.safetensors": _model,
        "universal.safetensors": _model,
        "runs/committee/model.safetensors": _committee,
        "unseen.xyz": _frames,
        "train.xyz": _frames,
        "test.xyz": _frames,
        "start.xyz": _frames,
        "structures.xyz": _frames,
        "atoms.xyz": _isolated_atoms,
        "mine.xyz": _frames,
        "old.xyz": _frames,
        "typical.xyz": _frames,
        "ethanol.xyz": _frames,
    },
    "active.md": {"structures.xyz": _other_frames},
    "interoperability.md": {"mace-mpa-0-medium.model": _model_of_mace_torch},
    "openmm.md": {
        "ethanol.pdb": _ethanol_pdb,
        "solvated.pdb": _solvated_pdb,
        "ethanol.xml": _ethanol_force_field,
        "charged.safetensors": _model_of_everything,
    },
    "tensors.md": {"model.safetensors": _model_of_everything},
}


def make_files(page: str, folder: Path) -> None:
    """Make the files that a page names."""
    text = next(path for path in (ROOT / "README.md", ROOT / "docs" / page) if path.name == page)
    named = text.read_text(encoding="utf-8")
    for name, make in (FILES["*"] | FILES.get(page, {})).items():
        # A configuration from the template names files that the page does not.
        if name in named or "config template" in named:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            make(folder / name)


# --- names and options -----------------------------------------------------------------------

NAMES: dict[str, dict[str, Callable[[], Any]]] = {
    "*": {
        "atoms": ethanol_with_calculator,
        "calculator": lambda: Calculator(potential_of_everything(), dtype="float64"),
        "potential": potential_of_everything,
        "structures": carbon,
        "typical": ethanol,
        "log": lambda: lambda *_: None,
        "key": lambda: jax.random.key(0),
        "Calculator": lambda: Calculator,
    },
    "tensor_products.md": {
        "vectors": lambda: jax.random.normal(jax.random.key(1), (20, 3)),
        "features": lambda: jax.random.normal(jax.random.key(2), (20, 8, 16)),
        "path_weights": lambda: np.ones(34),
    },
    "performance.md": {"potential": potential},
}

# Appended to commands, by their beginning, to make them short.
_SHORT_TRAINING = (
    *("--set", "training.epochs=1", "--set", "training.batch_size=4"),
    *("--set", "model.num_channels=4", "--set", "model.num_layers=0"),
    *("--set", "data.validation=3"),
)
_SHORT_DYNAMICS = ("--set", "steps=4", "--set", "interval=2", "--set", "structure=start.xyz")
OPTIONS: dict[str, tuple[str, ...]] = {
    "train configs/quickstart.yaml": (
        *_SHORT_TRAINING,
        *("--set", "optimizer.schedule.warmup_epochs=0", "--set", "training.validate_every=1"),
    ),
    "train": _SHORT_TRAINING,
    "lammps": ("--", "-log", "none", "-screen", "none"),
    "md configs/md_quickstart.yaml": (*_SHORT_DYNAMICS, "--set", "equilibrate=0"),
    "md": _SHORT_DYNAMICS,
}
