"""Model files: one .safetensors that holds weights and all that is needed to use them.

A sealed file (`tensornet_jax.runtime.sealed_file`): the tensors lie under their paths ("params/…",
"buffers/…"), the header under "tensornet_jax" has everything else. A changed bit anywhere is
noticed, and nothing in the file is ever executed.
"""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Float, Shaped

from tensornet_jax.models import MODELS
from tensornet_jax.models.config import ModelConfig
from tensornet_jax.models.parameter_paths import by_path, nested
from tensornet_jax.potential.potential import ElementTable, Potential
from tensornet_jax.potential.uncertainty.stored import expected_uncertainty
from tensornet_jax.properties import LABELLED, PROPERTIES
from tensornet_jax.runtime.sealed_file import (
    Arrays,
    DamagedError,
    ForeignError,
    Json,
    NotSafetensorsError,
    OtherVersionError,
    SealedFormat,
)
from tensornet_jax.version import __version__

FORMAT = SealedFormat("tensornet_jax", version=1)
UNITS = {
    "energy": PROPERTIES["energy"].unit,
    "length": "Å",
    **{row.name: row.plain_unit for row in LABELLED if row.name != "energy"},
    "charge": PROPERTIES["charges"].unit,
    "spin": "2S + 1",
}
RETRIEVE = "copy the file again from where it came from, or export it again from its run folder"


class ModelFileError(ValueError):
    """A file that is not a model file of this package, or not the one that was written."""


def save_model(path: str | os.PathLike[str], potential: Potential) -> None:
    """Write a potential to one file; a crash on the way leaves an earlier file as it was.

    Args:
        path: where to write, by custom ending in .safetensors.
        potential: what to write: its weights in its dtype, its reference energies in float64, its
            metadata as far as JSON can hold it.

    Raises:
        ValueError: the scale, the offset or a number in the metadata is not finite.
        TypeError: the metadata holds something JSON cannot.
    """
    header = {
        "package_version": __version__,
        "model": potential.config.model_dump(mode="json"),
        "elements": {
            "symbols": list(potential.elements.symbols),
            "numbers": [int(number) for number in potential.elements.numbers],
            "reference_energies": _with_none(potential.elements.reference_energies),
        },
        "energy_scale": float(potential.energy_scale),
        "energy_offset": float(potential.energy_offset),
        "dtype": potential.dtype,
        "units": UNITS,
        "properties": list(potential.properties),
        "metadata": potential.metadata,
    }
    tensors = {name: np.asarray(leaf) for name, leaf in by_path(potential.variables).items()}
    FORMAT.write(Path(path), header, tensors)


