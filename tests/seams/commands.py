"""What each command has to do with any potential and any structure: the same numbers everywhere.

Each function of COMMANDS runs one command as a user would and compares what it wrote with
`Potential.evaluate`. A command that cannot serve a potential must say so in one message, and those
that cannot are listed in REFUSALS, so that nothing is refused unnoticed.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import ase
import ase.io
import numpy as np
import pytest

from tensornet_jax.interop.stablehlo.exported_potential import ExportedPotential
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.properties import DEVIATIONS
from tensornet_jax.spectra.series_file import read_series
from tests.seams.other_programs import bundle, ipi, lammps
from tests.seams.selection import select
from tests.seams.setting import Setting, rows_of
from tests.seams.uncertainty import uncertainty
from tests.seams.variants import SIZES, properties, structure

ENGINES = ("ase", "device")


def inspect(setting: Setting) -> None:
    """A model file and a data set are described."""
    told = setting.succeed("inspect", "model.safetensors").stdout
    for name in setting.potential.properties:
        assert name in told
    audit = setting.succeed("inspect", "labelled.xyz").stdout
    assert re.search(rf"structures +{len(SIZES)}\b", audit)


def predict(setting: Setting) -> None:
    """Predictions are those of `evaluate`, for structures of all sizes in one file."""
    setting.succeed("predict", "model.safetensors", "structures.xyz", "out.xyz")
    expected = setting.expected(setting.structures())
    for atoms, values in zip(setting.read("out.xyz"), expected, strict=True):
        for name, value in values.items():
            place = atoms.arrays if name in setting.potential.per_atom else atoms.info
            found = np.ravel(place[f"predicted_{name}"])
            np.testing.assert_allclose(found, np.ravel(value), rtol=1e-6, atol=1e-6)


def evaluate(setting: Setting) -> None:
    """A potential makes no error on its own predictions."""
    written = ("--output", "errors.csv", "--report", "errors.html")
    setting.succeed("evaluate", "model.safetensors", "labelled.xyz", *written)
    rows = rows_of(setting.folder / "errors.csv")
    assert (setting.folder / "errors.html").stat().st_size > 1000
    for row in rows:
        assert float(row["mae"]) < 1e-5, row
    named = {row["property"] for row in rows}
    assert named >= {head.name for head in setting.potential.tensor_heads}
    assert "energy" not in setting.common or "forces" in named


def data(setting: Setting) -> None:
    """A data set in canonical form, or packed, is the same one: the model makes no error in it."""
    tensors = [f"{head.name}={head.name}" for head in setting.potential.tensor_heads]
    labels = [part for pair in tensors for part in ("--label", pair)]
    setting.succeed("data", "labelled.xyz", "canonical.xyz", *labels)
    setting.succeed("data", "pack", "labelled.xyz", "same.packed", *labels)
    for name in ("canonical.xyz", "same.packed"):
        written = ("--output", "same.csv", "--force", *setting.head)
        setting.succeed("evaluate", "model.safetensors", name, *written)
        rows = rows_of(setting.folder / "same.csv")
        assert rows
        for row in rows:
            assert float(row["mae"]) < 1e-5, row


def relax(setting: Setting, engine: str) -> None:
    """Every structure moves, and is written with its own energy and forces."""
    arguments = ("model.safetensors", "structures.xyz", "out.xyz", "--steps", 2, *setting.head)
    setting.succeed("relax", *arguments, "--engine", engine, codes=(0, 1))
    frames = setting.read("out.xyz")
    for atoms, start in zip(frames, setting.structures(), strict=True):
        assert not np.allclose(atoms.positions, start.positions, rtol=0, atol=1e-5)
    setting.check_frames(frames)


def relax_cell(setting: Setting, engine: str) -> None:
    """The cell moves too."""
    crystal = structure(setting.potential, "crystal")
    ase.io.write(setting.folder / "crystal.xyz", crystal, format="extxyz")
    arguments = ("model.safetensors", "crystal.xyz", "out.xyz", "--steps", 2, "--cell")
    setting.succeed("relax", *arguments, *setting.head, "--engine", engine, codes=(0, 1))
    frames = setting.read("out.xyz")
    assert not np.allclose(frames[0].cell.array, crystal.cell.array, rtol=0, atol=1e-5)
    setting.check_frames(frames)


def dynamics(setting: Setting, size: str) -> None:
    """Both engines go the same way, and what they write is what the potential says."""
    atoms = structure(setting.potential, size)
    rng = np.random.default_rng(0)
    atoms.set_velocities(0.01 * rng.normal(size=(len(atoms), 3)))
    ase.io.write(setting.folder / "moving.xyz", atoms, format="extxyz")
    names = {"charges", "dipole", *DEVIATIONS, *(h.name for h in setting.potential.tensor_heads)}
    recorded = [name for name in properties(setting.potential, atoms) if name in names]
    last, series = {}, {}
    for engine in ENGINES:
        output = f"{engine}-{len(atoms)}"
        _run(setting, engine, output, recorded)
        assert [row["step"] for row in rows_of(setting.folder / f"{output}.csv")] == list("024")
        frames = [_in_state_of(frame, atoms) for frame in setting.read(f"{output}.xyz")]
        assert len(frames) == 3
        setting.check_frames(frames)
        last[engine] = frames[-1]
        if recorded:
            series[engine] = read_series(setting.folder / f"{output}.series.h5").values
    for what in (ase.Atoms.get_positions, ase.Atoms.get_velocities):
        values = [what(last[engine]) for engine in last]
        np.testing.assert_allclose(*values, rtol=0, atol=1e-7)
    for name in recorded:
        values = [series[engine][name] for engine in series]
        np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-6)


def _run(setting: Setting, engine: str, output: str, recorded: Sequence[str]) -> None:
    """Run four steps from the velocities of moving.xyz."""
    lines = [
        *("model: model.safetensors", "structure: moving.xyz", f"output: {output}"),
        *(f"engine: {engine}", "velocities: keep", "steps: 4", "interval: 2"),
        *("timestep: 0.25", "plot: false", *(f"head: {name}" for name in setting.head[1:])),
    ]
    if recorded:
        lines.append(f"record: {{properties: [{', '.join(recorded)}], interval: 2}}")
    (setting.folder / "md.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    setting.succeed("md", "md.yaml")


def _in_state_of(frame: ase.Atoms, start: ase.Atoms) -> ase.Atoms:
    """Give a frame what a potential needs besides positions, if the file does not say it."""
    for key, value in start.info.items():
        frame.info.setdefault(key, value)
    if start.has("initial_charges") and not frame.has("initial_charges"):
        frame.set_initial_charges(start.get_initial_charges())
    return frame


def compress(setting: Setting) -> None:
    """A compressed potential is the same within its tolerance."""
    arguments = ("model.safetensors", "small.safetensors", "--tolerance", 1e-4)
    setting.succeed("compress", *arguments, *setting.head)
    small, atoms = load_model(setting.folder / "small.safetensors"), setting.structures()[0]
    found, expected = small.evaluate(atoms, ("energy",))[0], setting.expected([atoms])[0]
    assert abs(found["energy"] - expected["energy"]) < 1e-3 * len(atoms)


def export(setting: Setting) -> None:
    """An exported program gives the same numbers with jax and numpy alone."""
    setting.succeed("export", "model.safetensors", "program", "--to", "stablehlo", *setting.head)
    program, frames = ExportedPotential(setting.folder / "program"), setting.structures()
    expected = setting.expected(frames)
    endless = setting.potential.config.long_cutoff == float("inf")
    for atoms, values in zip(frames, expected, strict=True):
        more: dict[str, Any] = {"cell": atoms.cell.array, "pbc": atoms.pbc}
        if setting.potential.config.needs_charges:
            more["initial_charges"] = atoms.get_initial_charges()
        if setting.potential.config.needs_spin:
            more["spin"] = atoms.info["spin"]
        if endless and atoms.pbc.any():
            # Ewald's sum is not part of a program; docs/interoperability.md says so.
            with pytest.raises(ValueError, match="Ewald"):
                program.evaluate(atoms.positions, atoms.numbers, **more)
            continue
        found = program.evaluate(atoms.positions, atoms.numbers, **more)
        for name in {"energy", "energies", "forces", "charges"} & set(values):
            np.testing.assert_allclose(found[name], values[name], rtol=1e-7, atol=1e-7)


def train(setting: Setting) -> None:
    """Training goes on from the potential, on structures of all sizes together."""
    head = "".join(f", head: {name}" for name in setting.head[1:])
    (setting.folder / "run.yaml").write_text(
        "directory: run\ndtype: float64\n"
        f"data: {{train: {{file: labelled.xyz{head}}}, validation: 1}}\n"
        "start: {model: model.safetensors, reference_energies: keep}\n"
        "training: {epochs: 1, batch_size: 2}\n",
        encoding="utf-8",
    )
    setting.succeed("train", "run.yaml")
    tuned = load_model(setting.folder / "run" / "model.safetensors")
    # Of other weights an uncertainty would say nothing.
    compute = [name for name in setting.common if name not in DEVIATIONS]
    for values in tuned.evaluate(setting.structures(), compute, batch_size=1):
        for name, value in values.items():
            assert np.isfinite(value).all(), name


COMMANDS: dict[str, Callable[[Setting], None]] = {
    "inspect": inspect,
    "predict": predict,
    "evaluate": evaluate,
    "data": data,
    **{f"relax on {engine}": partial(relax, engine=engine) for engine in ENGINES},
    **{f"relax --cell on {engine}": partial(relax_cell, engine=engine) for engine in ENGINES},
    **{f"md of {size}": partial(dynamics, size=size) for size in SIZES},
    "lammps": lammps,
    "uncertainty": uncertainty,
    "select": select,
    "i-pi": ipi,
    "compress": compress,
    "export": export,
    "export --to lammps-jax": bundle,
    "train": train,
}

# Kind → why engines that divide space refuse it.
NOT_DIVIDED = {
    "tensors alone": "predicts no energy",
    "tensornet2": "Coulomb energies, charges that sum to the total charge",
    "charge and spin": "electronic_state",
    "fixed charges": "Coulomb energies",
    "predicted charges": "Coulomb energies",
}

# (command, kind) → what the message says.
REFUSALS: dict[tuple[str, str], str] = {
    **{
        (name, "tensors alone"): "predicts no energy"
        for name in ("compress", "uncertainty", "select")
    },
    ("compress", "tensornet2"): "tensornet2 cannot be compressed",
    ("compress", "escn"): "escn cannot be compressed",
    ("compress", "compressed"): "compressed already",
    ("compress", "compressed mace"): "compressed already",
    ("train", "compressed"): "is a compressed model, which cannot be trained",
    ("train", "compressed mace"): "is a compressed model, which cannot be trained",
    **{(f"relax on {engine}", "tensors alone"): "no energy" for engine in ENGINES},
    **{(f"relax --cell on {engine}", "tensors alone"): "no energy" for engine in ENGINES},
    **{(f"md of {size}", "tensors alone"): "predicts no energy" for size in SIZES},
    **{
        (name, kind): message
        for name in ("lammps", "export --to lammps-jax")
        for kind, message in NOT_DIVIDED.items()
    },
    ("i-pi", "tensors alone"): "predicts no energy",
}


def check(setting: Setting, command: str) -> None:
    """Run a command; it serves, or refuses with the message that is expected of it."""
    said = REFUSALS.get((command, setting.variant))
    with nullcontext() if said is None else pytest.raises(AssertionError, match=said):
        COMMANDS[command](setting)
