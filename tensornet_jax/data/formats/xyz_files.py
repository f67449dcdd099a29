"""Read xyz files, extended or plain, frame by frame, so that none is dropped without a word.

Frames are cut out here, where blank lines may stand between them and a wrong count is an error
that names the line; ASE's reader turns each into Atoms.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from ase import Atoms
from ase.data import chemical_symbols
from ase.io.extxyz import read_xyz as read_with_ase

from tensornet_jax.data.formats.compressed import inner_name, open_text
from tensornet_jax.data.formats.frame import FileFormat, Frame
from tensornet_jax.data.formats.species import element_of, isotope_mass
from tensornet_jax.data.formats.xyz_comments import LAMMPS, Comment, parse_comment
from tensornet_jax.data.labels.config import LabelConfig

_PLAIN = "species:S:1:pos:R:3"
_CP2K_OTHER = re.compile(r"-(frc|vel)-\d+\.xyz$", re.IGNORECASE)


@dataclass(frozen=True)
class _Raw:
    """The lines of a frame.

    Attributes:
        index: of the frame, from zero.
        line: of its first line, from one.
        comment: the second.
        rows: of its atoms.
        vectors: lines of cell vectors after them, as ADF writes.
    """

    index: int
    line: int
    comment: str
    rows: list[str]
    vectors: list[str]


def looks_like_xyz(path: Path) -> bool:
    """Return whether a file begins as xyz files do: a count, a line of text, a row of an atom."""
    try:
        with open_text(path) as stream:
            count, _, row = (stream.readline(4096) for _ in range(3))
    except (OSError, ValueError):
        return False
    return re.fullmatch(r"\s*\d+\s*", count) is not None and len(row.split()) >= 4


def read_xyz(path: Path, order: str = "voigt") -> Iterator[Frame]:
    """Yield the frames of an extended or plain xyz file, which may be compressed.

    Args:
        path: the file.
        order: of stresses and virials of six numbers, as `LabelConfig.stress_order`.

    Raises:
        ValueError: the file is cut off, has text between frames, or a row that cannot be read;
            the message names the line.
    """
    if (found := _CP2K_OTHER.search(inner_name(path).name)) is not None:
        what = "forces" if found[1].lower() == "frc" else "velocities"
        raise ValueError(f"{path}: CP2K writes {what} into such files, where positions should be")
    with open_text(path) as stream:
        for raw in _cut(path, stream):
            where = f"{path}:{raw.index}"
            try:
                comment = parse_comment(raw.comment, order)
            except Exception as error:  # ASE's parser raises several types
                raise ValueError(
                    f"{where}: cannot be read, line {raw.line + 1}: {error}"
                ) from error
            atoms, remarks = _atoms(raw, comment, where)
            yield Frame(atoms, str(raw.index), comment.units, comment.remarks + remarks)


def _read(path: Path, config: LabelConfig) -> Iterator[Frame]:
    return read_xyz(path, config.stress_order)


XYZ = FileFormat(_read, frozenset({".xyz", ".extxyz", ".exyz"}), looks_like_xyz, compressed=True)


def _cut(path: Path, stream: Iterator[str]) -> Iterator[_Raw]:
    lines = enumerate(stream, start=1)
    held: tuple[int, str] | None = None
    index = 0
    while True:
        number, line = held or next(lines, (0, ""))
        held = None
        if not line:
            return
        if not line.strip():
            continue
        if re.fullmatch(r"\s*\d+\s*", line) is None:
            before = f"frame {index - 1} has more rows than it says, or " if index else ""
            raise ValueError(
                f"{path}: cannot be read, line {number}: {line.strip()[:60]!r} stands where the "
                f"number of atoms of frame {index} should: {before}this is not an xyz file"
            )
        count, first = int(line), number
        comment = next(lines, (0, ""))[1]
        rows: list[str] = []
        for _ in range(count):
            number, line = next(lines, (0, ""))
            if not line.strip():
                place = f"line {number} is blank" if line else "the file ends"
                raise ValueError(
                    f"{path}: cannot be read: frame {index} from line {first} has {len(rows)} of "
                    f"{count} atoms, then {place}: remove the frame or write it again"
                )
            rows.append(line)
        vectors: list[str] = []
        for number, line in lines:
            if not line.lstrip().startswith("VEC"):
                held = (number, line)
                break
            vectors.append(line)
        yield _Raw(index, first, comment, rows, vectors)
        index += 1


def _atoms(raw: _Raw, comment: Comment, where: str) -> tuple[Atoms, tuple[str, ...]]:
    """Return the structure of a frame, and remarks on it."""
    info = dict(comment.info)
    stated = str(info.get("Properties", _PLAIN))
    columns, species, numeric = _columns(stated, where)
    types = LAMMPS.search(raw.comment) is not None
    beyond, masses, rows = 0, {}, []
    for atom, row in enumerate(raw.rows):
        place = f"{where}: cannot be read, line {raw.line + 2 + atom}"
        words = row.split()
        if len(words) < columns or (len(words) > columns and "Properties" in info):
            raise ValueError(f"{place} has {len(words)} columns, not {columns} ({stated})")
        beyond = max(beyond, len(words) - columns)
        if species is not None and words[species] not in _SYMBOLS:
            try:
                words[species], mass = _symbol(words[species], types)
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from None
            if mass is not None:
                masses[atom] = mass
            row = " ".join(words) + "\n"
        rows.append(row)
    if species is not None:
        info["Properties"] = stated.replace("species:I:", "species:S:")
    text = f"{len(rows)}\n{'comment' if not raw.vectors else raw.comment.strip()}\n"
    try:
        found = list(
            read_with_ase(
                StringIO(text + "".join([*rows, *raw.vectors])),
                index=slice(None),  # pyright: ignore[reportArgumentType]
                properties_parser=lambda _: info,
            )
        )
    except Exception as error:  # ASE's readers raise nearly every type there is
        raise ValueError(
            f"{where}: cannot be read, from line {raw.line}: {_reason(rows, numeric, raw, error)}"
        ) from error
    if len(found) != 1:
        raise ValueError(f"{where}: ASE reads {len(found)} frames of this one")
    (atoms,) = found
    if masses and not atoms.has("masses"):
        values = atoms.get_masses()
        values[list(masses)] = list(masses.values())
        atoms.set_array("masses", values, float)
    told = f"columns after the fourth are not read ({beyond}): the comment line names none of them"
    return atoms, (told,) if beyond else ()


_SYMBOLS = frozenset(chemical_symbols[1:])


def _columns(stated: str, where: str) -> tuple[int, int | None, dict[int, str]]:
    """Return the number of columns, that of the species, and the names of numeric ones."""
    parts = stated.split(":")
    if len(parts) % 3 or not all(p.isdigit() for p in parts[2::3]):
        raise ValueError(f"{where}: Properties={stated} is not name:type:columns, and so on")
    position, species, numeric = 0, None, {}
    for name, kind, width in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if name == "species":
            species = position
        if kind in "RI" and name != "species":
            numeric |= {position + k: name for k in range(int(width))}
        position += int(width)
    return position, species, numeric


def _symbol(word: str, types: bool) -> tuple[str, float | None]:
    """Return the symbol that ASE knows, and the mass of an isotope.

    Raises:
        ValueError: the word is no element; the message says what to write.
    """
    if types and word.isdigit():
        raise ValueError(
            f"{word} is one of LAMMPS's atom types, not an element: write symbols "
            "(dump_modify … element …)"
        )
    return chemical_symbols[element_of(word)], isotope_mass(word)


def _reason(rows: list[str], numeric: dict[int, str], raw: _Raw, error: Exception) -> str:
    """Return what is wrong with a frame: the first word that is no number, else ASE's words."""
    for atom, row in enumerate(rows):
        words = row.split()
        for column, name in numeric.items():
            try:
                float(words[column])
            except ValueError:
                return (
                    f"{words[column]!r} in line {raw.line + 2 + atom} is not a number, which "
                    f"{name} needs"
                )
    return f"{type(error).__name__}: {error}"
