"""This package's models: their configuration, the recipes to choose from, and predictions."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np

from tensornet_jax.config import dump_config
from tensornet_jax.potential.model_file import load_model
from tensornet_jax.train.config.run import RunConfig

from .data import Labels, Split

MACE = {
    "name": "mace",
    "num_channels": 64,
    "hidden_l_max": 1,
    "l_max": 3,
    "correlation": 3,
    "num_layers": 2,
    "cutoff": 5.0,
}
MODELS: dict[str, dict[str, Any]] = {
    "tensornet": {"name": "tensornet", "num_channels": 128, "num_layers": 2, "cutoff": 5.0},
    "mace": MACE,
    # Half the time of a step on a CPU.
    "mace-gaunt": {**MACE, "many_body_product": "gaunt_grid"},
    "escn": {
        "name": "escn",
        "num_channels": 64,
        "hidden_channels": 64,
        "l_max": 3,
        "m_max": 2,
        "num_layers": 2,
        "cutoff": 5.0,
    },
}
LEARNING_RATES = {"tensornet": 2e-3, "mace": 5e-3, "mace-gaunt": 5e-3, "escn": 2e-3}
CHANNELS = ("num_channels", "hidden_channels")
VALIDATIONS = 30
FIRST_STAGE = 0.75
COMMAND = "from tensornet_jax.cli import app; app()"
MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Recipe:
    """What of the configuration is changed.

    Attributes:
        changes: sections and their entries.
        rate: factor of the learning rate.
        channels: factor of the numbers of channels.
        second: of a second stage, which starts from the first one's weights with a tenth of its
            learning rate for the last quarter of the epochs; None for one stage.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 1.0
    channels: float = 1.0
    second: Mapping[str, Any] | None = None


RECIPES = {
    "default": Recipe(),
    "slower": Recipe(rate=0.5),
    "faster": Recipe(rate=2.0),
    "batch_2": Recipe({"training": {"batch_size": 2}}),
    "batch_10": Recipe({"training": {"batch_size": 10}}),
    "no_ema": Recipe({"optimizer": {"ema_decay": None}}),
    "ema_999": Recipe({"optimizer": {"ema_decay": 0.999}}),
    "amsgrad": Recipe({"optimizer": {"name": "amsgrad"}}),
    "muon": Recipe({"optimizer": {"name": "muon"}}),
    # Averages of weights at a constant rate, in place of a schedule.
    "no_schedule": Recipe({"optimizer": {"schedule": {"name": "constant"}, "ema_decay": 0.999}}),
    "huber": Recipe(
        {
            "loss": {
                "energy": {"kind": "huber", "delta": 0.01},
                "forces": {"kind": "huber", "delta": 0.01},
            }
        }
    ),
    "mae": Recipe({"loss": {"energy": {"kind": "mae"}, "forces": {"kind": "mae"}}}),
    "forces_first": Recipe({"loss": {"energy": {"weight": 1.0}}}),
    # Weights of the loss that change: forces, then energies too.
    "two_stages": Recipe(
        {"loss": {"energy": {"weight": 1.0}}}, second={"loss": {"energy": {"weight": 1000.0}}}
    ),
    "cutoff_4": Recipe({"model": {"cutoff": 4.0}}),
    "cutoff_6": Recipe({"model": {"cutoff": 6.0}}),
    "narrow": Recipe(channels=0.5),
    "wide": Recipe(channels=2.0),
    "one_layer": Recipe({"model": {"num_layers": 1}}),
}


