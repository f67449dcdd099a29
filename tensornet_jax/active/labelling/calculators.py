"""Labels of an ASE calculator, structure by structure."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import BaseCalculator

from tensornet_jax.active.labelling.allowed import calculator_class
from tensornet_jax.active.labelling.answers import Answers
from tensornet_jax.active.labelling.config import CalculatorLabels
from tensornet_jax.data.formats.structure_file import INDEX, ExtendedXyz
from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.labels.labels import CANONICAL
from tensornet_jax.data.readers import read_labelled

DONE = "answers.xyz"


def label_with_calculator(
    settings: CalculatorLabels,
    structures: Sequence[LabelledStructure],
    folder: Path,
    message: Callable[[str], None],
) -> Answers:
    """Return structures with the energy, forces and, if wanted, stress of a calculator.

    What is done stands in a file of the folder, so that a killed run loses one structure. One that
    the calculator fails on is left out, with the reason.

    Args:
        settings: which calculator.
        structures: to label.
        folder: where the file is.
        message: told of each failure.

    Raises:
        ValueError: the calculator cannot be made, or no structure could be labelled.
        ImportError: its package is not installed.
    """
    made = calculator_class(settings.calculator)
    try:
        calculator = made(**settings.settings)
    except Exception as error:  # calculators raise nearly every type there is
        raise ValueError(f"{settings.calculator}: {error}: check label.settings") from error
    path = folder / DONE
    file = ExtendedXyz(path)
    done = file.kept() if path.exists() else {}
    failed: dict[int, str] = {}
    for index, structure in enumerate(structures):
        if index in done:
            continue
        atoms = structure.to_atoms(notes=False)
        try:
            found = _labels(calculator, structure, settings.stress)
        except Exception as error:  # one failure must not cost the others
            failed[index] = f"{type(error).__name__}: {error}"
            message(f"{structure.source}: not labelled: {failed[index]}")
            calculator = made(**settings.settings)
            continue
        for name, value in found.items():
            place = atoms.arrays if name == "forces" else atoms.info
            place[CANONICAL[name]] = value
        atoms.info[INDEX] = index
        atoms.calc = None
        file.append(atoms)
    if not path.exists() or not path.stat().st_size:
        reason = next(iter(failed.values()), "there was none")
        raise ValueError(f"{settings.calculator} could not label any structure: {reason}")
    answered = {each.atoms.info[INDEX]: each for each in read_labelled(path)}
    pairs = {
        index: structures[index].with_labels(answer.labels) for index, answer in answered.items()
    }
    return Answers(dict(sorted(pairs.items())), failed)


def _labels(
    calculator: BaseCalculator, structure: LabelledStructure, stress: bool
) -> dict[str, Any]:
    atoms = structure.atoms.copy()
    # Of fixed atoms ASE would give no forces.
    atoms.constraints = []
    atoms.calc = calculator
    found: dict[str, Any] = {
        "energy": float(atoms.get_potential_energy()),
        "forces": atoms.get_forces(),
    }
    if stress and atoms.pbc.any():
        found["stress"] = atoms.get_stress(voigt=False)
    for name, value in found.items():
        if not np.isfinite(value).all():
            raise ValueError(f"the {name} of the calculator is not finite")
    return found
