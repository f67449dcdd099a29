"""Export a potential as a compiled function that evaluates without this package.

jax.export lowers energies, forces, stress, dipole, charges and tensors to StableHLO, for CPUs and
NVIDIA GPUs at once, with all weights inside and all sizes open: one file serves any number of
atoms, pairs and structures. Second derivatives are left out, and the manifest says so by name.
It takes what an MD engine has, one list with each pair of neighbors once, and a batch of
structures, of which one is the usual case and the beads of a ring polymer are another.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from tensornet_jax.graph.atom_graph import AtomGraph
from tensornet_jax.graph.edges import EdgeList
from tensornet_jax.interop.stablehlo import exported_potential
from tensornet_jax.interop.stablehlo.exported_potential import Manifest
from tensornet_jax.ops.kernels.choice import use_kernels
from tensornet_jax.potential.model_file import UNITS
from tensornet_jax.potential.potential import Potential
from tensornet_jax.potential.prediction import Outputs
from tensornet_jax.potential.results import moves_with_the_origin
from tensornet_jax.properties import PROPERTIES
from tensornet_jax.runtime.backend import EXCLUDED_VERSIONS
from tensornet_jax.version import __version__

PLATFORMS = ("cpu", "cuda")
FORMAT_VERSION = 1
INDEX = "int32"
SIZES = "atoms, pairs, structures, 4*slots, long_pairs, 4*long_slots"

PADDING = (
    "The last atom is padding, as is any atom with species -1: atoms > number of real atoms.",
    "Padding atoms come last and name the last structure.",
    "Atoms of a structure are contiguous; structure does not decrease along the atoms.",
    "The last pair is padding: pairs > number of real pairs. A padding pair is (atoms - 1, "
    "atoms - 1) with shift 0.",
    "Each pair of neighbors closer than the cutoff appears once, as (i, j) or as (j, i) with the "
    "opposite shift; an atom paired with its own image too.",
    "Pair p = (i, j) is two edges: number p arrives at i, number pairs + p arrives at j. Each row "
    "of incoming_edges lists the edges that arrive at its atom, in any order; unused places hold "
    "2*pairs - 1, and the width is a multiple of 4.",
    "Where there are long_pairs, the same holds for them up to long_cutoff, with long_shifts and "
    "long_incoming_edges; an infinite long_cutoff means all pairs of atoms of one structure, "
    "without images.",
    "Nothing is checked: an index out of range, a missing neighbor or a pair listed twice gives "
    "wrong numbers.",
)


CENTER_OF_MASS = "centre of mass"  # as manifests of earlier versions spell it

# Said in their names, since whoever forgets to add the reference energies gets plausible numbers.
_RENAMED = {"energies": "energies_without_e0", "energy": "energy_without_e0"}


# A program computes all that it has, and these cost more backward passes through the model.
NOT_EXPORTED = tuple(row.name for row in PROPERTIES.values() if row.costly or row.on_request)

_MEANINGS = {
    "energies": "add reference_energies[species] in float64",
    "energy": "add reference_energies and energy_offset in float64",
    "forces": "minus the gradient of the energy",
    "stress": "(1/V) dE/dstrain; 0 without a volume",
    "charges": "predicted charges of the atoms",
}


class _Argument(NamedTuple):
    shape: str
    dtype: str
    unit: str | None
    meaning: str
    more: Mapping[str, object] = MappingProxyType({})


def _inputs(potential: Potential) -> dict[str, _Argument]:
    dtype, config = potential.dtype, potential.config
    found = {
        "cell": _Argument("structures, 3, 3", dtype, "Å", "lattice vectors in rows; 0 without"),
        "charge": _Argument("structures", dtype, "e", "total charge"),
        "positions": _Argument("atoms, 3", dtype, "Å", "best near the origin, for their digits"),
        "species": _Argument("atoms", INDEX, None, "place in elements; -1 for padding"),
        "structure": _Argument("atoms", INDEX, None, "structure each atom belongs to"),
    }
    if config.needs_spin:
        found["spin"] = _Argument("structures", dtype, None, "spin multiplicity 2S + 1")
    if config.needs_charges:
        found["initial_charges"] = _Argument("atoms", dtype, "e", "fixed charges of the atoms")
    for long in ("", "long_") if config.long_cutoff is not None else ("",):
        found |= {
            f"{long}incoming_edges": _Argument(
                f"atoms, 4*{long}slots", INDEX, None, "edges arriving at each atom"
            ),
            f"{long}pairs": _Argument(
                f"{long}pairs, 2", INDEX, None, f"atoms i and j of each pair within {long}cutoff"
            ),
            f"{long}shifts": _Argument(
                f"{long}pairs, 3",
                INDEX,
                None,
                "vector = positions[j] + shift @ cell - positions[i]",
            ),
        }
    return found


def _outputs(potential: Potential) -> dict[str, _Argument]:
    dtype = potential.dtype
    centered = moves_with_the_origin(potential.config)
    origin = exported_potential.MEAN_OF_POSITIONS if centered else CENTER_OF_MASS
    meanings = _MEANINGS | {"dipole": f"about the {origin}; not periodic"}
    found = {}
    for name, row in potential.rows.items():
        if name == "free_energy" or name in NOT_EXPORTED:
            continue
        first = "atoms" if row.per == "atom" else "structures"
        shape = ", ".join([first, *["3"] * row.rank])
        more = {"origin": origin} if name == "dipole" else {}
        if row.source == "tensors":
            more = {"symmetry": row.symmetry, "traceless": row.traceless, "per": row.per}
            more |= {"mean": row.mean} if row.per == "structure" else {}
        meaning = meanings.get(name, "Cartesian components" if row.rank else "a number")
        unit = (row.unit if row.source == "tensors" else row.plain_unit) or None
        found[_RENAMED.get(name, name)] = _Argument(shape, dtype, unit, meaning, more)
    return found


def export_stablehlo(folder: str | os.PathLike[str], potential: Potential) -> Manifest:
    """Write a folder from which a potential evaluates with jax and numpy alone.

    The folder holds the function (``potential.jaxexport``, serialized by jax.export),
    ``manifest.json``, which describes its inputs and outputs, and ``exported_potential.py``, which
    reads both and has a neighbor search.

    Args:
        folder: made if it does not exist; files of an earlier export in it are replaced.
        potential: what to export, in its precision.

    Returns:
        the manifest.

    Raises:
        ValueError: one of several heads has to be chosen first.
        ImportError: flatbuffers, which jax.export needs to write, is not installed.
    """
    potential.config.require_one_level()
    content = _serialized(potential)
    manifest = _manifest(potential, content)
    text = json.dumps(manifest, allow_nan=False, ensure_ascii=False, indent=1)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    reader = Path(exported_potential.__file__)
    # The manifest last: without it, or with an older one, the reader refuses the function.
    (folder / exported_potential.FUNCTION).write_bytes(content)
    (folder / reader.name).write_bytes(reader.read_bytes())
    (folder / exported_potential.MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def _serialized(potential: Potential) -> bytes:
    symbols = jax.export.symbolic_shape(SIZES)
    sizes = dict(zip(SIZES.split(", "), symbols, strict=True))

    def abstract(argument: _Argument) -> jax.ShapeDtypeStruct:
        named = argument.shape.split(", ")
        shape = tuple(sizes[size] if size in sizes else int(size) for size in named)
        return jax.ShapeDtypeStruct(shape, argument.dtype)

    # Sizes are symbols, which kernels do not take, and one program serves CPUs and GPUs.
    with potential.precision(), use_kernels("off"):
        arguments = {name: abstract(spec) for name, spec in _inputs(potential).items()}
        exported = jax.export.export(jax.jit(_function(potential)), platforms=PLATFORMS)(arguments)
        try:
            return bytes(exported.serialize())
        except ImportError:
            raise ImportError(
                "jax.export writes its files with flatbuffers: pip install 'tensornet_jax[export]'"
            ) from None


def _function(potential: Potential) -> Callable[[dict[str, Array]], Outputs]:
    outputs = _outputs(potential)
    wanted = tuple(name for name in potential.properties if name in outputs)
    own = {renamed: name for name, renamed in _RENAMED.items()}
    # Weights may be numpy's, which traced indices cannot look into.
    variables = jax.tree.map(jnp.asarray, potential.variables)

    def function(arrays: dict[str, Array]) -> Outputs:
        found = potential.predict(variables, _graph(arrays), wanted)
        return {name: found[own.get(name, name)] for name in outputs}

    return function


def _graph(arrays: dict[str, Array]) -> AtomGraph:
    species, cell = arrays["species"], arrays["cell"]
    # What no model of this package asks for: energies depend on the shifts.
    unused = jnp.ones(cell.shape[:1], bool)
    return AtomGraph(
        positions=arrays["positions"],
        species=jnp.maximum(species, 0),
        node_graph=arrays["structure"],
        node_mask=species >= 0,
        edges=_edges(arrays, ""),
        cell=cell,
        pbc=jnp.stack([unused] * 3, axis=-1),
        charge=arrays["charge"],
        spin=arrays.get("spin", jnp.zeros_like(arrays["charge"])),
        graph_mask=unused,
        long_edges=_edges(arrays, "long_") if "long_pairs" in arrays else None,
        initial_charges=arrays.get("initial_charges"),
    )


def _edges(arrays: dict[str, Array], long: str) -> EdgeList:
    pairs, shifts = arrays[f"{long}pairs"], arrays[f"{long}shifts"]
    real = pairs[:, 0] != arrays["species"].shape[0] - 1
    return EdgeList(
        receivers=jnp.concatenate([pairs[:, 0], pairs[:, 1]]),
        senders=jnp.concatenate([pairs[:, 1], pairs[:, 0]]),
        shifts=jnp.concatenate([shifts, -shifts]),
        mask=jnp.concatenate([real, real]),
        slots=arrays[f"{long}incoming_edges"],
    )


def _manifest(potential: Potential, content: bytes) -> Manifest:
    sha256 = hashlib.sha256(content).hexdigest()
    return {"file": exported_potential.FUNCTION, "sha256": sha256, **describe(potential)}


def describe(potential: Potential) -> Manifest:
    """Return what the manifest says of a potential, whose function it does not look at.

    Args:
        potential: with one head.
    """
    return {
        "format": "tensornet_jax StableHLO",
        "format_version": FORMAT_VERSION,
        "written_by": {"tensornet_jax": __version__, "jax": jax.__version__},
        "refused_versions": sorted(EXCLUDED_VERSIONS),
        "platforms": list(PLATFORMS),
        "model": potential.config.name,
        # The level of theory that was chosen, of a model with named ones.
        "head": next(iter(potential.config.levels), None),
        "dtype": potential.dtype,
        "cutoff": potential.cutoff,
        "long_cutoff": _spelled(potential.config.long_cutoff),
        "elements": {
            "numbers": [int(number) for number in potential.elements.numbers],
            "symbols": list(potential.elements.symbols),
        },
        "reference_energies": potential.elements.reference_energies.tolist(),
        "energy_offset": float(potential.energy_offset),
        "units": UNITS,
        "sees_charge": potential.config.sees_charge,
        "inputs": _described(_inputs(potential)),
        "outputs": _described(
            {_RENAMED.get(name, name): spec for name, spec in _outputs(potential).items()}
        ),
        "not_exported": [name for name in NOT_EXPORTED if name in potential.properties],
        "rules": list(PADDING),
        "metadata": potential.metadata,
    }


def _spelled(cutoff: float | None) -> float | str | None:
    """A cutoff as JSON, which has no infinity."""
    return exported_potential.INFINITE if cutoff == math.inf else cutoff


def _described(arguments: dict[str, _Argument]) -> dict[str, dict[str, object]]:
    # jax takes the arguments in the order of their names.
    return {
        name: {
            "shape": [int(s) if s.isdigit() else s for s in spec.shape.split(", ")],
            "dtype": spec.dtype,
            **({"unit": spec.unit} if spec.unit else {}),
            **spec.more,
            "meaning": spec.meaning,
        }
        for name, spec in sorted(arguments.items())
    }
