"""How right predicted standard deviations are: errors that were made beside those expected."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import norm, rankdata

from tensornet_jax.potential.uncertainty.calibration import negative_log_likelihood
from tensornet_jax.potential.uncertainty.residuals import Residuals
from tensornet_jax.properties import PROPERTIES
from tensornet_jax.runtime.csv_files import write_csv
from tensornet_jax.runtime.markdown import markdown_table

SHARES = np.linspace(0, 1, 101)
"""Of a normal distribution, at which intervals are looked at."""

MOST_BINS, FEWEST_IN_BIN = 15, 10


@dataclass(frozen=True)
class ReliabilityRow:
    """One property of one data set; energies per atom, in the units of the table of properties.

    Attributes:
        data_set: its name.
        property: what is predicted.
        count: components with a label.
        rmse: of the predictions.
        sharpness: root mean square of the standard deviations.
        rank_correlation: Spearman's, of the sizes of errors with the deviations; NaN where all
            deviations are one.
        miscalibration_area: between the share of errors within the central interval of each
            probability, and that probability; 0 is best, 0.5 worst.
        coverage_68: share of errors within one standard deviation; 0.683 of a normal distribution.
        coverage_95: within 1.96 of them.
        nll: mean negative log likelihood of normal errors.
        unit: of the property.
    """

    data_set: str
    property: str
    count: int
    rmse: float
    sharpness: float
    rank_correlation: float
    miscalibration_area: float
    coverage_68: float
    coverage_95: float
    nll: float
    unit: str


class Curves(NamedTuple):
    """What a reliability diagram draws of one property.

    expected: root mean square deviations of groups of like deviation, in the property's unit.
    found: root mean square errors of the same groups.
    shares: of errors within the central interval of each of `SHARES`.
    """

    expected: Float[np.ndarray, " bins"]
    found: Float[np.ndarray, " bins"]
    shares: Float[np.ndarray, " shares"]


def curves_of(residuals: Residuals) -> Curves:
    """Return what a reliability diagram draws of one property."""
    expected, found = binned(residuals)
    return Curves(expected, found, observed_shares(residuals))


def known(found: Mapping[str, Residuals]) -> dict[str, Residuals]:
    """Return those properties whose deviations are not all zero."""
    return {name: each for name, each in found.items() if (each.deviations > 0).any()}


def reliability_rows(data_set: str, found: Mapping[str, Residuals]) -> list[ReliabilityRow]:
    """Return one row for each property whose deviations are not all zero.

    Args:
        data_set: its name.
        found: errors and deviations by property.
    """
    rows = []
    for name, each in known(found).items():
        errors, deviations = each
        row = PROPERTIES[name].compared
        within = _ratios(each)
        rows.append(
            ReliabilityRow(
                data_set=data_set,
                property=row.name,
                count=len(errors),
                rmse=float(np.sqrt(np.mean(errors**2))),
                sharpness=float(np.sqrt(np.mean(deviations**2))),
                rank_correlation=_rank_correlation(each),
                miscalibration_area=miscalibration_area(each),
                coverage_68=float(np.mean(within <= 1)),
                coverage_95=float(np.mean(within <= norm.ppf(0.975))),
                nll=negative_log_likelihood(errors, deviations),
                unit=row.unit,
            )
        )
    return rows


def observed_shares(residuals: Residuals) -> Float[np.ndarray, " shares"]:
    """Return the shares of errors within the central interval of each of `SHARES`."""
    ratios = np.sort(_ratios(residuals))
    # The last interval is all there is, errors of no deviation included.
    edges = norm.ppf(0.5 + 0.5 * SHARES)
    return np.searchsorted(ratios, edges, side="right") / len(ratios)


def miscalibration_area(residuals: Residuals) -> float:
    """Return the area between `observed_shares` and the diagonal."""
    return float(np.trapezoid(np.abs(observed_shares(residuals) - SHARES), SHARES))


def binned(residuals: Residuals) -> Float[np.ndarray, "2 bins"]:
    """Return root mean square deviations, and errors beside them, of groups of like deviation."""
    errors, deviations = residuals
    order = np.argsort(deviations, kind="stable")
    count = max(1, min(MOST_BINS, len(order) // FEWEST_IN_BIN))
    groups = np.array_split(order, count)
    return np.array(
        [[np.sqrt(np.mean(values[g] ** 2)) for g in groups] for values in (deviations, errors)]
    )


def reliability_cells(rows: Iterable[ReliabilityRow]) -> list[tuple[str, ...]]:
    """Return header and rows as text, in the units that a reader wants."""
    header = ("data set", "property", "labels", "RMSE", "sharpness", "unit", "rank correlation")
    header += ("miscalibration area", "within σ", "within 1.96 σ", "NLL")
    cells: list[tuple[str, ...]] = [header]
    for row in rows:
        compared = PROPERTIES[row.property.removesuffix("_per_atom")].compared
        unit, factor = compared.shown
        cells.append(
            (
                row.data_set,
                row.property.replace("_", " "),
                str(row.count),
                f"{row.rmse * factor:.4g}",
                f"{row.sharpness * factor:.4g}",
                unit,
                f"{row.rank_correlation:.3f}",
                f"{row.miscalibration_area:.3f}",
                f"{row.coverage_68:.1%}",
                f"{row.coverage_95:.1%}",
                f"{row.nll:.3f}",
            )
        )
    return cells


def render_reliability(rows: Iterable[ReliabilityRow]) -> list[str]:
    """Return the rows as a Markdown table, in the units that a reader wants."""
    header, *lines = reliability_cells(rows)
    return markdown_table(header, lines, numbers=(2, 3, 4, 6, 7, 8, 9, 10))


def write_reliability(path: Path, rows: Iterable[ReliabilityRow]) -> None:
    """Write the rows to a CSV file, in eV and Å."""
    names = [field.name for field in fields(ReliabilityRow)]
    write_csv(path, names, ([getattr(row, name) for name in names] for row in rows))


def _ratios(residuals: Residuals) -> Float[np.ndarray, " errors"]:
    """Sizes of errors in standard deviations; infinite where an error was thought impossible."""
    errors, deviations = np.abs(residuals.errors), residuals.deviations
    impossible = np.where(errors > 0, np.inf, 0.0)
    return np.divide(errors, deviations, out=impossible, where=deviations > 0)


def _rank_correlation(residuals: Residuals) -> float:
    errors, deviations = np.abs(residuals.errors), residuals.deviations
    # Spearman's is not defined where there is one rank.
    if np.ptp(errors) == 0 or np.ptp(deviations) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(errors), rankdata(deviations))[0, 1])
