"""The page for browsers: whole, for itself alone, and with the numbers of the other reports."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest

from tensornet_jax.data.references import ReferenceEnergies
from tensornet_jax.models.tensornet.config import TensorNetConfig
from tensornet_jax.potential.potential import ElementTable, Potential
from tensornet_jax.potential.uncertainty.residuals import residuals_of
from tensornet_jax.train.evaluation.errors import error_table
from tensornet_jax.train.evaluation.metrics import ErrorRow, error_cells
from tensornet_jax.train.evaluation.reliability import reliability_cells
from tensornet_jax.train.reporting.html import panels as drawing
from tensornet_jax.train.reporting.html.evaluation import references_in
from tensornet_jax.train.reporting.html.page import Drawings, Page
from tensornet_jax.train.reporting.html.panels import learning_curves, panels, worst
from tensornet_jax.train.reporting.plots import parities
from tensornet_jax.train.reporting.reliability_plot import Reliability
from tests.labelling import labelled
from tests.train.small import clusters

REFERENCES = ReferenceEnergies((1, 6, 8), np.array([-10.0, -10.0, -10.0]), "given", 3)


class Loads(HTMLParser):
    """Collects what a page would fetch, its scripts' text, and the cells of its tables."""

    def __init__(self):
        super().__init__()
        self.fetched: list[str] = []
        self.cells: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag, attrs):
        self._inside = tag
        for name, value in attrs:
            if name in ("src", "srcset", "data", "action") or (name, tag) == ("href", "link"):
                self.fetched.append(f"{tag} {value}")

    def handle_data(self, data):
        if self._inside in ("td", "th"):
            self.cells.append(data)

    def handle_endtag(self, tag):
        self._inside = ""


@pytest.fixture(scope="module")
def found() -> tuple[list, list, list[ErrorRow]]:
    """Structures of two kinds, predictions that are wrong by known numbers, and their errors."""
    frames = clusters(8)
    for k, atoms in enumerate(frames):
        atoms.info["config_type"] = ("<b>hot</b>", "cold")[k % 2]
    structures = labelled(frames)
    rng = np.random.default_rng(1)
    predictions: list[dict[str, Any]] = [
        {
            "energy": each.energy + 0.1 * k * len(each),
            "forces": each.labels["forces"] + rng.normal(0, 0.1, (len(each), 3)),
        }
        for k, each in enumerate(structures)
    ]
    return structures, predictions, error_table("test", structures, predictions).rows()


def page_of(found) -> tuple[Page, Drawings]:
    structures, predictions, rows = found
    drawn = Drawings(
        panels(parities(structures, predictions, REFERENCES), structures, rows),
        worst("test", structures, predictions),
        learning_curves(
            [{"epoch": 1.0, "loss": 3.0, "learning_rate": 1e-3}],
            [{"epoch": 1.0, "loss": 2.0, "forces_mae": 0.1, "forces_rmse": float("nan")}],
            1.0,
            {},
        ),
    )
    page = Page("a & b")
    page.errors("Errors", rows)
    page.drawings(drawn)
    return page, drawn


