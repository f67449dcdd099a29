"""Does a published potential that was given an uncertainty know what is unlike the bulk?

python benchmarks/matpes_uncertainty.py POTENTIAL MLEARN [--sample 500] [--directions 8]
    [--regularizer 1e-9] [--folder FOLDER]

POTENTIAL is the folder of TensorNet-MatPES-PBE-v2025.1-PES as MatGL publishes it, MLEARN one with
Cu, Li and Si, each _train.xyz and _test.xyz. Prediction rigidity is collected from so many training
structures of bulk crystals at all temperatures, copper's among them, which say nothing of their
kind. Half of what is left, strained crystals and defects, calibrates it. The other half and the
test sets are told apart by their kind. The regularizer is given: errors of energies, by which it
would be chosen, are mostly those of another level of theory.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from results_file import add_records, machine_line, results_folder

from tensornet_jax.data.labelled_structure import LabelledStructure
from tensornet_jax.data.readers import read_labelled
from tensornet_jax.interop.matgl import from_directory
from tensornet_jax.potential.compress import compress
from tensornet_jax.potential.elements import with_elements
from tensornet_jax.potential.potential import ElementTable, Potential
from tensornet_jax.potential.uncertainty.estimate import with_rigidity
from tensornet_jax.potential.uncertainty.residuals import residuals_of
from tensornet_jax.runtime.markdown import markdown_table
from tensornet_jax.runtime.memory import keep_freed_memory
from tensornet_jax.train.evaluation.errors import evaluate_structures
from tensornet_jax.train.evaluation.kinds import (
    SCORES,
    Kind,
    kind_among,
    kind_cells,
    largest_deviations,
)
from tensornet_jax.train.evaluation.reliability import reliability_rows, render_reliability
from tensornet_jax.train.reporting.reliability_plot import kinds_picture

BENCHMARK = "matpes_uncertainty"
ELEMENTS = ("Cu", "Li", "Si")
NUMBERS = (3, 14, 29)
BULK = "bulk at 300 K"
DEFECTS = ("strained", "vacancy", "surface")
GROUPS = {
    "strained or defect": DEFECTS,
    **{each: (each,) for each in (*DEFECTS, "bulk, hotter")},
}
STRUCTURES_IN_BATCH = 4


def kind(structure: LabelledStructure) -> str:
    """Return what a structure of mlearn is, by its config_type and description."""
    told, config = str(structure.atoms.info.get("description", "")), structure.config_type or ""
    if config == "AIMD-NVT":
        return BULK if told.endswith("at 300 K") else "bulk, hotter"
    known = {"Elastic": "strained", "Vacancy": "vacancy", "Surface": "surface"}
    return known.get(config, "other")


def read(folder: Path, part: str, elements: Sequence[str]) -> list[LabelledStructure]:
    """Return the structures of some elements, in which config_type is the kind."""
    found = [
        each for element in elements for each in read_labelled(folder / f"{element}_{part}.xyz")
    ]
    for each in found:
        each.atoms.info["config_type"] = kind(each)
    return found


def with_fitted_energies(
    potential: Potential, structures: Sequence[LabelledStructure]
) -> Potential:
    """Return the potential with E0 that make the mean error of each element's crystals zero."""
    predictions = evaluate_structures(potential, structures, STRUCTURES_IN_BATCH)
    energies = potential.elements.reference_energies.copy()
    for place, number in enumerate(potential.elements.numbers):
        energies[place] += np.mean(
            [
                (each.energy - float(np.asarray(found["energy"]))) / len(each)
                for each, found in zip(structures, predictions, strict=True)
                if each.numbers[0] == number
            ]
        )
    table = ElementTable(potential.elements.numbers, energies)
    return potential.replace(elements=table)


