"""A potential as a bundle, one file that `pair_style jax/kk` of LAMMPS loads.

The pair style runs JAX programs inside LAMMPS built with Kokkos, without Python. It comes from the
package `lammps_jax`, which also writes the file: programs in StableHLO with all weights inside,
the sizes of their arrays, and what LAMMPS has to give them.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import ase
import numpy as np

from tensornet_jax.interop.lammps.types import ENERGY_UNITS, species_of_types
from tensornet_jax.interop.lammps_jax.program import Program
from tensornet_jax.interop.lammps_jax.sizes import Form, Shell, Sizes
from tensornet_jax.models.config import require_single
from tensornet_jax.ops.kernels.choice import use_kernels
from tensornet_jax.potential.parts import reach_of
from tensornet_jax.potential.potential import Potential, check_visible
from tensornet_jax.runtime.whole_files import replacing

Platform = Literal["cuda", "cpu"]

# Of lammps_jax: it writes a bundle and returns it.
_ExportModel: TypeAlias = Callable[..., Mapping[str, Mapping[str, Sequence[int]]]]

SKIN = 2.0
"""Å, of LAMMPS's lists in units metal and real, unless `neighbor` says otherwise."""

HEADROOM = 1.3
"""Factor on what the structure needs, since atoms move."""


class Bundle(NamedTuple):
    """What was written.

    shell: which atoms and pairs each process has to know.
    sizes: most atoms and pairs of a process.
    left_out: eV, what is missing of the energy of the whole structure.
    """

    shell: Shell
    sizes: Sizes
    left_out: float


def write_bundle(
    path: str | os.PathLike[str],
    potential: Potential,
    types: Sequence[str],
    structure: ase.Atoms,
    *,
    processes: int = 1,
    form: Form = "ghosts",
    units: str = "metal",
    platform: Platform = "cuda",
    charge: float = 0.0,
    reference_energies: bool = True,
    skin: float = SKIN,
    headroom: float = HEADROOM,
) -> Bundle:
    """Write a bundle.

    Args:
        path: the file; an older one is replaced.
        potential: whose energies of atoms depend on what lies around them, in its precision.
        types: chemical symbol of each atom type, in order.
        structure: of the size that LAMMPS will have; it says how large arrays are.
        processes: over which LAMMPS will divide it.
        form: "ghosts" computes features of ghosts again, which reach as far as messages go;
            "exchange" gets them from their owners in every layer, and ghosts reach one cutoff.
        units: of LAMMPS, "metal" or "real".
        platform: where it is to run.
        charge: total charge of the box, e.
        reference_energies: whether E0 of the elements are part of the energy. In float32 a sum of
            them leaves few digits to what changes.
        skin: Å, of LAMMPS's lists.
        headroom: factor on what the structure needs.

    Raises:
        ValueError: other units or forms, an element that the potential does not know or the
            structure has and no type, or a potential that cannot be divided over processes.
        ImportError: lammps_jax is not installed.
    """
    export_model = _export_model()
    shell = _checked_shell(potential, form, charge)
    if units not in ENERGY_UNITS:
        raise ValueError(f"units {units}: a bundle is for units {' or '.join(ENERGY_UNITS)}")
    missing = sorted(set(structure.symbols) - set(types))
    if missing:
        raise ValueError(f"the structure has {', '.join(missing)}, and no atom type is that")
    references = potential.assembly.elements.reference_energies
    program = Program(
        potential,
        species_of_types(potential, types),
        shell,
        Sizes.holding(structure, shell, processes, skin=skin, headroom=headroom),
        charge=charge,
        unit=ENERGY_UNITS[units],
        references=references if reference_energies else np.zeros_like(references),
    )
    with replacing(Path(path)) as partial:
        _write(partial, program, export_model, units, platform)
    return Bundle(shell, program.sizes, potential.energy_offset)


def _write(
    path: Path, program: Program, export_model: _ExportModel, units: str, platform: Platform
) -> None:
    potential, shell, sizes = program.potential, program.shell, program.sizes
    exchanges = shell.form == "exchange"
    with potential.precision(), use_kernels("off"):
        made = export_model(
            energy_fn=program.energies_with_exchange if exchanges else program.energies,
            path=path,
            max_atoms=sizes.atoms,
            max_edges=sizes.edges,
            cutoff=shell.cutoff,
            unit_style=units,
            precision=potential.dtype,
            newton="on",
            n_hops=shell.hops,
            comm=exchanges,
            half_edges=not exchanges,
            n_species=len(program.species),
            platform=platform,
        )
    found, config = len(made["contract"]["comm_widths"]), potential.config
    if exchanges and found != config.num_hops - 1:
        raise ValueError(
            f"this {config.name} looks {config.num_hops} cutoffs far and exchanges features "
            f"{found} times: its module has to call AtomGraph.with_copies on what neighbors send, "
            "in every layer but the first that looks at them; or take the form ghosts"
        )


def _export_model() -> _ExportModel:
    try:
        return import_module("lammps_jax.export").export_model
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "lammps_jax":
            raise
        raise ImportError(
            "bundles for pair_style jax/kk are written by lammps_jax: "
            "pip install 'tensornet_jax[lammps-jax]'"
        ) from None


def _checked_shell(potential: Potential, form: Form, charge: float) -> Shell:
    config = potential.config
    reach = reach_of(potential)
    check_visible(config, charge or None, None)
    if form not in ("ghosts", "exchange"):
        raise ValueError(f'form {form!r}: a bundle is in the form "ghosts" or "exchange"')
    if form == "exchange":
        require_single(config, "exchange features")
        if config.num_hops < 2:
            raise ValueError(
                f"this {config.name} passes no messages, so that there are no features to "
                "exchange: take the form ghosts"
            )
    return Shell.of(form, reach)
