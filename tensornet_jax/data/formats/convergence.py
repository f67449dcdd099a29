"""Steps of calculations whose electrons did not converge, so that they do not become labels."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tensornet_jax.data.formats.compressed import inner_name, open_text

# What codes print, in files that ASE reads, when a self-consistent field did not converge.
_PHRASES = (
    "convergence NOT achieved",  # Quantum ESPRESSO
    "SCF NOT CONVERGED",  # ORCA, NWChem, Q-Chem
    "SCF run NOT converged",  # CP2K
    "SELF-CONSISTENCY CYCLE DID NOT CONVERGE",  # FHI-aims
    "Self-consistency cycle not converged",
    "Did not converge!",  # GPAW
    "Convergence failure",  # Gaussian
    "SCF_NOT_CONV",  # SIESTA
    "SCF cycle did not converge",
)
_ITERATION = re.compile(r"-+ Iteration\s+(\d+)\(\s*(\d+)\)")


def unconverged_steps(path: Path) -> set[int]:
    """Return the zero-based ionic steps of a vasprun.xml or OUTCAR that used up their NELM steps.

    A step that reached NELM and whose energy changed by less than EDIFF at last has converged.
    Other files give none.
    """
    name = inner_name(path).name.lower()
    if "outcar" in name:
        return _of_outcar(path)
    return _of_vasprun(path) if name.endswith(".xml") else set()


def is_cut_off(path: Path) -> bool:
    """Return whether an XML file ends before its end, as that of a run that was stopped does."""
    if not inner_name(path).name.lower().endswith(".xml"):
        return False
    try:
        with open_text(path) as stream:
            for _, element in ElementTree.iterparse(stream):
                element.clear()
    except ElementTree.ParseError:
        return True
    return False


def complaint(path: Path) -> str | None:
    """Return the first line of a text file in which a code says that it did not converge."""
    if inner_name(path).suffix.lower() in (".traj", ".xml"):
        return None
    with open_text(path) as stream:
        for line in stream:
            if "onver" in line.lower() and any(p.lower() in line.lower() for p in _PHRASES):
                return line.strip()[:120]
    return None


def _of_vasprun(path: Path) -> set[int]:
    steps: list[list[float]] = []
    allowed, tolerance = 0, 0.0
    try:
        with open_text(path) as stream:
            for _, element in ElementTree.iterparse(stream):
                if element.tag == "calculation":
                    steps.append(_energies(element))
                    element.clear()
                elif element.tag in ("incar", "parameters"):
                    for item in element.iter("i"):
                        if item.get("name") == "NELM":
                            allowed = int(item.text or 0)
                        elif item.get("name") == "EDIFF":
                            tolerance = float(item.text or 0)
    except (ElementTree.ParseError, ValueError):
        # A run that was stopped leaves a file without its end; ASE reads the steps before it.
        pass
    if allowed < 2:
        return set()
    return {
        index
        for index, energies in enumerate(steps)
        if len(energies) >= allowed and not abs(energies[-1] - energies[-2]) <= tolerance
    }


def _energies(calculation: ElementTree.Element) -> list[float]:
    """Return the free energies of the electronic steps, eV, NaN where there is none."""
    found = []
    for step in calculation.iter("scstep"):
        item = step.find("energy/i[@name='e_fr_energy']")
        try:
            found.append(float(item.text or "nan") if item is not None else float("nan"))
        except ValueError:  # asterisks
            found.append(float("nan"))
    return found


def _of_outcar(path: Path) -> set[int]:
    allowed = 0
    used: dict[int, int] = {}
    converged: set[int] = set()
    current = 0
    with open_text(path) as stream:
        for line in stream:
            if (found := _ITERATION.search(line)) is not None:
                current = int(found[1])
                used[current] = int(found[2])
            elif "aborting loop because EDIFF is reached" in line:
                converged.add(current)
            elif not allowed and (found := re.search(r"\bNELM\s*=\s*(\d+)", line)) is not None:
                allowed = int(found[1])
    if allowed < 2:
        return set()
    steps = sorted(used)
    return {
        index for index, step in enumerate(steps) if used[step] >= allowed and step not in converged
    }