def against_bulk(
    structures: Sequence[LabelledStructure], predictions: Sequence[Mapping[str, ArrayLike]]
) -> list[Kind]:
    """Return each group of kinds beside the bulk at 300 K alone."""
    found, kinds = [], np.array([each.config_type for each in structures])
    for prop in SCORES:
        largest = largest_deviations(predictions, prop)
        for name, members in GROUPS.items():
            chosen = np.isin(kinds, members)
            both = chosen | (kinds == BULK)
            found.append(kind_among("mlearn", name, prop, largest[both], chosen[both]))
    return found


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Give the potential its uncertainty, and look at the kinds."""
    rng = np.random.default_rng(0)
    published = read(arguments.mlearn, "train", ELEMENTS)
    order = rng.permutation(len(published)).tolist()
    bulk = [k for k in order if published[k].config_type not in DEFECTS]
    # By element, so that some of each are among those that energies are fitted to.
    taken = sorted(bulk[: arguments.sample], key=lambda k: int(published[k].numbers[0]))
    sample = [published[k] for k in taken]
    left = [published[k] for k in order if k not in set(taken)]
    validation, tested = left[::2], left[1::2]
    tested = tested + read(arguments.mlearn, "test", ELEMENTS)
    potential = compress(with_elements(from_directory(arguments.potential), NUMBERS))
    potential = with_fitted_energies(potential, sample[:: max(1, len(sample) // 60)])
    sure = with_rigidity(
        potential,
        [each.atoms for each in sample],
        validation,
        directions=arguments.directions,
        regularizer=arguments.regularizer,
        batch_size=STRUCTURES_IN_BATCH,
    )
    predictions = evaluate_structures(sure, tested, STRUCTURES_IN_BATCH, deviations=True)
    residuals = residuals_of(predictions, (each.labels for each in tested))
    kinds = against_bulk(tested, predictions)
    (folder / "kinds.png").write_bytes(kinds_picture("MatPES: σ against bulk at 300 K", kinds))
    return {
        "sample": len(sample),
        "validation": len(validation),
        "tested": len(tested),
        "bulk": sum(each.config_type == BULK for each in tested),
        "directions": arguments.directions,
        "facts": sure.metadata["uncertainty"],
        "kinds": [{**asdict(each), "curve": np.round(each.curve, 4).tolist()} for each in kinds],
        "reliability": render_reliability(reliability_rows("mlearn", residuals)),
        "rows": [asdict(row) for row in reliability_rows("mlearn", residuals)],
    }


def report(results: dict[str, Any]) -> str:
    """Return the page."""
    (record,) = results["records"]
    header, *rows = kind_cells(Kind(**each) for each in record["kinds"])
    lines = [
        "# What the MatPES potential is less sure of",
        "",
        f"MatGL's universal TensorNet, converted, compressed, prediction rigidity from "
        f"{record['sample']} bulk structures of Cu, Li and Si of mlearn with "
        f"{record['directions']} directions, calibrated on {record['validation']} others. "
        f"{machine_line(results)}. Each kind of {record['tested']} further structures beside "
        f"{record['bulk']} of the bulk at 300 K: AUC is how likely σ of the energy per atom, the "
        "largest of an atom's energy, or of a component of a force, is larger in the kind. Of "
        "perfect crystals under strain all atoms are alike and all forces vanish, σ included: the "
        "energy per atom tells them.",
        "",
        *markdown_table(header[1:], [row[1:] for row in rows], numbers=(1, 3, 5)),
        "",
        "![Receiver operating characteristics](kinds.png)",
        "",
        "## How right the deviations are",
        "",
        *record["reliability"],
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write results.json, README.md and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("potential", type=Path)
    parser.add_argument("mlearn", type=Path)
    parser.add_argument("--sample", type=int, default=500)
    parser.add_argument("--directions", type=int, default=8)
    parser.add_argument("--regularizer", type=float, default=1e-9)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    keep_freed_memory()
    folder = results_folder(BENCHMARK, arguments.folder)
    found = {"name": BENCHMARK, **measure(arguments, folder)}
    results = add_records(folder, BENCHMARK, [found], ("name",), {})
    (folder / "README.md").write_text(report(results), encoding="utf-8")


if __name__ == "__main__":
    main()
