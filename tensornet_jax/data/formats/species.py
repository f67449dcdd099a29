"""Elements as files write them: symbols, atomic numbers, isotopes of hydrogen."""

import re

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

HEAVIEST = 118
# Symbol → mass, u (AME 2016).
HYDROGEN_ISOTOPES = {"D": 2.01410177811, "T": 3.01604928199}
_GHOSTS = {"x", "xx", "du", "bq", "gh", "q", "vc"}


def element_of(text: str) -> int:
    """Return the atomic number of a symbol in any case, or of an atomic number written out.

    D and T are hydrogen.

    Raises:
        ValueError: it is neither; the message says what to write.
    """
    if re.fullmatch(r"[+-]?\d+", text):
        number = int(text)
        if not 1 <= number <= HEAVIEST:
            raise ValueError(f"{number} is not an atomic number: they go from 1 to {HEAVIEST}")
        return number
    symbol = text.strip().capitalize()
    if symbol in HYDROGEN_ISOTOPES:
        return 1
    if symbol != "X" and symbol in atomic_numbers:
        return atomic_numbers[symbol]
    raise ValueError(f"{text!r} is not the symbol of an element: {_remedy(text)}")


def isotope_mass(text: str) -> float | None:
    """Return the mass of D and T, u; None for all others."""
    return HYDROGEN_ISOTOPES.get(text.strip().upper())


def elements_of(values: object, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return atomic numbers and masses (u, NaN where they are the element's) of an array.

    Args:
        values: integers, whole floats, or symbols in any string type; zeros pad. object shape.
        where: file, for messages.

    Raises:
        ValueError: a value that is no atomic number and no symbol, with its index.
    """
    array = np.asarray(values)
    masses = np.full(array.shape, np.nan)
    if array.dtype.kind in "iufb" and array.dtype.kind != "b":
        # NaN and infinity are not whole either.
        with np.errstate(invalid="ignore"):
            wrong = ~((array >= 0) & (array <= HEAVIEST) & (array == np.floor(array)))
        if wrong.any():
            at = _first(wrong)
            raise ValueError(
                f"{where}: {array[at]} is not an atomic number ({_index(at)}): they are "
                f"whole numbers from 1 to {HEAVIEST}, and 0 pads shorter structures"
            )
        return array.astype(int), masses
    if array.dtype.kind not in "USO":
        raise ValueError(f"{where}: atomic numbers of type {array.dtype} are not understood")
    numbers = np.zeros(array.shape, int)
    for at, value in np.ndenumerate(array):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        text = text.strip("\0 ")
        if not text:  # pads
            continue
        try:
            numbers[at] = element_of(text)
        except ValueError as error:
            raise ValueError(f"{where}: {error} ({_index(at)})") from None
        masses[at] = isotope_mass(text) or np.nan
    return numbers, masses


def _remedy(text: str) -> str:
    if text.strip().lower() in _GHOSTS:
        return "ghost and dummy atoms must be removed"
    letters = re.match(r"[A-Za-z]{1,2}", text.strip())
    candidates = [letters[0], letters[0][:1]] if letters else []
    known = [c.capitalize() for c in candidates if c.capitalize() in chemical_symbols[1:]]
    if not known:
        return "write the symbol of its element"
    if re.search(r"[+-]", text):
        return f"write {known[0]}, and the total charge of the structure as charge=…"
    if re.search(r"\d", text):
        return f"write {known[0]} if this is a label of that element"
    return f"write the symbol of its element, e.g. {known[0]}"


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])


def _index(at: tuple[int, ...]) -> str:
    names = ("structure", "atom") if len(at) > 1 else ("atom",)
    return ", ".join(f"{name} {i}" for name, i in zip(names, at, strict=False))