def recipe_named(name: str) -> Recipe:
    """Return a recipe; several joined by a plus are followed one after the other.

    Raises:
        ValueError: there is no such recipe.
    """
    changes: dict[str, Any] = {}
    rate = channels = 1.0
    second: Mapping[str, Any] | None = None
    for each in name.split("+"):
        if each not in RECIPES:
            raise ValueError(f"no recipe {each!r}: there are {', '.join(RECIPES)}")
        recipe = RECIPES[each]
        changes = merged(changes, recipe.changes)
        rate, channels = rate * recipe.rate, channels * recipe.channels
        second = recipe.second or second
    return Recipe(changes, rate, channels, second)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested sections with others put into them; another kind of schedule replaces one."""
    found = dict(base)
    for key, value in changes.items():
        old = found.get(key)
        if key != "schedule" and isinstance(old, Mapping) and isinstance(value, Mapping):
            value = merged(old, value)
        found[key] = value
    return found


def configurations(
    model: str, recipe: Recipe, folder: Path, epochs: int, minutes: float | None, seed: int
) -> list[RunConfig]:
    """Return the configuration of a run, or of its two stages.

    Args:
        model: one of `MODELS`.
        recipe: what is changed.
        folder: with train.xyz and validation.xyz; run directories come there too.
        epochs: of all stages together, at least as many as there are stages.
        minutes: after which a run ends in good order if it still goes on; None: no limit.
        seed: of initial weights and order of batches.
    """
    scaled = {
        key: max(2, round(recipe.channels * value)) if key in CHANNELS else value
        for key, value in MODELS[model].items()
    }
    first = epochs if recipe.second is None else max(1, round(FIRST_STAGE * epochs))
    base = {
        "directory": str(folder / "run_1"),
        "seed": seed,
        "data": {
            "train": str(folder / "train.xyz"),
            "validation": str(folder / "validation.xyz"),
            "reference_energies": "least_squares",
        },
        "model": scaled,
        "loss": {"energy": {"weight": 100.0}, "forces": {"weight": 10.0}},
        "optimizer": {
            "learning_rate": LEARNING_RATES[model] * recipe.rate,
            "schedule": {"name": "cosine", "warmup_epochs": first / 20},
            "clip_norm": 10.0,
            "ema_decay": 0.99,
        },
        "training": _training(first, minutes),
    }
    stages = [merged(base, recipe.changes)]
    if recipe.second is not None and epochs > first:
        last = merged(stages[0], recipe.second)
        last["directory"] = str(folder / "run_2")
        last["start"] = {
            "model": str(folder / "run_1" / MODEL_FILE),
            "reference_energies": "keep",
        }
        del last["model"]
        rest = epochs - first
        last["training"] = _training(rest, minutes) | {
            "batch_size": stages[0]["training"]["batch_size"]
        }
        last["optimizer"] = merged(
            last["optimizer"],
            {
                "learning_rate": 0.1 * stages[0]["optimizer"]["learning_rate"],
                "schedule": {"name": "cosine"},
            },
        )
        stages.append(last)
    return [RunConfig.model_validate(stage) for stage in stages]


def _training(epochs: int, minutes: float | None) -> dict[str, Any]:
    return {
        "epochs": epochs,
        "batch_size": 5,
        "validation_batch_size": 25,
        "validate_every": max(1, epochs // VALIDATIONS),
        "max_minutes": minutes,
    }


def write_data(split: Split, folder: Path) -> None:
    """Write train.xyz and validation.xyz, and what errors are reported of."""
    ase.io.write(folder / "train.xyz", split.train, format="extxyz")
    ase.io.write(folder / "validation.xyz", split.validation, format="extxyz")


def commands(configs: Sequence[RunConfig], folder: Path) -> list[list[str]]:
    """Write the configurations, and return what trains with them, one after the other."""
    found = []
    for index, config in enumerate(configs, 1):
        path = folder / f"config_{index}.yaml"
        path.write_text(dump_config(config), encoding="utf-8")
        found.append([sys.executable, "-c", COMMAND, "train", str(path)])
    return found


def predictions(
    path: Path, sets: Mapping[str, Sequence[ase.Atoms]]
) -> tuple[dict[str, Labels], int]:
    """Return what a model file predicts of sets of structures, and its number of parameters."""
    potential = load_model(path)
    found = {}
    for name, structures in sets.items():
        results = potential.evaluate(structures, ("energy", "forces"))
        forces = np.concatenate([np.asarray(each["forces"], np.float64) for each in results])
        energies = np.array([float(each["energy"]) for each in results])
        found[name] = Labels(energies, forces)
    return found, potential.num_parameters
