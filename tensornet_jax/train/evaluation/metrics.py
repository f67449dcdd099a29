"""Errors of a model on labelled structures, summed in float64 one structure at a time.

Sums and counts are kept, never means of means: the result is the same for any batch size, any order
and any mixture of labelled and unlabelled structures.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import ArrayLike

from tensornet_jax.models.heads.tensor_config import TensorHead
from tensornet_jax.properties import LABELLED, PROPERTIES
from tensornet_jax.runtime.csv_files import write_csv
from tensornet_jax.runtime.markdown import markdown_table
from tensornet_jax.train.evaluation.tensor_errors import INDEFINITE, tensor_errors

COMPARED = {each.name: each for row in LABELLED for each in (row, row.compared)}
"""What errors of a property are given in, by name: of energies, whole and per atom."""

SUMMARIZED = tuple(row.compared.name for row in LABELLED)
"""One of those for each property, where both would say the same."""

ALL = "all"


def shown_unit(name: str, unit: str = "") -> tuple[str, str, float]:
    """Return the unit of errors, the one that a reader wants, and the factor between them.

    Args:
        name: of what is compared.
        unit: of a head's property, which need not be the one of the table.
    """
    row = COMPARED.get(name)
    if row is None:
        row = PROPERTIES.get(name)
        if row is None or row.unit != unit:
            return unit, unit, 1.0
    return row.unit, *row.shown


@dataclass
class ErrorSum:
    """Sums over the components of one property in one group of structures."""

    count: int = 0
    absolute: float = 0.0
    square: float = 0.0

    def add(self, error: np.ndarray) -> None:
        """Add errors of any shape, in the property's unit; NaN, a missing label, is left out."""
        known = error[~np.isnan(error)]
        self.count += known.size
        self.absolute += float(np.sum(np.abs(known)))
        self.square += float(np.sum(known * known))

    @property
    def mae(self) -> float:
        """Mean absolute error; NaN when nothing was labelled."""
        return self.absolute / self.count if self.count else float("nan")

    @property
    def rmse(self) -> float:
        """Root mean square error; NaN when nothing was labelled."""
        return (self.square / self.count) ** 0.5 if self.count else float("nan")


@dataclass(frozen=True)
class ErrorRow:
    """One line of the error table, in the units of the table of properties or of the head."""

    data_set: str
    config_type: str
    property: str
    element: str
    count: int
    mae: float
    rmse: float
    unit: str


class Labelled(Protocol):
    """What has labels: those of data, or the targets of training."""

    def of(self, name: str) -> ArrayLike:
        """Return the label of a property, NaN where it is missing."""
        ...


def errors_of(
    prediction: Mapping[str, ArrayLike],
    labels: Labelled,
    num_atoms: int,
    heads: Sequence[TensorHead] = (),
) -> dict[str, np.ndarray]:
    """Return prediction − label in float64 for each predicted property, NaN where unlabelled.

    Args:
        prediction: properties by name, (…) or (N, …), in the units of the table.
        labels: the labels of the same structure, in the same units.
        num_atoms: atoms in the structure; energy_per_atom is the energy error divided by it.
        heads: of the properties that heads predict; see `tensor_errors` for what is compared.
    """
    errors: dict[str, np.ndarray] = {}
    for row in LABELLED:
        if row.name in prediction:
            predicted = np.asarray(prediction[row.name], dtype=np.float64)
            error = np.asarray(predicted - np.asarray(labels.of(row.name), dtype=np.float64))
            errors[row.name] = error
            if row.errors_per_atom:
                errors[row.compared.name] = error / max(num_atoms, 1)
    for head in heads:
        if head.name in prediction:
            predicted = np.asarray(prediction[head.name], dtype=np.float64)
            label = np.broadcast_to(np.asarray(labels.of(head.name), np.float64), predicted.shape)
            errors |= tensor_errors(head, predicted, label)
    return errors


