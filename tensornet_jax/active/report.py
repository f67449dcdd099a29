"""What a round, and the whole loop, came to, in Markdown."""

from collections.abc import Iterable, Iterator, Sequence

from tensornet_jax.active.layout import LoopDirectory, Round
from tensornet_jax.runtime.markdown import markdown_table
from tensornet_jax.runtime.sealed_file import Json
from tensornet_jax.runtime.whole_files import write_whole

SHOWN = 10


def write_round_report(here: Round) -> None:
    """Write what is known of a round so far: it has at least a model."""
    lines = [f"# Round {here.number}", "", *_training(here.train.facts())]
    if here.explore.is_done:
        lines += _exploration(here.explore.facts())
    if here.selected.is_done:
        lines += _choice(here.selected.facts(), here.table.name)
    if here.labelled.is_done:
        lines += _labels(here.labelled.facts())
    write_whole(here.report, "\n".join(lines) + "\n")


def write_loop_report(directory: LoopDirectory, rounds: Sequence[Round], ending: str) -> None:
    """Write a table of all rounds.

    Args:
        directory: of the loop.
        rounds: those that have a model.
        ending: what there is to say of the end.
    """
    rows = []
    for here in rounds:
        trained = here.train.facts()
        new = here.labelled.facts() if here.labelled.is_done else None
        rows.append(
            (
                f"[{here.number}]({here.path.name}/{here.report.name})",
                f"{trained['train']} + {trained['validation']}",
                *(_rmse(trained["errors"], name) for name in ("energy_per_atom", "forces")),
                *_explored(here),
                *(
                    "" if new is None else _rmse(new["errors"], name)
                    for name in ("energy_per_atom", "forces")
                ),
            )
        )
    columns = (
        *("round", "labelled: trained + validated on"),
        *("RMSE of validation: meV/atom", "meV/Å", "replicas stopped", "chosen"),
        *("RMSE of chosen: meV/atom", "meV/Å"),
    )
    lines = ["# Active learning", "", *markdown_table(columns, rows), "", ending]
    write_whole(directory.report, "\n".join(lines) + "\n")


def _training(facts: Json) -> Iterator[str]:
    yield "## Training"
    yield ""
    yield f"{facts['train']} structures to train on, {facts['validation']} to validate on."
    yield ""
    yield from _errors(facts["errors"])


def _exploration(facts: Json) -> Iterator[str]:
    yield "## Exploration"
    yield ""
    rows = []
    for each in facts["simulations"]:
        for index, replica in enumerate(each["replicas"]):
            stop = replica["stopped_at_step"]
            sizes = ", ".join(f"{name} {size:.3g}" for name, size in replica["largest"].items())
            rows.append(
                (each["name"], index, replica["steps"], "" if stop is None else stop, sizes)
            )
    columns = ("simulation", "replica", "last step", "stopped at", "largest deviations")
    yield from markdown_table(columns, rows)
    yield ""
    for each in facts["simulations"]:
        if each["exploded"]:
            yield f"- {each['name']}: {each['exploded']}"
    yield f"- {facts['candidates']} frames were too uncertain: these are the candidates."
    yield ""


def _choice(facts: Json, table: str) -> Iterator[str]:
    yield "## Choice"
    yield ""
    chosen = facts["chosen"]
    yield f"{len(chosen)} of {facts['candidates']} candidates are chosen (selected/{table})."
    yield ""
    for kind, count in facts["left_out"].items():
        yield f"- left out: {count} that {kind}"
    rows = [(k, each["source"], each["reason"]) for k, each in enumerate(chosen[:SHOWN])]
    yield ""
    yield from markdown_table(("rank", "frame", "why"), rows)
    if len(chosen) > SHOWN:
        yield f"\nand {len(chosen) - SHOWN} more."
    yield ""


def _labels(facts: Json) -> Iterator[str]:
    yield "## Labels"
    yield ""
    yield f"{facts['train'] + facts['validation']} structures are labelled, {facts['validation']} "
    yield "of them to validate on. Errors of this round's model on them, before it has seen them:"
    yield ""
    yield from _errors(facts["errors"])
    for source, reason in facts["failed"].items():
        yield f"- {source} has no label: {reason}"


def _errors(rows: Sequence[Json]) -> Iterator[str]:
    cells = [
        (
            *(each[name] for name in ("set", "property", "count")),
            *(f"{each[name]:.4g} {each['unit']}" for name in ("rmse", "sharpness")),
        )
        for each in rows
    ]
    yield from markdown_table(("set", "property", "components", "RMSE", "σ said"), cells)
    yield ""


def _explored(here: Round) -> tuple[str, str]:
    if not here.explore.is_done:
        return "", ""
    replicas = [r for each in here.explore.facts()["simulations"] for r in each["replicas"]]
    stopped = sum(each["stopped_at_step"] is not None for each in replicas)
    chosen = str(len(here.selected.facts()["chosen"])) if here.selected.is_done else ""
    return f"{stopped} of {len(replicas)}", chosen


def _rmse(rows: Iterable[Json], name: str) -> str:
    return next((f"{1000 * each['rmse']:.4g}" for each in rows if each["property"] == name), "")