def data_of(text: str) -> dict[str, Any]:
    (embedded,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    return json.loads(embedded)


def test_the_page_fetches_nothing_and_holds_the_error_table(found):
    text = page_of(found)[0].text()
    loads = Loads()
    loads.feed(text)
    assert not [each for each in loads.fetched if not each.endswith("None")]
    assert not re.search(r"@import|url\(", text.split("</style>")[0])
    for line in error_cells(found[2]):
        assert all(cell in loads.cells for cell in line if cell)
    assert "<b>hot</b>" not in text.split('<script type="application/json"')[0]


def test_deviations_are_beside_the_errors_that_were_made(found):
    structures, predictions, _ = found
    page, drawn = page_of(found)
    assert "How sure it is" not in page.text()
    sure = [
        each | {"forces_std": np.full_like(each["forces"], 0.1), "energy_std": np.array(0.0)}
        for each in predictions
    ]
    told = Reliability("test", residuals_of(sure, (each.labels for each in structures)))
    assert told.found.keys() == {"forces"}
    drawn.reliability.append(told)
    page = Page("a & b")
    page.drawings(drawn)
    text = page.text()
    assert "How sure it is" in text
    loads = Loads()
    loads.feed(text)
    header, row = reliability_cells(told.rows)
    assert set(header) | set(row) <= set(loads.cells)
    (picture,) = (each for each in loads.fetched if each.startswith("img"))
    assert base64.b64decode(picture.removeprefix("img data:image/png;base64,")) == told.picture
    assert told.picture[1:4] == b"PNG"


def test_panels_have_the_numbers_of_the_table_and_every_label(found):
    structures, _, rows = found
    data = data_of(page_of(found)[0].text())
    forces = next(panel for panel in data["panels"] if panel["name"] == "forces")
    (row,) = (r for r in rows if (r.property, r.config_type, r.element) == ("forces", "all", ""))
    assert (forces["mae"], forces["rmse"], forces["count"]) == (row.mae, row.rmse, row.count)
    errors = np.array(forces["predicted"]) - np.array(forces["reference"])
    np.testing.assert_allclose(np.abs(errors).mean(), row.mae, rtol=1e-4)
    counts = forces["histograms"]
    assert sum(counts["all"]) == row.count
    by_group = {r.config_type: r for r in rows if r.property == "forces" and not r.element}
    for k, name in enumerate(forces["groups"]):
        own = np.array(forces["group"]) == k
        assert own.sum() == sum(counts["group"][k]) == by_group[name].count
        np.testing.assert_allclose(np.abs(errors[own]).mean(), by_group[name].mae, rtol=1e-4)
    symbols = np.array(forces["elements"])[forces["element"]]
    of_all = [s for each in structures for s in each.atoms.get_chemical_symbols()]
    assert list(symbols) == [s for s in of_all for _ in range(3)]


def test_many_labels_are_thinned_and_the_largest_errors_kept(found, monkeypatch):
    monkeypatch.setattr(drawing, "MOST_POINTS", 20)
    monkeypatch.setattr(drawing, "LARGEST", 5)
    structures, predictions, rows = found
    parity = parities(structures, predictions, REFERENCES)[1]
    panel: dict[str, Any] = panels([parity], structures, rows)[0]
    assert len(panel["reference"]) <= 20 < panel["count"]
    errors = np.sort(np.abs(np.array(panel["predicted"]) - np.array(panel["reference"])))
    largest = np.sort(np.abs(parity.predicted - parity.reference))[-5:]
    np.testing.assert_allclose(errors[-5:], largest, rtol=1e-3)


def test_the_worst_structures_are_those_with_the_largest_errors(found):
    structures, predictions, _ = found
    shown: Any = worst("test", structures, predictions)
    energies = [each for each in shown if each["by"] == "Energy per atom"]
    assert [each["source"] for each in energies] == [s.source for s in structures[:-5:-1]]
    np.testing.assert_allclose(
        [each["error"] for each in energies], [700, 600, 500, 400], rtol=1e-6
    )
    forces = next(each for each in shown if each["by"] == "Force on an atom")
    difference = np.array(forces["forces"]["predicted"]) - np.array(forces["forces"]["label"])
    assert forces["error"] == pytest.approx(
        1000 * np.linalg.norm(difference, axis=1).max(), rel=1e-3
    )


def test_a_browser_draws_the_page_without_a_network(found, tmp_path: Path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chrome", "google-chrome"))), None)
    if browser is None:
        pytest.skip("there is no chromium to open the page with")
    page_of(found)[0].write(tmp_path / "report.html")
    done = subprocess.run(
        [
            *(browser, "--headless=new", "--no-sandbox", "--disable-gpu"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--virtual-time-budget=5000", "--enable-logging=stderr", "--dump-dom"),
            (tmp_path / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    # Two plots of the chosen panel, three of the logs, and a row for each of the worst structures.
    assert done.stdout.count("<svg") == 5
    # Every label of the forces, and the four points of the logs.
    (labels,) = {
        r.count
        for r in found[2]
        if (r.property, r.config_type) == ("forces", "all") and not r.element
    }
    assert done.stdout.count("<circle") == labels + 4
    assert 'class="chosen"' in done.stdout
    assert "Uncaught" not in done.stderr


def test_energies_are_counted_from_the_isolated_atoms_of_their_head():
    table = ElementTable((1, 6), np.array([[-1.0, -2.0], [-4.0, np.nan]]))
    potential = Potential(TensorNetConfig(levels=("a", "b")), {}, table)
    frames = [ase.Atoms("HC", [[0, 0, 0], [0, 0, 1]], info={"head": "a"})]
    frames.append(ase.Atoms("H2", [[0, 0, 0], [0, 0, 1]], info={"head": "b"}))
    references = references_in(potential)
    assert [references.of_structure(each) for each in labelled(frames)] == [-3.0, -8.0]
