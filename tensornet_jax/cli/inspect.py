"""`tensornet-jax inspect`: what is in a model file, or in a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensornet_jax.cli.common import LabelOption, UnitOption, label_config

if TYPE_CHECKING:
    from tensornet_jax.models.config import ModelConfig
    from tensornet_jax.potential.potential import Potential
    from tensornet_jax.runtime.sealed_file import Json


_MOST_NUMBERS = 200
"""Of a longer list in the metadata only the length is told."""


def inspect(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL|DATA...",
            help="One model file (.safetensors), or files with structures.",
            show_default=False,
        ),
    ],
    labels: LabelOption = None,
    units: UnitOption = None,
    parameters: Annotated[
        bool,
        typer.Option("--parameters", help="List a model's parameters, to freeze or pace some."),
    ] = False,
) -> None:
    """Describe a model file, or audit a data set."""
    if paths[0].suffix == ".safetensors":
        if len(paths) > 1:
            raise ValueError("inspect one model at a time")
        lines = _model_lines(paths[0])
        lines += _parameter_lines(paths[0]) if parameters else []
    else:
        lines = _data_lines(paths, labels, units)
    for line in lines:
        typer.echo(line)


def _model_lines(path: Path) -> list[str]:
    from tensornet_jax.potential.model_file import load_model, read_header
    from tensornet_jax.potential.trained_on import ENTRY, record_of

    header = read_header(path)
    potential = load_model(path)
    record, metadata = record_of(header["metadata"]), dict(header["metadata"])
    metadata.pop(ENTRY, None)
    lines = [
        f"{path}",
        f"model               {potential.config.name}",
        f"written by          tensornet_jax {header['package_version']}",
        f"parameters          {potential.num_parameters:,}",
        f"precision           {potential.dtype}",
        f"cutoff              {potential.cutoff:g} Å{_farther(potential.config)}",
        f"properties          {', '.join(potential.properties)}",
        f"energy scale        {potential.energy_scale:.6g} eV",
        f"energy offset       {potential.energy_offset:.6g} eV",
        *_head_lines(potential),
        "",
        *_energy_lines(header["elements"], potential.config),
    ]
    told = ["the file does not say"] if record is None else record.lines()
    lines += ["", "trained on", *(f"  {line}" for line in told)]
    lines += ["", "model settings", *_key_lines(header["model"])]
    if metadata:
        lines += ["", "metadata", *_key_lines(metadata)]
    return lines


def _energy_lines(elements: "Json", config: "ModelConfig") -> list[str]:
    """List E0 by element; of several heads in a column each."""
    energies, names = elements["reference_energies"], ""
    if config.num_levels == 1:
        energies = [energies]
    else:
        names = "".join(f" {name:>14}" for name in config.levels)
    lines = [f"element   E0 (eV){names and ':'}{names}"]
    for symbol, *row in zip(elements["symbols"], *energies, strict=True):
        cells = ("-" if energy is None else f"{energy:.6f}" for energy in row)
        lines.append(f"{symbol:<7}" + " " * 10 * bool(names) + "".join(f" {c:>14}" for c in cells))
    return lines


def _head_lines(potential: "Potential") -> list[str]:
    """Name the heads; of several their scales too."""
    from tensornet_jax.potential.heads import level_scales

    config = potential.config
    if config.num_levels == 1:
        return [f"head                {name}" for name in config.levels]
    pairs = zip(config.levels, level_scales(potential), strict=True)
    told = ", ".join(f"{name} {scale:.6g} eV" for name, scale in pairs)
    return [f"heads               {', '.join(config.levels)}", f"  energy scales     {told}"]


def _parameter_lines(path: Path) -> list[str]:
    from tensornet_jax.models.parameter_paths import by_path
    from tensornet_jax.potential.model_file import load_model

    found = by_path(load_model(path).variables["params"])
    width = max(len(name) for name in found)
    shapes = {name: " × ".join(map(str, leaf.shape)) for name, leaf in found.items()}
    return ["", "parameters", *(f"  {name:<{width}}  {shape}" for name, shape in shapes.items())]


def _farther(config: "ModelConfig") -> str:
    """How far a potential reaches beyond its network, if it does."""
    if config.long_cutoff is None:
        return ""
    infinite = config.long_cutoff == float("inf")
    return f", with pairs {'of any length' if infinite else f'to {config.long_cutoff:g} Å'}"


def _key_lines(section: dict[str, object], indent: str = "  ") -> list[str]:
    lines = []
    for key, value in section.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_key_lines(value, indent + "  ")]
        elif isinstance(value, list) and len(value) > _MOST_NUMBERS:
            lines.append(f"{indent}{key}: {len(value)} values")
        elif value is not None:
            lines.append(f"{indent}{key}: {value}")
    return lines


def _data_lines(paths: list[Path], labels: list[str] | None, units: list[str] | None) -> list[str]:
    from tensornet_jax.data.auditing.audit import audit
    from tensornet_jax.data.readers import read_labelled
    from tensornet_jax.data.references import reference_energies

    config = label_config(labels, units)
    structures = read_labelled(paths, config)
    result = audit(structures, reference_energies("least_squares", structures), config)
    return result.lines()
