"""Read the files of other codes through ASE, and what ASE does not say about them."""

import re
from collections.abc import Iterator
from pathlib import Path

import ase.io
from ase import Atoms
from ase.io.formats import UnknownFileTypeError

from tensornet_jax.data.formats.compressed import open_text
from tensornet_jax.data.formats.convergence import complaint, is_cut_off, unconverged_steps
from tensornet_jax.data.formats.frame import Frame
from tensornet_jax.data.formats.species import element_of
from tensornet_jax.runtime.sealed_file import Json

_NOT_CONVERGED = (
    "its electrons did not converge within the steps that were allowed (NELM): its energy, forces "
    "and stress are not used"
)


def read_other(path: Path) -> Iterator[Frame]:
    """Yield the frames of a file in any format that `ase.io.read` knows, in ASE's units.

    Steps of VASP whose electrons did not converge lose their labels.

    Raises:
        ValueError: ASE cannot read the file, or it names atom types in place of elements.
    """
    dump = _lammps_dump(path)
    try:
        frames = ase.io.read(path, index=":", do_not_split_by_at_sign=True, **(dump or {}))
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{path}: this format is read with the module {error.name}, which is not installed: "
            f"pip install {error.name}"
        ) from error
    except Exception as error:  # ASE's readers raise nearly every type there is
        raise ValueError(f"{path}: cannot be read: {_explained(error)}") from error
    if isinstance(frames, Atoms):
        frames = [frames]
    unconverged = unconverged_steps(path)
    phrase, cut_off = complaint(path), is_cut_off(path)
    for index, atoms in enumerate(frames):
        remarks: tuple[str, ...] = ()
        if dump is not None and atoms.calc is not None:
            atoms.calc.results.pop("energy", None)  # ASE writes 0 there
        if cut_off and index == len(frames) - 1:
            remarks = ("the file ends in the middle of a step after this one, which is not read",)
        if index in unconverged:
            atoms.calc = None
            remarks += (_NOT_CONVERGED,)
        elif phrase is not None:
            remarks += (
                f"the file says {phrase!r}: remove the steps that did not converge, which cannot "
                "be told from the others here",
            )
        yield Frame(atoms, str(index), remarks=remarks)


def _lammps_dump(path: Path) -> Json | None:
    """Return ASE's options for a dump of LAMMPS, None for other files.

    Raises:
        ValueError: the dump has atom types only, or lengths without unit.
    """
    with open_text(path) as stream:
        head = [line.rstrip() for _, line in zip(range(30), stream, strict=False)]
    if not head or not head[0].startswith("ITEM:"):
        return None
    atoms = next((line for line in head if line.startswith("ITEM: ATOMS")), "")
    if "element" not in atoms.split():
        raise ValueError(
            f"{path}: this dump of LAMMPS names atom types, not elements: write it with the column "
            "element (dump_modify … element …)"
        )
    at = head.index("ITEM: UNITS") if "ITEM: UNITS" in head else None
    return {} if at is None else {"units": head[at + 1].strip()}


def _explained(error: Exception) -> str:
    """Return the words of an error, with what to do where ASE only gives a key or an index."""
    if isinstance(error, UnknownFileTypeError):
        return "its name and beginning are of no format that ASE knows: convert it to extended XYZ"
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        word = error.args[0]
        if re.fullmatch(r"[A-Za-z][\w+\-]{0,5}", word):
            try:
                element_of(word)
            except ValueError as reason:
                return str(reason)
    if isinstance(error, KeyError | IndexError | AttributeError | TypeError | AssertionError):
        return (
            f"{text}: the file is cut off, or not of the format that its name or beginning says: "
            "write it again, or convert it to extended XYZ"
        )
    return text
