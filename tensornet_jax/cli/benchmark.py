"""`tensornet-jax benchmark`: measure on this machine what the documentation measured on others."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensornet_jax.cli.common import Precision

if TYPE_CHECKING:
    from tensornet_jax.benchmark.cases import Case, Contender, Regime
    from tensornet_jax.benchmark.records import Results

app = typer.Typer(help="Measure speed on this machine.", no_args_is_help=True)


class RegimeName(StrEnum):
    """Which degrees are coupled."""

    siso = "siso"
    simo = "simo"
    mimo = "mimo"


OutputFolder = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Folder for JSON, figures and a page.", show_default="none"
    ),
]
RegimesOption = Annotated[
    list[RegimeName] | None,
    typer.Option(
        "--regime",
        help="One path, one degree to all, or all degrees; repeatable.",
        show_default="all three",
    ),
]
DegreesOption = Annotated[str, typer.Option("--l", metavar="L", help="Degrees: 3, 1:8 or 1,2,4.")]
ChannelsOption = Annotated[str, typer.Option(metavar="N", help="Channels, also several: 1,128.")]
BatchOption = Annotated[
    str, typer.Option(metavar="N", help="Samples at once, also several: 100,10000.")
]
ProductsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Products to measure, families or variants: gaunt_grid,clebsch_gordan:sparse.",
        show_default="all",
    ),
]


@app.command("tensor-products")
def tensor_products(
    output: OutputFolder = None,
    regimes: RegimesOption = None,
    degrees: DegreesOption = "1:4",
    channels: ChannelsOption = "1",
    batch: BatchOption = "1000",
    products: ProductsOption = None,
    dtype: Annotated[Precision, typer.Option(help="Precision.")] = Precision.float32,
    peers: Annotated[
        bool, typer.Option(help="Measure other libraries where they are installed.")
    ] = True,
    full_output: Annotated[
        bool, typer.Option("--to-2l", help="Output of mimo to 2L instead of L.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer samples, for a first impression.")
    ] = False,
    memory: Annotated[
        float, typer.Option(min=0.01, help="Largest program to run, GiB; others are skipped.")
    ] = 4.0,
) -> None:
    """Time every tensor product, and its peers on the same work, and say which is fastest here."""
    cases = _cases(regimes, degrees, channels, batch, dtype.value, full_output)
    contenders = _contenders(products, peers)

    from tensornet_jax.benchmark.records import Settings
    from tensornet_jax.benchmark.report import write_results
    from tensornet_jax.benchmark.tensor_products import run

    settings = Settings(memory_bytes=round(memory * 2**30))
    if quick:
        settings = Settings(seconds=0.1, fewest=5, most=50, memory_bytes=settings.memory_bytes)
    results = run(cases, contenders, settings, report=lambda line: typer.echo(line, err=True))
    _print_results(results)
    if output is not None:
        for path in write_results(output, results):
            typer.echo(f"written: {path}")


def _print_results(results: "Results") -> None:
    from tensornet_jax.benchmark.records import DIRECTIONS
    from tensornet_jax.benchmark.report import fastest_lines, ratio_table, render, time_table
    from tensornet_jax.benchmark.series import TITLES, series_of

    for (regime, point), group in series_of(results).items():
        for direction in DIRECTIONS:
            rows = time_table(results, group, direction)
            if len(rows) > 1:
                typer.echo(f"\n{regime}, {TITLES[direction]}, {point}")
                typer.echo("\n".join(render(rows)))
                ratios = ratio_table(results, group, direction)
                typer.echo("\n".join(["", *render(ratios)] if ratios else []))
    absent = {r.reason for r in results.records if "is not installed" in r.reason}
    typer.echo("\n".join(["", *sorted(absent), "Fastest here", *fastest_lines(results)]))


@app.command("expressivity")
def expressivity(
    l_max: Annotated[int, typer.Option(min=1, help="Highest degree.")] = 6,
    regimes: Annotated[
        list[RegimeName] | None,
        typer.Option("--regime", help="As for tensor-products.", show_default="all three"),
    ] = None,
    products: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Families, e.g. matrix.", show_default="all"),
    ] = None,
) -> None:
    """Compute which equivariant maps each tensor product can express, in double precision.

    An entry is the dimension that one product with its weights reaches, of the triples it couples,
    times the weighted copies that reach all of those, and in brackets the triples with an even and
    with an odd sum of degrees. Here siso is (L, L, L), and the output of mimo goes to 2L.
    """
    from tensornet_jax.ops.expressivity import compare_products, format_table
    from tensornet_jax.ops.tensor_products import PRODUCTS

    wanted = list(PRODUCTS) if products is None else [p.strip() for p in products.split(",")]
    for name in wanted:
        if name not in PRODUCTS:
            raise ValueError(f"--products {name}: choose from {', '.join(PRODUCTS)}")
    chosen = {name: PRODUCTS[name] for name in wanted}
    typer.echo(format_table(compare_products(chosen, l_max=l_max, regimes=_regimes(regimes))))


def _cases(
    regimes: Sequence[RegimeName] | None,
    degrees: str,
    channels: str,
    batch: str,
    dtype: str,
    full_output: bool,
) -> "list[Case]":
    from tensornet_jax.benchmark.cases import Case

    return [
        Case(
            regime,
            degree,
            channels=channel,
            batch=samples,
            dtype=dtype,  # pyright: ignore[reportArgumentType]
            full_output=full_output and regime == "mimo",
        )
        for samples in _integers(batch, "--batch")
        for channel in _integers(channels, "--channels")
        for regime in _regimes(regimes)
        for degree in _integers(degrees, "--l")
    ]


def _regimes(wanted: Sequence[RegimeName] | None) -> "list[Regime]":
    return [name.value for name in wanted or RegimeName]


def _integers(text: str, option: str) -> list[int]:
    """Read 3, 1,2,4 or 1:8, bounds included."""
    found: list[int] = []
    try:
        for part in text.split(","):
            first, colon, last = part.partition(":")
            found += range(int(first), int(last) + 1) if colon else [int(first)]
    except ValueError:
        raise ValueError(f"{option} {text}: write numbers like 3, 1:8 or 1,2,4") from None
    if not found or min(found) < 1:
        raise ValueError(f"{option} {text}: numbers from 1 are needed")
    return list(dict.fromkeys(found))


def _contenders(products: str | None, peers: bool) -> "list[Contender]":
    from tensornet_jax.benchmark.contenders import our_contenders
    from tensornet_jax.benchmark.peers import peer_contenders

    own = our_contenders()
    if products is not None:
        wanted = [name.strip() for name in products.split(",")]
        known = {c.name for c in own} | {c.name.partition(":")[0] for c in own}
        for name in wanted:
            if name not in known:
                raise ValueError(f"--products {name}: choose from {', '.join(sorted(known))}")
        own = [c for c in own if c.name in wanted or c.name.partition(":")[0] in wanted]
    return own + (peer_contenders() if peers else [])
