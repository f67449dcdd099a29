"""Tensors from real data: water's response, NMR shieldings of silicates, elasticity of crystals.

python benchmarks/tensor_properties.py DATA [--cases …] [--folder FOLDER]

DATA is a folder with water_response, nmr_shielding_SiO2 and elastic_mp1181. Every case trains one
model from its own labels for a few minutes, with 80 % of the structures in training, 10 % in
validation and 10 % in a test set, drawn at random with seed 0. Errors are those of the test set;
turning test structures shows how exactly the predictions turn with them, in float64.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from matplotlib.figure import Figure
from results_file import add_records, machine_line, results_folder
from scipy.spatial.transform import Rotation

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.potential.potential import Potential
from tensornet_jax.train.config.resolved import ResolvedRun
from tensornet_jax.train.config.run import RunConfig
from tensornet_jax.train.data.datasets import read_parts
from tensornet_jax.train.evaluation.errors import evaluate_structures
from tensornet_jax.train.evaluation.tensor_errors import INDEFINITE, tensor_errors
from tensornet_jax.train.run import train

BENCHMARK = "tensor_properties"
COLORS = ("#1f5fa8", "#d1681c", "#2b8a5b")


@dataclass(frozen=True)
class Case:
    """One data set and what is learned from it.

    Attributes:
        file: of the data, below their folder.
        title: what it is.
        epochs: of training.
        batch_size: structures per step.
        cutoff: Å.
        tensors: heads.
        labels: where the tensors stand in the data.
        dipole: whether dipoles are learned too.
        charge: of every structure.
    """

    file: str
    title: str
    epochs: int
    batch_size: int
    cutoff: float = 4.5
    tensors: tuple[Any, ...] = ("polarizability",)
    labels: Mapping[str, Any] = field(default_factory=dict)
    dipole: bool = False
    charge: float = 0.0


_WATER = {"batch_size": 16, "dipole": True}
_ELASTICITY = {
    "file": "elastic_mp1181/elastic.xyz",
    "epochs": 40,
    "batch_size": 16,
    "cutoff": 5.0,
    "labels": {"elasticity": {"key": "elastic_voigt_original", "form": "voigt"}},
}
CASES = {
    "monomer": Case("water_response/monomer.xyz", "H₂O", 150, **_WATER),
    "dimer": Case("water_response/dimer.xyz", "(H₂O)₂", 150, **_WATER),
    "zundel": Case("water_response/zundel.xyz", "H₅O₂⁺", 150, **_WATER, charge=1.0),
    "bulk": Case(
        "water_response/bulk.xyz",
        "liquid water, 32 molecules",
        24,
        4,
        cutoff=4.0,
        tensors=({"name": "polarizability", "symmetry": "ij", "unit": "Å³"}, "dielectric"),
        labels={"polarizability": "alpha_raw", "dielectric": "epsilon"},
    ),
    "shielding": Case(
        "nmr_shielding_SiO2/nmr.xyz",
        "²⁹Si in silicates",
        24,
        4,
        cutoff=5.0,
        tensors=("shielding",),
        labels={"shielding": {"key": "nmr_shielding", "mask": "has_nmr"}},
    ),
    "elasticity": Case(
        title="1,181 crystals, positive definite", tensors=("elasticity",), **_ELASTICITY
    ),
    "elasticity, free": Case(
        title="1,181 crystals, no guarantee",
        tensors=(
            {
                "name": "elasticity",
                "symmetry": "ijkl=jikl=klij",
                "mean": True,
                "unit": "GPa",
            },
        ),
        **_ELASTICITY,
    ),
}


def configuration(case: Case, data: Path, directory: Path) -> RunConfig:
    """Return the configuration of a case."""
    return RunConfig.model_validate(
        {
            "directory": str(directory),
            "data": {
                "train": str(data),
                "validation": 0.1,
                "test": {"test": 0.1},
                "labels": {"tensors": case.labels},
            },
            "model": {
                "name": "tensornet",
                "cutoff": case.cutoff,
                "num_channels": 32,
                "num_layers": 2,
                "heads": ["dipole"] if case.dipole else [],
                "dipole_form": "charges_and_dipoles",
                "tensors": case.tensors,
            },
            "loss": {"dipole": {"weight": 10.0}} if case.dipole else {},
            "optimizer": {
                "learning_rate": 3e-3,
                "schedule": {"name": "cosine", "warmup_epochs": case.epochs / 20},
                "ema_decay": 0.99,
            },
            "training": {
                "epochs": case.epochs,
                "batch_size": case.batch_size,
                "validate_every": max(1, case.epochs // 30),
            },
        }
    )


def measured(name: str, root: Path) -> dict[str, Any]:
    """Train one case and return its record."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as temporary:
        structures = ase.io.read(root / case.file, ":", format="extxyz")
        assert isinstance(structures, list)
        for atoms in structures:
            atoms.info["charge"] = case.charge
        data = Path(temporary) / "data.xyz"
        ase.io.write(data, structures, format="extxyz")
        directory = Path(temporary) / "run"
        config = configuration(case, data, directory)
        result = train(config)
        config = ResolvedRun.of(config).completed()
        split = directory / "split.json"
        parts = read_parts(
            config.data, config.seed, split, reuse_split=True, message=lambda text: None
        )
        exact = load_model(directory / "model.safetensors", dtype="float64")
        test = parts.tests["test"]
        return {
            "case": name,
            "title": case.title,
            "structures": [len(parts.train), len(parts.validation), len(test)],
            "epochs": result.facts.epochs,
            "minutes": result.facts.minutes,
            "parameters": result.facts.num_parameters,
            "cutoff": case.cutoff,
            "errors": errors(exact, test),
            "equivariance": equivariance(exact, [structure.atoms for structure in test[:10]]),
        }


