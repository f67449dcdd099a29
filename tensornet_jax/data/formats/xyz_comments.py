"""Comment lines of xyz files: keys and values, or what one of the codes of this field writes."""

import re
from typing import NamedTuple

import numpy as np
from ase.cell import Cell
from ase.io.extxyz import key_val_str_to_dict

from tensornet_jax.data.formats.array_frames import CELLS, PBC, named
from tensornet_jax.data.labels.config import matrix_of_six
from tensornet_jax.data.labels.stated_units import NOTHING_STATED, StatedUnits, stated_in
from tensornet_jax.units import conversion_factor, quantities_of

_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?)"
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|\{[^}]*\}|\[[^\]]*\]|\'[^\']*\'')
_VOIGT_VALUE = re.compile(r'(?<!\S)(stress|virial)=("[^"]*"|\'[^\']*\'|\{[^}]*\}|\[[^\]]*\])')
# The key of the energy in each code's line, and what the line looks like; all in hartree.
_CODES = (
    ("E", re.compile(rf"^\s*i\s*=\s*\d+\s*,.*\bE\s*=\s*{_NUMBER}")),  # CP2K
    ("energy", re.compile(rf"^\s*energy:\s*{_NUMBER}\s+(?:gnorm|xtb):")),  # xtb
    ("energy", re.compile(rf"^\s*SCF done\s+{_NUMBER}")),  # xtb
    ("E", re.compile(rf"^\s*Coordinates from ORCA-job\s.*\bE\s+{_NUMBER}")),  # ORCA
    ("energy", re.compile(rf"^\s*ORCA AIMD Position.*\bE_Pot=\s*{_NUMBER}\s+Hartree")),  # ORCA
    ("energy", re.compile(rf"^\s*Iteration\s+\d+\s+Energy\s+{_NUMBER}")),  # geomeTRIC
)
_UNIT_AFTER = re.compile(
    rf"(?<!\S)(?P<key>[^\s=]+)\s*=\s*{_NUMBER}\s+[(\[]?(?P<unit>[^\s=()\[\],]+)[)\]]?,?(?=\s|$)(?!\s*=)"
)
_IPI = re.compile(r"\bCELL\((?P<form>\w+)\):\s*(?P<numbers>(?:[-+\d.eE]+\s+)+)")
_IPI_UNIT = re.compile(r"\b(?P<what>\w+)\{(?P<unit>\w+)\}")
LAMMPS = re.compile(r"^\s*Atoms\.?\s+Timestep", re.IGNORECASE)


class Comment(NamedTuple):
    """What a comment line says.

    Attributes:
        info: values by key, as ASE's extended XYZ reader takes them.
        units: that it states, in words or by being the line of a code that has its own.
        remarks: what a person should know.
    """

    info: dict[str, object]
    units: StatedUnits = NOTHING_STATED
    remarks: tuple[str, ...] = ()


def parse_comment(line: str, order: str = "voigt") -> Comment:
    """Return what a comment line says, in the units that it says it in.

    Args:
        line: the comment line.
        order: of stresses and virials of six numbers, as `LabelConfig.stress_order`.

    Raises:
        ValueError: a key stands there twice, a value is not what its key needs, or a code's line
            does not say what the numbers below it are.
    """
    if not re.search(r"(?<!\S)(Properties|Lattice)\s*=", line):
        for key, pattern in _CODES:
            found = pattern.search(line)
            if found is not None:
                value = float(found[1].replace("D", "E").replace("d", "e"))
                return Comment({key: value}, StatedUnits({key: "Hartree"}))
        if _IPI.search(line):
            return _of_ipi(line)
    if "=" not in line:
        return _plain(line)
    info = _keys_and_values(line, order)
    stated = stated_in(info) | StatedUnits(_units_after_numbers(line))
    return Comment(_with_usual_cell(info), stated)


def _keys_and_values(line: str, order: str) -> dict[str, object]:
    """Parse an extended XYZ comment line where ASE would drop or refuse a label.

    ASE keeps the last of a repeated key, and fails on `stress` with six numbers.
    """
    names = re.findall(r"(?:^|\s)([^\s=]+)=", _QUOTED.sub("_", line))
    repeated = {name for name in names if names.count(name) > 1 and name != "_"}
    if repeated:
        raise ValueError(f"repeated keys {', '.join(sorted(repeated))} in {line.strip()[:120]!r}")

    def nine_numbers(match: re.Match[str]) -> str:
        numbers = match[2][1:-1].replace(",", " ").split()
        if len(numbers) != 6:
            return match[0]
        return f'{match[1]}="{" ".join(matrix_of_six(numbers, order).ravel())}"'

    return key_val_str_to_dict(_VOIGT_VALUE.sub(nine_numbers, line))


def _units_after_numbers(line: str) -> dict[str, str]:
    """Return the units in text such as `energy=-76.4 Hartree` or `E = -76.4 (a.u.)`, by key."""
    return {
        found["key"]: found["unit"]
        for found in _UNIT_AFTER.finditer(re.sub(r'"[^"]*"', "_", line))
        if len(found["unit"]) > 1 and quantities_of(found["unit"])
    }


def _with_usual_cell(info: dict[str, object]) -> dict[str, object]:
    """Return the values with cell and pbc as ASE looks for them, whatever their case and name.

    Raises:
        ValueError: the numbers of a cell are none.
    """
    periodic = named(info, PBC)
    if periodic is not None and "pbc" not in info:
        info["pbc"] = info.pop(periodic)
    key = named((k for k, v in info.items() if isinstance(v, np.ndarray)), CELLS)
    if key is None or "Lattice" in info:
        return info
    numbers = np.asarray(info.pop(key))
    if numbers.dtype.kind not in "if" or numbers.size not in (3, 6, 9):
        raise ValueError(f'{key} is not a cell: write Lattice="ax ay az bx by bz cx cy cz"')
    vectors = numbers.reshape(3, 3) if numbers.size == 9 else Cell.new(numbers).array
    return info | {"Lattice": vectors.T}


def _plain(line: str) -> Comment:
    """Keep text as text: single words of it are no keys."""
    text = line.strip()
    if not text:
        return Comment({})
    remarks: tuple[str, ...] = ()
    if re.search(r"(?<![\w.])-?\d+\.\d{3,}(?![\w.])", text):
        remarks = ("numbers in comment lines that are not key=value are not read",)
    return Comment({"comment": text}, remarks=remarks)


def _of_ipi(line: str) -> Comment:
    """Read cell and units from a line that i-PI writes above positions."""
    cell = _IPI.search(line)
    units = {found["what"].lower(): found["unit"] for found in _IPI_UNIT.finditer(line)}
    if cell is None or cell["form"] != "abcABC":
        raise ValueError(f"the cell in {_shortened(line)!r} is not of i-PI's form abcABC")
    if "positions" not in units:
        raise ValueError(
            f"i-PI's line {_shortened(line)!r} does not say that positions stand below it, and in "
            "which unit: positions{angstrom} or positions{atomic_unit}"
        )
    length = units["positions"]
    scale = conversion_factor(units.get("cell", "atomic_unit"), "length")
    scale /= conversion_factor(length, "length")
    parameters = [float(number) for number in cell["numbers"].split()[:6]]
    vectors = Cell.fromcellpar([*(scale * x for x in parameters[:3]), *parameters[3:]])
    info = {"Lattice": vectors.array.T, "pbc": [True, True, True]}
    return Comment(info, StatedUnits(quantities={"length": length}))


def _shortened(text: str) -> str:
    text = text.strip()
    return text if len(text) <= 60 else f"{text[:57]}…"