def load_model(path: str | os.PathLike[str], dtype: str | None = None) -> Potential:
    """Read a potential from a model file.

    Args:
        path: a file written by `save_model`.
        dtype: "float32" or "float64" to compute in; None for the one the file was written in.

    Raises:
        ModelFileError: the file is damaged, of another kind, newer than this package, or its
            tensors are not those of the model it names.
        FileNotFoundError: there is no such file.
    """
    if dtype not in (None, "float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', not {dtype!r}")
    path = Path(path)
    header, tensors = _read(path)
    config = _model_config(path, header.get("model"))
    try:
        potential = Potential(
            config=config,
            variables={},
            elements=ElementTable(
                tuple(header["elements"]["numbers"]),
                np.array(header["elements"]["reference_energies"], np.float64),
            ),
            energy_scale=header["energy_scale"],
            energy_offset=header["energy_offset"],
            dtype=header["dtype"],
            metadata=header["metadata"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"the header of {path} lacks or misstates an entry ({error!r}): {RETRIEVE}"
        ) from error
    _check_tensors(path, potential, tensors)
    with potential.precision():
        variables = nested({name: jnp.asarray(tensor) for name, tensor in tensors.items()})
    potential = potential.replace(variables={"params": {}, "buffers": {}, **variables})
    return potential if dtype in (None, potential.dtype) else potential.astype(dtype)


def read_header(path: str | os.PathLike[str]) -> Json:
    """Return what a model file says of itself: model config, elements, units, metadata, …

    The checksum is verified as in `load_model`, and the same errors are raised for a damaged file;
    the model itself is not built.
    """
    header, _ = _read(Path(path))
    return header


def _with_none(energies: Float[np.ndarray, "*heads elements"]) -> list[object]:
    """Return reference energies as a list, with None where a head does not know an element."""
    return np.where(np.isnan(energies), np.array(None), energies.astype(object)).tolist()


def _read(path: Path) -> tuple[Json, dict[str, Shaped[np.ndarray, "..."]]]:
    """Return header and tensors of a file whose checksum is right."""
    try:
        return FORMAT.read(path)
    except NotSafetensorsError as error:
        raise ModelFileError(f"{path} {_what_it_is(error.content)}") from error
    except ForeignError as error:
        raise ModelFileError(
            f"{path} is a safetensors file, but not a model file of tensornet_jax, or a damaged "
            f"one: {RETRIEVE}; weights of other codes go through tensornet_jax.interop"
        ) from error
    except DamagedError as error:
        raise ModelFileError(f"{path} is damaged: {error}; {RETRIEVE}") from error
    except OtherVersionError as error:
        header = error.header
        raise ModelFileError(
            f"{path} has format version {header['format_version']}, this tensornet_jax "
            f"{__version__} reads {FORMAT.version}: upgrade with pip install --upgrade "
            f"tensornet_jax (the file says it was written by {header.get('package_version')})"
        ) from error


def _what_it_is(content: bytes) -> str:
    """Say what a file that safetensors refuses is, and what to do about it."""
    pickle_remedy = (
        "which can run code when opened, so it is refused: turn it into arrays where you trust it "
        "and use tensornet_jax.interop"
    )
    if not content:
        return f"is empty: {RETRIEVE}"
    if content.startswith(b"PK\x03\x04"):
        return f"is a zip archive, probably a torch checkpoint made of pickles, {pickle_remedy}"
    # The length that begins a safetensors file may have a pickle's first two bytes, 0x80 and its
    # protocol, but is followed by zeros, which no pickle has there.
    if content[0] == 0x80 and content[1:2] <= b"\x05" and content[2:8].strip(b"\0"):
        return f"is a Python pickle, {pickle_remedy}"
    return f"is not a safetensors file, or it is truncated or damaged: {RETRIEVE}"


def _model_config(path: Path, fields: object) -> ModelConfig:
    name = fields.get("name") if isinstance(fields, dict) else None
    if name not in MODELS:
        raise ModelFileError(
            f"{path} holds a model named {name!r}; tensornet_jax {__version__} knows "
            f"{', '.join(sorted(MODELS))}: install the version that wrote the file"
        )
    config_class, _ = MODELS[name]
    try:
        return config_class.model_validate(fields)
    except pydantic.ValidationError as error:
        raise ModelFileError(f"{path} holds an invalid config of model {name}: {error}") from error


def _check_tensors(path: Path, potential: Potential, tensors: Arrays) -> None:
    """Compare names, shapes and dtypes with what the model of the header would create."""
    created = by_path(potential.variable_shapes())
    expected = {name: f"{leaf.dtype}{leaf.shape}" for name, leaf in created.items()}
    expected |= expected_uncertainty(potential.config, created, tensors, potential.dtype)
    found = {name: f"{tensor.dtype}{tensor.shape}" for name, tensor in tensors.items()}
    faults = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    faults += [f"{name} is not part of it" for name in sorted(found.keys() - expected.keys())]
    faults += [
        f"{name} is {found[name]} and should be {expected[name]}"
        for name in sorted(expected.keys() & found.keys())
        if found[name] != expected[name]
    ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ModelFileError(
            f"the tensors of {path} do not fit the {potential.config.name} of its config: "
            f"{'; '.join(faults[:5])}{more}. The file was put together by hand or by another "
            "version: write it again with save_model"
        )