def errors(potential: Potential, test: list[LabelledStructure]) -> list[dict[str, Any]]:
    """Return MAE, RMSE, and RMSE over the standard deviation of the labels of each quantity."""
    collected: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    units = {"dipole": "e·Å"}
    for structure, prediction in zip(test, evaluate_structures(potential, test), strict=True):
        labels = structure.labels
        found, sizes = {}, {}
        if "dipole" in prediction:
            found["dipole"] = prediction["dipole"] - labels.of("dipole")
            sizes["dipole"] = labels.of("dipole")
        for head in potential.tensor_heads:
            label = labels.of(head.name)
            if head.per == "atom":
                known = ~np.isnan(label).any(axis=(1, 2))
                label, value = label[known], prediction[head.name][known]
            else:
                value = prediction[head.name]
            found |= tensor_errors(head, value, label)
            # The same quantities of the labels themselves: how they differ from zero.
            sizes |= tensor_errors(head, label, np.zeros_like(label))
            units |= {key: head.unit for key in found if key.startswith(head.name)}
        for key, value in found.items():
            lists = collected.setdefault(key, ([], []))
            lists[0].append(np.ravel(value))
            # Components of a degree above 0 average to nothing over orientations.
            lists[1].append(np.ravel(sizes[key]))
    rows = []
    for key, lists in collected.items():
        error, size = (np.concatenate(values) for values in lists)
        # Moduli of a prediction that is not positive definite do not exist.
        error, size = error[np.isfinite(error)], size[np.isfinite(size)]
        rmse = float(np.sqrt(np.mean(error**2)))
        directed = key == "dipole" or any(f"degree {k}" in key for k in range(1, 5))
        spread = 0.0
        if size.size:
            spread = float(np.sqrt(np.mean(size**2)) if directed else np.std(size))
        rows.append(
            {
                "quantity": key,
                "count": error.size,
                "mae": float(np.mean(np.abs(error))),
                "rmse": rmse,
                "relative": rmse / spread if spread > 0 else None,
                "unit": "share" if key.endswith(INDEFINITE) else units[key],
            }
        )
    return rows


