"""mace-torch and torchmd-net, trained by their own command lines in an interpreter that has them.

Settings are those their authors recommend for molecules; what is counted in epochs is scaled to
the epochs there are. Sources: mace-torch's README and the command for 3BPA that its authors give
(https://mace-docs.readthedocs.io), torchmd-net's examples/TensorNet-rMD17.yaml.
"""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase
import ase.io
import numpy as np

from .data import Split, counted_from, labels_of, reference_energies

PREDICTIONS = Path(__file__).parent / "peer_predictions.py"
NAME = "peer"
# Where mace-torch changes the weights of its loss, and starts to average weights.
STAGE_TWO = 0.75
WARMUP_STEPS = 500
Settings = dict[str, object]


@dataclass(frozen=True)
class Peer:
    """Another code.

    Attributes:
        recipes: name → settings that it changes.
        write: puts what it trains on into a folder.
        settings: all but files, given the split, the epochs, what a recipe changes and a seed.
        arguments: of python, to train in that folder with these settings.
        model: finds the file of the best weights of a run.
    """

    recipes: Mapping[str, Mapping[str, object]]
    write: Callable[[Split, Path], None]
    settings: Callable[[Split, int, Mapping[str, object], int], Settings]
    arguments: Callable[[Path, Settings], list[str]]
    model: Callable[[Path], Path]


def _write_mace(split: Split, folder: Path) -> None:
    references = reference_energies(split.train)
    for name, structures in (("train", split.train), ("validation", split.validation)):
        labels, counted = labels_of(structures), counted_from(references, structures)
        forces = np.split(labels.forces, np.cumsum([len(atoms) for atoms in structures])[:-1])
        frames = []
        for atoms, energy, own in zip(structures, labels.energies - counted, forces, strict=True):
            frame = ase.Atoms(atoms.numbers, atoms.positions)
            frame.info["REF_energy"] = float(energy)
            frame.arrays["REF_forces"] = own
            frames.append(frame)
        ase.io.write(folder / f"{name}.xyz", frames, format="extxyz")


