"""What the page draws of one data set: parity, histograms of errors, and the worst structures."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.models.heads.tensor_config import TensorHead
from tensornet_jax.train.evaluation.errors import errors_of
from tensornet_jax.train.evaluation.metrics import ALL, SUMMARIZED, ErrorRow, shown_unit
from tensornet_jax.train.reporting.plots import Parity, parity_title

Json = dict[str, object]

# Points of a parity plot, the largest errors among them; a page stays below a few MB.
MOST_POINTS = 4000
LARGEST = 200
BINS = 61
# Rows of each log that are drawn.
MOST_ROWS = 2000
# Structures shown of each set, by each of energy and forces, and atoms that are drawn.
WORST = 4
MOST_ATOMS = 1000


def panels(
    found: Sequence[Parity], structures: Sequence[LabelledStructure], rows: Sequence[ErrorRow]
) -> list[Json]:
    """Return a panel of parity and errors for each property of a set.

    Args:
        found: labels and predictions, as the plots have them.
        structures: of the set.
        rows: the error table of the set; its MAE and RMSE are written into the panels.
    """
    groups = [each.config_type or ALL for each in structures]
    names = sorted(set(groups))
    of_structures = np.array([names.index(group) for group in groups], dtype=int)
    wholes = {row.property: row for row in rows if row.config_type == ALL and not row.element}
    # Without a row no prediction was a number.
    return [
        _panel(parity, of_structures, names, wholes[parity.name])
        for parity in found
        if parity.name in wholes
    ]


def _panel(
    parity: Parity,
    of_structures: Int[np.ndarray, " structures"],
    groups: list[str],
    row: ErrorRow,
) -> Json:
    unit, shown, factor = shown_unit(parity.name, parity.unit)
    elements = [int(number) for number in np.unique(parity.numbers)]
    group = of_structures[parity.owners]
    chosen = _chosen(parity.predicted - parity.reference)
    return {
        "set": row.data_set,
        "name": parity.name,
        "title": parity_title(parity.name),
        "unit": unit,
        "shown": shown,
        "factor": factor,
        "count": row.count,
        "mae": row.mae,
        "rmse": row.rmse,
        "elements": [chemical_symbols[number] if number else "" for number in elements],
        "groups": groups,
        "reference": _numbers(parity.reference[chosen]),
        "predicted": _numbers(parity.predicted[chosen]),
        "element": np.searchsorted(elements, parity.numbers[chosen]).tolist(),
        "group": group[chosen].tolist(),
        "histograms": _histograms(parity, elements, group, groups),
    }


def _chosen(errors: Float[np.ndarray, " labels"]) -> Int[np.ndarray, " chosen"]:
    """Return which labels to draw: all, or some evenly spaced and those of the largest errors."""
    if errors.size <= MOST_POINTS:
        return np.arange(errors.size)
    spaced = np.linspace(0, errors.size - 1, MOST_POINTS - LARGEST).astype(int)
    largest = np.argsort(-np.nan_to_num(np.abs(errors), nan=np.inf))[:LARGEST]
    return np.unique(np.concatenate([spaced, largest]))


def _histograms(
    parity: Parity, elements: list[int], group: Int[np.ndarray, " labels"], groups: list[str]
) -> Json:
    """Return counts of errors in equal bins, the outermost of which hold all beyond them."""
    errors = parity.predicted - parity.reference
    finite = np.abs(errors[np.isfinite(errors)])
    limit = float(np.quantile(finite, 0.995)) if finite.size else 0.0
    limit = limit or 1.0
    edges = np.linspace(-limit, limit, BINS + 1)

    def counts(own: Bool[np.ndarray, " labels"]) -> list[int]:
        clipped = np.clip(np.nan_to_num(errors[own], nan=limit), -limit, limit)
        return np.histogram(clipped, edges)[0].tolist()

    of_elements = [counts(parity.numbers == number) for number in elements if number]
    of_groups = [counts(group == k) for k in range(len(groups))]
    whole = counts(np.ones(errors.size, dtype=bool))
    return {"limit": limit, "all": whole, "element": of_elements, "group": of_groups}


def worst(
    data_set: str,
    structures: Sequence[LabelledStructure],
    predictions: Sequence[Mapping[str, ArrayLike]],
    heads: Sequence[TensorHead] = (),
) -> list[Json]:
    """Return the structures with the largest errors of energy per atom and of a force.

    Args:
        data_set: its name.
        structures: with labels.
        predictions: one dict of arrays for each.
        heads: of the tensors among the predictions.
    """
    errors = [
        errors_of(prediction, each.labels, len(each), heads)
        for each, prediction in zip(structures, predictions, strict=True)
    ]
    sizes = {
        "energy_per_atom": [abs(float(e.get("energy_per_atom", np.nan))) for e in errors],
        "forces": [_largest_force(e.get("forces")) for e in errors],
    }
    shown = []
    for name, values in sizes.items():
        known = [k for k in range(len(values)) if not math.isnan(values[k])]
        for k in sorted(known, key=lambda k: -values[k])[:WORST]:
            prediction = predictions[k]
            shown.append(_drawn(data_set, structures[k], prediction, name, values[k]))
    return shown


def _largest_force(error: np.ndarray | None) -> float:
    if error is None:
        return math.nan
    lengths = np.linalg.norm(error, axis=1)
    lengths = lengths[~np.isnan(lengths)]
    return float(lengths.max()) if lengths.size else math.nan


def _drawn(
    data_set: str,
    structure: LabelledStructure,
    prediction: Mapping[str, ArrayLike],
    name: str,
    error: float,
) -> Json:
    """Return what the page needs to draw a structure and the forces on its atoms."""
    atoms = structure.atoms
    _, shown, factor = shown_unit(name)
    small = len(atoms) <= MOST_ATOMS
    forces: Json = {}
    if small and "forces" in prediction:
        label = np.broadcast_to(structure.labels.of("forces"), (len(atoms), 3))
        forces = {"label": _rows(label), "predicted": _rows(np.asarray(prediction["forces"]))}
    return {
        "set": data_set,
        "source": structure.source,
        "formula": atoms.get_chemical_formula(),
        "group": structure.config_type or "",
        "by": parity_title(name) if name == "energy_per_atom" else "Force on an atom",
        "error": error * factor,
        "unit": shown,
        "symbols": atoms.get_chemical_symbols() if small else [],
        "positions": _rows(atoms.positions) if small else [],
        "cell": _rows(atoms.cell.array) if atoms.pbc.any() else [],
        "forces": forces,
    }


def learning_curves(
    train: Sequence[Mapping[str, float]],
    validation: Sequence[Mapping[str, float]],
    best_epoch: float | None,
    units: Mapping[str, str],
) -> Json:
    """Return the rows of the logs, and which errors of the validation are drawn.

    Args:
        train: rows of log_train.csv.
        validation: rows of log_validation.csv.
        best_epoch: marked where it is known.
        units: of tensors, by name.
    """
    errors = []
    for name in (*SUMMARIZED, *units):
        if any(math.isfinite(row.get(f"{name}_mae", math.nan)) for row in validation):
            _, shown, factor = shown_unit(name, units.get(name, ""))
            title = parity_title(name)
            errors.append({"name": name, "title": title, "shown": shown, "factor": factor})
    logs = {"train": _thinned(train), "validation": _thinned(validation)}
    return {**logs, "best": best_epoch, "errors": errors}


def _thinned(rows: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Return all rows of a log, or some evenly spaced with the first and the last."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(int))
    return [dict(rows[k]) for k in chosen]


def _rows(array: Float[np.ndarray, "rows 3"]) -> list[list[float | None]]:
    return [_numbers(row) for row in array]


def _numbers(values: Float[np.ndarray, " values"]) -> list[float | None]:
    """Return numbers for JSON, to six digits; None for what is not finite."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]