def equivariance(potential: Potential, structures: list[Atoms]) -> float:
    """Return the largest |T(turned) − turned T| over the largest |T|, of turns and inversions."""
    worst = 0.0
    names = [n for n in potential.properties if n == "dipole"]
    names += [head.name for head in potential.tensor_heads]
    for seed, atoms in enumerate(structures):
        rotation = Rotation.random(rng=np.random.default_rng(seed)).as_matrix() * (-1) ** seed
        turned = atoms.copy()
        turned.set_cell(atoms.cell.array @ rotation.T)
        turned.positions = atoms.positions @ rotation.T
        before, after = (potential.evaluate(each, names)[0] for each in (atoms, turned))
        for name in names:
            expected = before[name]
            rank = expected.ndim - (name in potential.per_atom)
            for axis in range(expected.ndim - rank, expected.ndim):
                expected = np.moveaxis(np.tensordot(rotation, expected, (1, axis)), 0, axis)
            error = np.abs(after[name] - expected).max() / np.abs(expected).max()
            worst = max(worst, float(error))
    return worst


def report(results: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    records = {record["case"]: record for record in results["records"]}
    records = {name: records[name] for name in CASES if name in records}
    cores = f"up to {results['machine']['threads']} threads"
    lines = [
        "# Tensors from real data",
        "",
        f"TensorNet with 32 channels and 2 layers, trained for minutes on "
        f"{machine_line(results, cores=cores)}, "
        "float32: short runs, not what the architecture can reach. "
        "Errors on the 10 % of structures held out as a test set. % σ is RMSE over the standard "
        "deviation of the labels, of components of degree above 0 and dipoles over their root mean "
        "square. Components of degree l are those in an orthonormal basis.",
        "",
    ]
    for record in records.values():
        train_count, validation, test = record["structures"]
        lines += [
            f"## {record['case'].capitalize()}: {record['title']}",
            "",
            f"{train_count} structures in training, {validation} in validation, {test} in the "
            f"test; {record['epochs']:g} epochs in {record['minutes']:.1f} minutes; "
            f"{record['parameters']:,} parameters; cutoff {record['cutoff']:g} Å. Predictions turn "
            f"with the structure to {record['equivariance']:.1e} of their size, in float64.",
            "",
            "| quantity | values | MAE | RMSE | % σ | unit |",
            "|---|---:|---:|---:|---:|---|",
        ]
        for row in record["errors"]:
            relative = "" if row["relative"] is None else f"{100 * row['relative']:.3g}"
            rmse = f"{row['rmse']:.3g}"
            if row["unit"] == "share":
                rmse = relative = ""
            lines.append(
                f"| {row['quantity']} | {row['count']} | {row['mae']:.3g} | {rmse} | {relative} "
                f"| {row['unit']} |"
            )
        lines.append("")
    return "\n".join(lines) + "\n![RMSE over the spread of the labels](tensor_properties.png)\n"


def plot(folder: Path, results: dict[str, Any]) -> None:
    """Draw the relative errors of all quantities as bars."""
    records = {record["case"]: record for record in results["records"]}
    bars = [
        (f"{name}: {row['quantity']}", 100 * row["relative"], k)
        for k, name in enumerate(n for n in CASES if n in records)
        for row in records[name]["errors"]
        if row["relative"] is not None and row["unit"] != "share"
    ]
    figure = Figure(figsize=(8, 0.24 * len(bars) + 1), layout="constrained")
    axes = figure.add_subplot()
    labels, values, cases = zip(*bars, strict=True)
    axes.barh(labels, values, color=[COLORS[k % len(COLORS)] for k in cases])
    axes.invert_yaxis()
    axes.set_xlabel("RMSE over the spread of the labels (%), test set")
    axes.tick_params(labelsize=8)
    axes.grid(True, axis="x", color="#e5e8eb", linewidth=0.6)
    axes.set_axisbelow(True)
    figure.savefig(folder / "tensor_properties.png", dpi=150)


def main() -> None:
    """Run and write results.json, README.md and the figure."""
    parser = argparse.ArgumentParser(description="Tensors from real data.")
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=tuple(CASES))
    parser.add_argument("--folder", type=Path, help=f"default: results/MACHINE/{BENCHMARK}")
    arguments = parser.parse_args()
    folder = results_folder(BENCHMARK, arguments.folder)
    for name in arguments.cases:
        results = add_records(folder, BENCHMARK, [measured(name, arguments.data)], ("case",), {})
        (folder / "README.md").write_text(report(results), encoding="utf-8")
        plot(folder, results)
        print(name, *results["records"][-1]["errors"], sep="\n", flush=True)


if __name__ == "__main__":
    main()
