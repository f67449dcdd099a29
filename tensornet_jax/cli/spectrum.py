"""`tensornet-jax spectrum`: spectra and averages of what a simulation recorded."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tensornet_jax.spectra.average_table import AverageRow
    from tensornet_jax.spectra.correlation import Spectrum

SUFFIX = ".series.h5"


def spectrum(
    series: Annotated[
        list[Path],
        typer.Argument(
            metavar="SERIES...",
            help="Files *.series.h5 that tensornet-jax md wrote with a record section; several are "
            "replicas of one molecule or crystal.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="What the files are called; default: as the first."),
    ] = None,
    resolution: Annotated[
        float, typer.Option(help="Full width at half maximum of a sharp line, cm⁻¹.")
    ] = 10.0,
    window: Annotated[
        str, typer.Option(help="Of the correlation function: hann, blackman, gaussian or none.")
    ] = "hann",
    correction: Annotated[
        str, typer.Option(help="Quantum correction factor: harmonic, standard, schofield, none.")
    ] = "harmonic",
    temperature: Annotated[
        float | None, typer.Option(help="K; default: the mean of what was recorded.")
    ] = None,
    laser: Annotated[float, typer.Option(help="Wavelength for Raman scattering, nm.")] = 532.0,
    highest: Annotated[float, typer.Option(help="Highest wavenumber, cm⁻¹.")] = 4000.0,
    skip: Annotated[float, typer.Option(help="Leave out so many ps at the start.")] = 0.0,
) -> None:
    """Turn recorded properties into infrared and Raman spectra (CSV, PNG) and averages (CSV).

    A dipole gives infrared absorption, a polarizability Raman scattering; every property gets its
    thermal average with a standard error by block averaging.
    """
    from tensornet_jax.spectra.average_table import average_rows
    from tensornet_jax.spectra.infrared import infrared_spectrum
    from tensornet_jax.spectra.raman import raman_spectrum
    from tensornet_jax.spectra.report import plot_spectra, write_averages, write_spectra
    from tensornet_jax.spectra.series_file import read_series

    found = read_series(series, skip)
    stem = output or series[0].with_name(series[0].name.removesuffix(SUFFIX))
    kelvin = float(found.temperature.mean()) if temperature is None else temperature
    replicas, records = found.temperature.shape
    typer.echo(
        f"{replicas} × {found.duration:g} ps, {records} records every {found.interval:g} fs, "
        f"{kelvin:.1f} K"
    )
    about = (found.interval, kelvin)
    options = {"resolution": resolution, "window": window, "correction": correction}
    written = []
    if "dipole" in found.values:
        infrared = infrared_spectrum(found.values["dipole"], *about, **options).upto(highest)
        written += _paths(stem, "infrared")
        write_spectra(written[-2], {"absorption_km_mol-1_cm": infrared})
        plot_spectra(written[-1], [("absorption (km mol⁻¹ cm)", {"infrared": infrared})])
        typer.echo(_bands("infrared", infrared))
    if "polarizability" in found.values:
        raman = raman_spectrum(found.values["polarizability"], *about, laser=laser, **options)
        unpolarized = raman.unpolarized.upto(highest)
        polarized = {
            "parallel": raman.parallel.upto(highest),
            "perpendicular": raman.perpendicular.upto(highest),
        }
        parts = {
            "isotropic": raman.isotropic.upto(highest),
            "anisotropic": raman.anisotropic.upto(highest),
        }
        written += _paths(stem, "raman")
        write_spectra(written[-2], {**parts, **polarized, "unpolarized": unpolarized})
        plot_spectra(written[-1], [("Raman intensity", polarized), ("Raman invariants", parts)])
        typer.echo(_bands("Raman", unpolarized))
    rows = average_rows(found)
    written.append(stem.with_name(stem.name + "_averages.csv"))
    write_averages(written[-1], rows)
    for line in _average_lines(rows):
        typer.echo(line)
    typer.echo(f"written: {', '.join(map(str, written))}")


def _paths(stem: Path, kind: str) -> list[Path]:
    return [stem.with_name(f"{stem.name}_{kind}{suffix}") for suffix in (".csv", ".png")]


def _bands(kind: str, spectrum: "Spectrum") -> str:
    from tensornet_jax.spectra.bands import bands

    places = ", ".join(f"{band.wavenumber:.0f}" for band in bands(spectrum)) or "none"
    return f"{kind} bands: {places} cm⁻¹"


def _average_lines(rows: "list[AverageRow]") -> Iterator[str]:
    """Yield what does not depend on axes; the file has the rest."""
    for row in rows:
        if row.component not in ("", "norm", "isotropic"):
            continue
        name = " ".join(part for part in (row.component, row.property, row.atom) if part)
        error = f"{row.error:.2g}" if row.error == row.error else "? (too short to tell)"
        yield f"⟨{name}⟩ = {row.mean:.6g} ± {error} {row.unit}".rstrip()