def mace_settings(split: Split, epochs: int, changes: Mapping[str, object], seed: int) -> Settings:
    """Return the options of mace_run_train but for files.

    Energy and force weights are those of the authors' command for 3BPA, where the energy has the
    number of atoms; those of stage two are their defaults.
    """
    return {
        "model": "MACE",
        "num_channels": 64,
        "max_L": 1,
        "max_ell": 3,
        "correlation": 3,
        "num_interactions": 2,
        "r_max": 5.0,
        "E0s": "average",
        "default_dtype": "float32",
        "device": "cpu",
        "loss": "weighted",
        "energy_weight": len(split.train[0]),
        "forces_weight": 1000.0,
        "optimizer": "adam",
        "lr": 0.01,
        "weight_decay": 5e-7,
        "clip_grad": 10.0,
        "batch_size": 5,
        "valid_batch_size": 25,
        "ema_decay": 0.99,
        "max_num_epochs": epochs,
        "start_stage_two": max(1, int(STAGE_TWO * epochs)),
        "stage_two_energy_weight": 1000.0,
        "stage_two_forces_weight": 100.0,
        "stage_two_lr": 1e-3,
        # 50 of the 2048 epochs that are the default.
        "scheduler_patience": max(1, epochs // 40),
        "eval_interval": 1,
        "plot": False,
        "seed": seed,
        **changes,
    }


def _mace_arguments(folder: Path, settings: Settings) -> list[str]:
    files = {
        "name": NAME,
        "train_file": folder / "train.xyz",
        "valid_file": folder / "validation.xyz",
        "work_dir": folder,
        "model_dir": folder,
    }
    given = [f"--{key}={value}" for key, value in {**files, **settings}.items()]
    return ["-m", "mace.cli.run_train", "--ema", "--amsgrad", "--stage_two", *given]


def _mace_model(folder: Path) -> Path:
    both = [folder / f"{NAME}_stagetwo.model", folder / f"{NAME}.model"]
    return next(path for path in both if path.exists())


def _write_torchmdnet(split: Split, folder: Path) -> None:
    references = reference_energies(split.train)
    structures = [*split.train, *split.validation]
    labels, counted = labels_of(structures), counted_from(references, structures)
    same = [atoms.numbers.tolist() == structures[0].numbers.tolist() for atoms in structures]
    if not all(same):
        raise ValueError("all structures must have the same atoms in the same order")
    positions = np.array([atoms.positions for atoms in structures], np.float32)
    energies = (labels.energies - counted)[:, None].astype(np.float32)
    np.save(folder / "positions.npy", positions)
    np.save(folder / "numbers.npy", structures[0].numbers)
    np.save(folder / "energies.npy", energies)
    np.save(folder / "forces.npy", labels.forces.reshape(positions.shape).astype(np.float32))
    first = len(split.train)
    np.savez(
        folder / "given_splits.npz",
        idx_train=np.arange(first),
        idx_val=np.arange(first, len(structures)),
        idx_test=np.arange(0),
    )


def torchmdnet_settings(
    split: Split, epochs: int, changes: Mapping[str, object], seed: int
) -> Settings:
    """Return the entries of torchmd-train's file but for files.

    Those of examples/TensorNet-rMD17.yaml, with two exceptions: what pads batches for CUDA graphs
    is off, and data is read in the process itself, both of which save time on two cores.
    """
    batch = int(str(changes.get("batch_size", 8)))
    steps = epochs * -(-len(split.train) // batch)
    return {
        "model": "tensornet",
        "embedding_dimension": 128,
        "num_layers": 2,
        "num_rbf": 32,
        "rbf_type": "expnorm",
        "trainable_rbf": False,
        "activation": "silu",
        "cutoff_lower": 0.0,
        "cutoff_upper": 4.5,
        "max_num_neighbors": 32,
        "max_z": 100,
        "equivariance_invariance_group": "O(3)",
        "output_model": "Scalar",
        "reduce_op": "add",
        "derivative": True,
        "precision": 32,
        "standardize": True,
        "static_shapes": False,
        "batch_size": batch,
        "inference_batch_size": 64,
        "lr": 1e-3,
        "lr_factor": 0.8,
        "lr_min": 1e-8,
        # 25 of 10,000 epochs there, which would not lower the rate within a short run.
        "lr_patience": max(1, epochs // 60),
        "lr_warmup_steps": min(WARMUP_STEPS, steps // 20),
        "weight_decay": 0.0,
        "gradient_clipping": 40.0,
        "ema_alpha_y": 0.01,
        "ema_alpha_neg_dy": 1.0,
        "y_weight": 0.5,
        "neg_dy_weight": 0.5,
        "num_epochs": epochs,
        "early_stopping_patience": max(300, epochs),
        "save_interval": 1,
        "test_interval": -1,
        "num_workers": 0,
        "ngpus": 1,
        "seed": seed,
        **changes,
    }


def _torchmdnet_arguments(folder: Path, settings: Settings) -> list[str]:
    files = {
        "dataset": "Custom",
        "coord_files": str(folder / "positions.npy"),
        "embed_files": str(folder / "numbers.npy"),
        "energy_files": str(folder / "energies.npy"),
        "force_files": str(folder / "forces.npy"),
        "splits": str(folder / "given_splits.npz"),
        "log_dir": str(folder / "log"),
    }
    path = folder / "settings.yaml"
    # YAML reads JSON, but for numbers such as 1e-08.
    path.write_text(json.dumps(files | settings).replace("1e-0", "1.0e-0"), encoding="utf-8")
    return ["-m", "torchmdnet.scripts.train", "--conf", str(path)]


def _torchmdnet_model(folder: Path) -> Path:
    # Names of checkpoints have the validation loss to four digits only, the log all of them.
    log = folder / "log"
    saved = {int(re.findall(r"epoch=(\d+)-", path.stem)[0]): path for path in log.glob("*.ckpt")}
    with (log / "metrics.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["val_total_mse_loss"]]
    losses = {int(float(row["epoch"])): float(row["val_total_mse_loss"]) for row in rows}
    return saved[min(saved, key=lambda epoch: losses[epoch])]


PEERS = {
    "mace-torch": Peer(
        {
            "default": {},
            "forces": {"stage_two_forces_weight": 1000.0},
            "128_channels": {"num_channels": 128},
            "slower_stage_two": {"stage_two_lr": 1e-4},
        },
        _write_mace,
        mace_settings,
        _mace_arguments,
        _mace_model,
    ),
    "torchmd-net": Peer(
        {
            "default": {},
            "patient": {"lr_patience": 25},
            "batch_4": {"batch_size": 4},
            "faster": {"lr": 2e-3},
        },
        _write_torchmdnet,
        torchmdnet_settings,
        _torchmdnet_arguments,
        _torchmdnet_model,
    ),
}


def write_tests(
    sets: Mapping[str, Sequence[ase.Atoms]], references: Mapping[int, float], path: Path
) -> None:
    """Write structures without labels, and what energies are counted from, into an npz file."""
    arrays = {}
    for name, structures in sets.items():
        arrays |= {
            f"{name}/sizes": np.array([len(atoms) for atoms in structures]),
            f"{name}/numbers": np.concatenate([atoms.numbers for atoms in structures]),
            f"{name}/positions": np.concatenate([atoms.positions for atoms in structures]),
            f"{name}/counted": counted_from(references, structures),
        }
    np.savez(path, **arrays)
