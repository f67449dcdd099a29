"""`tensornet-jax spectrum`: spectra and averages of what a simulation recorded."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from tensornet_jax.spectra.average_table import AverageRow
    from tensornet_jax.spectra.correlation import Spectrum
    from tensornet_jax.spectra.series_file import Series

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

    A dipole gives infrared absorption, a polarizability Raman scattering, a heat flux thermal
    conductivity (CSV); every property gets its average with a standard error by block averaging.
    """
    from tensornet_jax.spectra.series_file import read_series

    found = read_series(series, skip)
    stem = output or series[0].with_name(series[0].name.removesuffix(SUFFIX))
    kelvin = float(found.temperature.mean()) if temperature is None else temperature
    replicas, records = found.temperature.shape
    typer.echo(
        f"{replicas} × {found.duration:g} ps, {records} records every {found.interval:g} fs, "
        f"{kelvin:.1f} K"
    )
    options = _Options(kelvin, resolution, window, correction, highest)
    written = []
    if "dipole" in found.values:
        written += _write_infrared(stem, found, options)
    if "polarizability" in found.values:
        written += _write_raman(stem, found, options, laser)
    written += _write_conductivity(stem, found, kelvin)
    written.append(_write_averages(stem, found))
    typer.echo(f"written: {', '.join(map(str, written))}")


class _Options(NamedTuple):
    """What infrared and Raman spectra share: K, cm⁻¹, names, and the highest wavenumber, cm⁻¹."""

    temperature: float
    resolution: float
    window: str
    correction: str
    highest: float


def _write_infrared(stem: Path, series: "Series", options: _Options) -> list[Path]:
    from tensornet_jax.spectra.infrared import infrared_spectrum
    from tensornet_jax.spectra.report import plot_spectra, write_spectra

    infrared = infrared_spectrum(
        series.values["dipole"],
        series.interval,
        options.temperature,
        resolution=options.resolution,
        window=options.window,
        correction=options.correction,
    ).upto(options.highest)
    table, picture = _paths(stem, "infrared")
    write_spectra(table, {"absorption_km_mol-1_cm": infrared})
    plot_spectra(picture, [("absorption (km mol⁻¹ cm)", {"infrared": infrared})])
    typer.echo(_bands("infrared", infrared))
    return [table, picture]


def _write_raman(stem: Path, series: "Series", options: _Options, laser: float) -> list[Path]:
    from tensornet_jax.spectra.raman import raman_spectrum
    from tensornet_jax.spectra.report import plot_spectra, write_spectra

    raman = raman_spectrum(
        series.values["polarizability"],
        series.interval,
        options.temperature,
        laser=laser,
        resolution=options.resolution,
        window=options.window,
        correction=options.correction,
    )
    polarized = {"parallel": raman.parallel, "perpendicular": raman.perpendicular}
    polarized = {name: part.upto(options.highest) for name, part in polarized.items()}
    invariants = {"isotropic": raman.isotropic, "anisotropic": raman.anisotropic}
    invariants = {name: part.upto(options.highest) for name, part in invariants.items()}
    unpolarized = raman.unpolarized.upto(options.highest)
    table, picture = _paths(stem, "raman")
    write_spectra(table, {**invariants, **polarized, "unpolarized": unpolarized})
    plot_spectra(picture, [("Raman intensity", polarized), ("Raman invariants", invariants)])
    typer.echo(_bands("Raman", unpolarized))
    return [table, picture]


def _write_conductivity(stem: Path, series: "Series", temperature: float) -> list[Path]:
    """Write what heat fluxes of crystals and liquids give, if any were recorded."""
    from tensornet_jax.properties import FLUXES
    from tensornet_jax.spectra.conductivity import thermal_conductivity, write_conductivity

    fluxes = {name: values for name, values in series.values.items() if name in FLUXES}
    if not fluxes:
        return []
    if not series.volume.all():
        typer.echo("no thermal conductivity: these structures have no volume")
        return []
    about = series.interval, float(series.volume.mean()), temperature
    path = stem.with_name(stem.name + "_conductivity.csv")
    found = {name: thermal_conductivity(values, *about) for name, values in fluxes.items()}
    write_conductivity(path, found)
    return [path]


def _write_averages(stem: Path, series: "Series") -> Path:
    from tensornet_jax.spectra.average_table import average_rows
    from tensornet_jax.spectra.report import write_averages

    rows = average_rows(series)
    path = stem.with_name(stem.name + "_averages.csv")
    write_averages(path, rows)
    for line in _average_lines(rows):
        typer.echo(line)
    return path


def _paths(stem: Path, kind: str) -> tuple[Path, Path]:
    table, picture = (stem.with_name(f"{stem.name}_{kind}{suffix}") for suffix in (".csv", ".png"))
    return table, picture


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
