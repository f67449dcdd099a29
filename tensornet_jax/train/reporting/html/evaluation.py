"""The page of `tensornet-jax evaluate`: a potential's errors on files of structures."""

from collections.abc import Mapping, Sequence

from numpy.typing import ArrayLike

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.references import ReferenceEnergies
from tensornet_jax.data.references_by_head import HeadReferences, References
from tensornet_jax.potential.potential import ElementTable, Potential
from tensornet_jax.train.evaluation.metrics import ErrorRow, summary
from tensornet_jax.train.reporting.html.page import Drawings, Page
from tensornet_jax.train.reporting.html.panels import panels, worst
from tensornet_jax.train.reporting.plots import parities
from tensornet_jax.train.reporting.reliability_plot import Reliability


def references_in(potential: Potential) -> References:
    """Return the reference energies of a potential, or of each of its heads."""

    def table(elements: ElementTable) -> ReferenceEnergies:
        numbers, energies = elements.numbers, elements.reference_energies
        return ReferenceEnergies(numbers, energies, "the model file", len(numbers))

    levels, elements = potential.config.levels, potential.elements
    if potential.config.num_levels == 1:
        return table(elements)
    return HeadReferences(levels, tuple(table(elements.of_head(k)) for k in range(len(levels))))


class EvaluationPage:
    """Collects what was found of one data set after the other.

    Args:
        title: of the page.
        potential: that was evaluated; energies are drawn without its reference energies.
    """

    def __init__(self, title: str, potential: Potential):
        self._title = title
        self._heads = potential.tensor_heads
        self._references = references_in(potential)
        self._drawn = Drawings()
        self._rows: list[ErrorRow] = []

    def add(
        self,
        name: str,
        structures: Sequence[LabelledStructure],
        predictions: Sequence[Mapping[str, ArrayLike]],
        rows: Sequence[ErrorRow],
        reliability: Reliability,
    ) -> None:
        """Add a data set.

        Args:
            name: of the set.
            structures: of the set.
            predictions: for each.
            rows: its table of errors.
            reliability: of its standard deviations, shown where there are any.
        """
        found = parities(structures, predictions, self._references, self._heads)
        self._drawn.panels.extend(panels(found, structures, rows))
        self._drawn.worst.extend(worst(name, structures, predictions, self._heads))
        if reliability.found:
            self._drawn.reliability.append(reliability)
        self._rows.extend(rows)

    def page(self) -> Page:
        """Return the page of all that was added."""
        page = Page(self._title)
        about = "Errors of forces, stress, dipole and other tensors are over components."
        short = summary(self._rows)
        page.errors("Errors", short, about)
        page.drawings(self._drawn)
        if len(short) < len(self._rows):
            details = [row for row in self._rows if row not in short]
            page.errors("Errors by element and config_type", details)
        return page