class ErrorTable:
    """MAE and RMSE per property, of what atoms have per element, and all of it per config_type.

    Args:
        data_set: its name.
        heads: of the tensors among the predictions.
    """

    def __init__(self, data_set: str, heads: Sequence[TensorHead] = ()):
        self.data_set = data_set
        self._heads = tuple(heads)
        self._per_atom = {row.name for row in (*LABELLED, *heads) if row.per == "atom"}
        self._units = {name: row.unit for name, row in COMPARED.items()}
        self._sums: dict[tuple[str, str, str], ErrorSum] = {}

    def add(
        self,
        prediction: Mapping[str, ArrayLike],
        labels: Labelled,
        numbers: np.ndarray,
        config_type: str | None = None,
    ) -> None:
        """Add one structure.

        Args:
            prediction: as in `errors_of`.
            labels: as in `errors_of`.
            numbers: (N,) atomic numbers.
            config_type: the structure's group, `atoms.info["config_type"]`; None for no group.
        """
        groups = [ALL] if config_type is None else [ALL, str(config_type)]
        for name, error in errors_of(prediction, labels, len(numbers), self._heads).items():
            if name not in self._units:
                self._units[name] = self._unit(name)
            for group in groups:
                self._sum(group, name, "").add(error)
            if name in self._per_atom:
                for number in np.unique(numbers):
                    chosen = error[numbers == number]
                    for group in groups:
                        self._sum(group, name, chemical_symbols[number]).add(chosen)

    def _unit(self, name: str) -> str:
        if name.endswith(INDEFINITE):
            return "share"
        (unit,) = (h.unit for h in self._heads if name == h.name or name.startswith(f"{h.name} "))
        return unit

    def _sum(self, config_type: str, name: str, element: str) -> ErrorSum:
        return self._sums.setdefault((config_type, name, element), ErrorSum())

    def total(self, name: str, group: str = ALL) -> ErrorSum:
        """Return the sums of one property over all structures, or those of a group.

        An empty sum if there are none.
        """
        return self._sums.get((group, name, ""), ErrorSum())

    def rows(self) -> list[ErrorRow]:
        """Return one row for each group, property and element that has labels.

        Groups come in alphabetical order after the whole set. What would only repeat a row is left
        out: the group where there is one, and the element where there is one.
        """
        groups = sorted({group for group, _, _ in self._sums} - {ALL})
        rows = []
        for group in [ALL, *(groups if len(groups) > 1 else [])]:
            for name, unit in self._units.items():
                elements = sorted(e for g, n, e in self._sums if (g, n) == (group, name))
                elements = elements if len(elements) > 2 else elements[:1]
                for element in elements:
                    found = self._sums[group, name, element]
                    if found.count:
                        rows.append(
                            ErrorRow(
                                data_set=self.data_set,
                                config_type=group,
                                property=name,
                                element=element,
                                count=found.count,
                                mae=found.mae,
                                rmse=found.rmse,
                                unit=unit,
                            )
                        )
        return rows


def summary(rows: Iterable[ErrorRow]) -> list[ErrorRow]:
    """Return the rows of whole data sets: neither one config_type nor one element."""
    return [row for row in rows if row.config_type == ALL and not row.element]


def write_rows(path: Path, rows: Iterable[ErrorRow]) -> None:
    """Write the rows of an error table to a CSV file, in eV and Å."""
    names = [field.name for field in fields(ErrorRow)]
    write_csv(path, names, ([getattr(row, name) for name in names] for row in rows))


def error_cells(rows: Iterable[ErrorRow]) -> list[tuple[str, ...]]:
    """Return header and rows as text, in the units that a reader wants."""
    header = ("data set", "config_type", "property", "element", "labels", "MAE", "RMSE", "unit")
    cells: list[tuple[str, ...]] = [header]
    for row in rows:
        _, unit, factor = shown_unit(row.property, row.unit)
        errors = (f"{row.mae * factor:.4g}", f"{row.rmse * factor:.4g}")
        name = row.property.replace("_", " ")
        cells.append(
            (row.data_set, row.config_type, name, row.element, str(row.count), *errors, unit)
        )
    return cells


def render(rows: Iterable[ErrorRow]) -> list[str]:
    """Return the rows as a Markdown table, in the units that a reader wants."""
    header, *lines = error_cells(rows)
    return markdown_table(header, lines, numbers=(4, 5, 6))
