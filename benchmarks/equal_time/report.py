"""Tables of what was reached, beside what is published."""

from collections.abc import Mapping, Sequence
from typing import Any

from tensornet_jax.runtime.markdown import markdown_table

Record = dict[str, Any]

TITLES = {
    "tensornet": "TensorNet",
    "mace": "MACE",
    "mace-gaunt": "MACE with Gaunt products",
    "escn": "eSCN",
    "mace-torch": "mace-torch",
    "torchmd-net": "torchmd-net",
}
MEASURES = ("mae", "rmse")
VALIDATION = "validation"
CHOSEN_BY = "forces_rmse"
# What MACE's paper gives of models trained to convergence on GPUs: energy meV, forces meV/Å.
PUBLISHED = {
    ("acac", "300K", "rmse"): "MACE 0.9 / 5.1, NequIP 0.81 / 5.90, BOTNet 0.89 / 6.3",
    ("acac", "600K", "rmse"): "MACE 4.6 / 22.4, NequIP 6.04 / 27.8, BOTNet 6.2 / 29.8",
    ("3bpa", "held_out", "rmse"): "MACE L=2 3.0 / 8.8, L=1 3.4 / 10.3, NequIP 3.3 / 10.8 †",
    (
        "ethanol",
        "MD",
        "mae",
    ): "MACE 0.4 / 2.1, Allegro 0.4 / 2.1, NequIP 0.4 / 2.8, BOTNet 0.4 / 3.2",
}


def best_recipes(records: Sequence[Record]) -> list[Record]:
    """Return of each set, code and time the run whose forces are best on the validation set."""
    found: dict[tuple[str, str, float], Record] = {}
    for record in records:
        case = (record["set"], record["code"], record["minutes"])
        if case not in found or _score(record) < _score(found[case]):
            found[case] = record
    return list(found.values())


def _score(record: Record) -> float:
    return record["errors"][VALIDATION][CHOSEN_BY]


def report(results: Mapping[str, Any]) -> str:
    """Return all results as Markdown."""
    machine, records = results["machine"], results["records"]
    device = machine["processor"] or machine["device"]
    lines = [
        "# Accuracy at equal time",
        "",
        f"Trained from random weights for the same wall time on {device}, "
        f"{records[0]['threads']} threads, everything counted that a user waits for: starting, "
        "reading, compiling, training, validating, saving, tests left out. Everybody has the same "
        "structures to train on and to choose weights by. mace-torch and torchmd-net run by their "
        "own command lines with the settings that their authors recommend; epochs and what is "
        "counted in them are fitted to the time by two short runs, as ours. Errors of all come "
        "from one function: energies of whole structures in meV / forces in meV/Å. Of several "
        "recipes of a code the one stands here whose forces have the lowest RMSE on the "
        "validation set, which no code is tested on.",
    ]
    for minutes in sorted({record["minutes"] for record in records}):
        own = [record for record in records if record["minutes"] == minutes]
        lines += ["", f"## {minutes:g} minutes", ""]
        for measure in MEASURES:
            lines += [*error_table(own, measure), ""]
        lines += [
            "Published: trained to convergence on GPUs (arXiv:2206.07697, Tables 1 to 3). † Of the "
            "published test set at 300 K, which is not the structures held out here.",
            "",
            "### Runs",
            "",
            *run_table(own),
        ]
    return "\n".join(lines) + "\n"


def error_table(records: Sequence[Record], measure: str) -> list[str]:
    """Return the lines of a table of sets and tests by codes; the best forces are bold.

    Args:
        records: of one time.
        measure: "mae" or "rmse".
    """
    best = {(record["set"], record["code"]): record for record in best_recipes(records)}
    codes = [code for code in TITLES if any(code == own for _, own in best)]
    rows = []
    for name in dict.fromkeys(record["set"] for record in records):
        tests = dict.fromkeys(
            test for record in records if record["set"] == name for test in record["errors"]
        )
        for test in [each for each in tests if each != VALIDATION]:
            found = [
                best[name, code]["errors"].get(test) if (name, code) in best else None
                for code in codes
            ]
            cells = _cells(found, measure)
            rows.append([name, test, *cells, PUBLISHED.get((name, test, measure), "")])
    head = ["set", f"test, {measure.upper()}", *(TITLES[code] for code in codes), "published"]
    return markdown_table(head, rows, numbers=range(2, 2 + len(codes)))


def _cells(found: Sequence[Mapping[str, float] | None], measure: str) -> list[str]:
    key = f"forces_{measure}"
    with_forces = [each[key] for each in found if each is not None and key in each]
    least = min(with_forces, default=None)
    cells = []
    for each in found:
        if each is None:
            cells.append("")
            continue
        energy = f"{each[f'energies_{measure}']:.2f}"
        if key not in each:
            cells.append(energy)
            continue
        forces = f"{each[key]:.1f}"
        cells.append(f"{energy} / {f'**{forces}**' if each[key] == least else forces}")
    return cells


def run_table(records: Sequence[Record]) -> list[str]:
    """Return the lines of a table of all runs, with their errors on the validation set."""
    head = ["set", "code", "recipe", "epochs", "minutes", "parameters", "validation RMSE"]
    rows = []
    for record in records:
        own = record["errors"][VALIDATION]
        rows.append(
            [
                record["set"],
                f"{TITLES[record['code']]} {record['version']}",
                record["recipe"],
                f"{record['epochs']:.4g}",
                f"{record['seconds'] / 60:.1f}",
                f"{record['parameters']:,}",
                f"{own['energies_rmse']:.2f} / {own['forces_rmse']:.1f}",
            ]
        )
    return markdown_table(head, rows, numbers=range(3, 7))
